"""How a server bears many clients: p50, p99, throughput, refusals and the growth of its memory.

Starts `anyx serve` of a model in a process of its own, or measures the one at --url (--pid says whose memory). Clients
ask one after the other, without a pause, for words, pictures, sounds and streams, and send pictures; at a 429 they
wait as they are told to, a second at most.

    python experiments/benchmarks/serving_load.py [--clients 64] [--seconds 60] [--model experiments/anyworld/model]
"""

import argparse
import asyncio
import base64
import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import torch

from anyx.media import Image

ROOT = Path(__file__).parents[2]
CHAT = "/v1/chat/completions"
EVERY = 1.0  # seconds between looks at the memory
WARM = 60.0  # seconds after which memory should grow no more
FILLED = ("--keep", "8")  # MiB: media that are kept fill it in the first minute, and no growth is theirs


@dataclass
class Load:
    """What clients saw: latencies in seconds by status, memory of the server in bytes by second."""

    seconds: float = 0.0
    latencies: dict[str, list[float]] = field(default_factory=dict)
    memory: list[tuple[float, int]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def summary(self, warm: float = WARM) -> dict[str, Any]:
        """The figures; `growth` is the slope of memory after `warm` seconds, in MiB a minute."""
        answered = sorted(self.latencies.get("200", []))
        later = [point for point in self.memory if point[0] >= warm]
        slope = statistics.linear_regression(*zip(*later, strict=True)).slope if len(later) > 9 else None
        return {
            "seconds": round(self.seconds, 1),
            "answered": len(answered),
            "per second": round(len(answered) / self.seconds, 1),
            "p50 ms": round(1000 * quantile(answered, 0.5)),
            "p99 ms": round(1000 * quantile(answered, 0.99)),
            "429": len(self.latencies.get("429", [])),
            "errors": dict(self.errors),
            "memory MiB": [round(size / 2**20) for _, size in (self.memory[:1] + later[:1] + self.memory[-1:])],
            "growth MiB/min": None if slope is None else round(slope * 60 / 2**20, 2),
        }


def quantile(ordered: list[float], share: float) -> float:
    """Of sorted numbers; NaN of none."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def requests(name: str) -> list[tuple[str, dict[str, Any]]]:
    """What clients ask: paths and bodies."""
    generator = torch.Generator().manual_seed(0)
    picture = Image(torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=generator)).to_bytes()
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    seen = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "describe what you see."}]
    said: list[Any] = ["how are you?", "draw three red circles on the left.", "play one blue square.", seen]
    asked = [(CHAT, {"messages": [{"role": "user", "content": content}], "max_tokens": 24}) for content in said]
    asked += [(CHAT, {**body, "stream": True}) for _, body in asked]
    asked.append(("/v1/images/generations", {"prompt": "Draw three red circles on the left."}))
    return [(path, {"model": name, **body}) for path, body in asked]


def resident(pid: int) -> int:
    """Bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def client(number: int, http: httpx.AsyncClient, asked: Any, ends: float, load: Load) -> None:
    """Ask until the time is over."""
    chance = random.Random(number)
    while time.monotonic() < ends:
        path, body = chance.choice(asked)
        begin = time.monotonic()
        try:
            reply = await http.post(path, json=body)
        except httpx.HTTPError as error:
            load.errors[type(error).__name__] += 1
            continue
        status = str(reply.status_code)
        if body.get("stream") and status == "200" and not reply.text.endswith("data: [DONE]\n\n"):
            load.errors["stream broke"] += 1
        load.latencies.setdefault(status, []).append(time.monotonic() - begin)
        if status == "429":
            await asyncio.sleep(min(1.0, float(reply.headers["retry-after"])))
        elif status not in ("200", "422"):  # 422: the model chose to make no picture
            load.errors[f"{status}: {reply.text[:200]}"] += 1


async def watch(pid: int, began: float, ends: float, load: Load) -> None:
    """Look at the memory now and then."""
    while time.monotonic() < ends:
        load.memory.append((time.monotonic() - began, resident(pid)))
        await asyncio.sleep(EVERY)


async def measured(url: str, pid: int | None, clients: int, seconds: float, key: str = "none") -> Load:
    """The load of so many clients for so long."""
    load, limits = Load(), httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits, headers=headers, trust_env=False) as http:
        listed = (await http.get("/v1/models")).json()
        asked = requests(listed["data"][0]["id"])
        began = time.monotonic()
        ends = began + seconds
        works = [client(number, http, asked, ends, load) for number in range(clients)]
        await asyncio.gather(*works, *([] if pid is None else [watch(pid, began, ends, load)]))
        load.seconds = time.monotonic() - began
    return load


@contextmanager
def served(model: str, *options: str) -> Iterator[tuple[str, int]]:
    """`anyx serve` of a model on a free port: its address and its process."""
    command = [sys.executable, "-m", "anyx", "serve", model, "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"(http://\S+)/v1", line):
                yield found[1], process.pid
                return
        raise ValueError(f"{' '.join(command)} ended with {process.wait()}")
    finally:
        process.terminate()
        process.wait(60)


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="experiments/anyworld/model")
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--pid", type=int, help="the process of the server at --url")
    parser.add_argument("--key", default="none", help="an API key")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    if given.url:
        load = asyncio.run(measured(given.url, given.pid, given.clients, given.seconds, given.key))
    else:
        with served(given.model, *FILLED) as (url, pid):
            load = asyncio.run(measured(url, pid, given.clients, given.seconds))
    print(json.dumps({"clients": given.clients, **load.summary()}))


if __name__ == "__main__":
    main()
