"""Qwen-VL's lists of pictures and words: our template numbers and tags the pictures as the published tokenizer does."""

from __future__ import annotations

import re
from typing import Any

import pytest
import tiny
from golden import Case, cases, required

from anyx.prompt import PLACEHOLDER, Prompt

PICTURE = re.compile(r"Picture \d+: <img>(.*?)</img>\n")


def parts(text: str) -> list[dict[str, Any]]:
    """The published text cut at its pictures; a template has to put back what was cut out."""
    content: list[dict[str, Any]] = []
    for place, piece in enumerate(PICTURE.split(text)):
        if piece:
            content.append({"type": "image", "path": piece} if place % 2 else {"type": "text", "text": piece})
    return content


@pytest.mark.parametrize("found", cases("15_boxes", "qwen_vl*"))
def test_pictures_are_numbered_as_published(found: Case | None) -> None:
    case = required(found)
    words = tiny.tokenizer()
    made = Prompt(words, "qwen_vl", ["image"])
    for text in (case.sidecar["multi"], *(item["text"] for item in case.sidecar["encode"])):
        messages = [{"role": "system", "content": "s"}, {"role": "user", "content": parts(text)}]
        encoded = made.encode([*messages, {"role": "assistant", "content": "a"}])
        names = iter(slot.part["path"] for slot in encoded.media)
        told, run = "", list[int]()
        for token in encoded.ids:
            if token == PLACEHOLDER:
                told, run = told + words.decode(run) + next(names), []
            else:
                run.append(token)
        assert f"<|im_start|>user\n{text}<|im_end|>\n" in told + words.decode(run)
        assert words.decode([label for label in encoded.labels if label >= 0]) == "a<|im_end|>"
