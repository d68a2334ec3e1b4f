"""Nothing that is served listens on other than loopback by default, and nobody is called."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
MODEL = str(ROOT / "experiments" / "anyworld" / "model")
HEARD = """
import ipaddress, json, socket, sys
told = open(sys.argv.pop(1), "a", buffering=1)
def hear(event, given):
    if event in ("socket.connect", "socket.sendto", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname"):
        address = given[1] if event in ("socket.connect", "socket.sendto", "socket.bind") else given[0]
        told.write(json.dumps([event, address if isinstance(address, str) else repr(address)]) + "\\n")
sys.addaudithook(hear)
from anyx.commands import main
main()
"""


def listening(pid: int) -> set[str]:
    """The local addresses, in hexadecimal, at which a process listens (TCP) or hears (UDP)."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(link.readlink().name.removeprefix("socket:[").removesuffix("]"))
        except FileNotFoundError:
            continue
    found = set()
    for table, states in (("tcp", {"0A"}), ("tcp6", {"0A"}), ("udp", {"07"}), ("udp6", {"07"})):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] in states and fields[9] in inodes:
                found.add(fields[1].partition(":")[0])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
@pytest.mark.parametrize(("command", "path"), [("serve", "/healthz"), ("demo", "/config")])
def test_nothing_listens_or_calls_beyond_this_machine(command: str, path: str, tmp_path: Path) -> None:
    log = tmp_path / "heard"
    log.touch()
    arguments = [sys.executable, "-c", HEARD, str(log), command, MODEL, "--port", "0"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        url = next(found[1] for line in process.stdout if (found := re.search(r"(http://[^\s/]+)", line)))
        assert httpx.get(url + path, trust_env=False, timeout=60).status_code == 200
        if command == "serve":
            body: dict[str, Any] = {"model": "anyworld", "messages": [{"role": "user", "content": "how are you?"}]}
            assert httpx.post(url + "/v1/chat/completions", json=body, trust_env=False, timeout=60).is_success
        assert listening(process.pid) == {"0100007F"}, "127.0.0.1, and nothing else"
    finally:
        process.terminate()
        process.wait(60)
    heard = [json.loads(line) for line in log.read_text().splitlines()]
    assert ["socket.bind", "('127.0.0.1', 0)"] in heard, "the ear hears"
    elsewhere = [one for one in heard if not re.search(r"127\.0\.0\.1|localhost|::1|^None$|/tmp|''|0x", one[1])]
    assert not elsewhere
