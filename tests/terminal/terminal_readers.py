"""Kitty's escapes read back, by the protocol's text."""

from __future__ import annotations

import base64
import re
import zlib

import numpy as np

from anyx.terminal.pictures import Pixels


def read_kitty(text: str) -> tuple[Pixels, dict[str, str]]:
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert "".join(f"\x1b_G{keys};{data}\x1b\\" for keys, data in chunks) == text, "nothing stands between"
    keys = dict(pair.split("=") for pair in chunks[0][0].split(","))
    assert all(len(data) <= 4096 and len(data) % 4 == 0 for _, data in chunks)
    assert [dict(pair.split("=") for pair in one.split(","))["m"] for one, _ in chunks] == [
        *["1"] * (len(chunks) - 1),
        "0",
    ]
    raw = zlib.decompress(base64.standard_b64decode("".join(data for _, data in chunks)))
    return np.frombuffer(raw, np.uint8).reshape(int(keys["v"]), int(keys["s"]), 3), keys
