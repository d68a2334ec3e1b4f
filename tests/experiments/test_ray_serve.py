"""Two replicas behind one address: both answer as one server does, and either finds the other's media."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openai import OpenAI

from anyx.media import Image

ROOT = Path(__file__).parents[2]
START = """
import sys
from ray import serve
from ray_serve import app
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
serve.run(app)
print("ready", flush=True)
sys.stdin.read()
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is an extra: pip install 'ray[serve]'"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    media = tmp_path_factory.mktemp("media")
    told = {"MODEL": "experiments/anyworld/model", "REPLICAS": "2", "CPUS": "1", "MEDIA": str(media)}
    told |= {"PYTHONPATH": str(ROOT / "experiments" / "serving")}  # replicas read the file too
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(port)],
        cwd=ROOT, env=os.environ | told | quiet, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert "ready\n" in iter(process.stdout.readline, ""), "the replicas did not start"
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(60)


def test_two_replicas_answer_and_share_their_media(address: str) -> None:
    client = OpenAI(base_url=f"{address}/v1", api_key="none", timeout=120)
    urls = [
        client.images.generate(prompt="three red circles on the left", n=1, extra_body={"response_format": "url"})
        .data[0].url
        for _ in range(12)
    ]  # fmt: skip
    with httpx.Client() as http:
        for _ in range(4):  # whichever replica is asked
            for url in urls:
                assert url is not None
                assert Image.read(http.get(url).raise_for_status().content).size == (48, 48)
        kept, ends = set(), time.monotonic() + 30
        while len(kept) < 2 and time.monotonic() < ends:
            counted = http.get(f"{address}/metrics").raise_for_status().text.splitlines()
            kept.add(next(line for line in counted if line.startswith("anyx_media_kept_bytes ")))
    assert len(kept) == 2  # each has made some
    assert not any(line.endswith(" 0.0") for line in kept)
