"""A judge over HTTP against a real server on this machine: what is sent, tried again, refused, and told."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import released
from seers import Seer

from anyx.benchmarks import benchmark, compare, rank
from anyx.benchmarks.http_judge import HttpJudge
from anyx.benchmarks.judges import Replay


class Server(ThreadingHTTPServer):
    """Answers requests by a list of scripts, the last of them for ever: a status, a body, seconds to wait before."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scripts: list[tuple[int, Any, float]] = []
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, str | None, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, self.headers["Authorization"], asked))
        scripts = self.server.scripts
        status, body, pause = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        time.sleep(pause)
        body = body(asked["messages"][0]["content"]) if callable(body) else body
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in {**self.server.headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        with contextlib.suppress(ConnectionError):  # who asked may have gone
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def said(words: str) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": words}}]}


def test_a_server_is_asked_as_openai_s(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "k-1")
    server.scripts = [(200, lambda text: said(text.upper()), 0)]
    judge = HttpJudge(server.url + "/", "big-model", key="SECRET", max_tokens=9)
    assert judge(["one", "two"]) == ["ONE", "TWO"]
    path, key, asked = server.seen[0]
    assert (path, key) == ("/v1/chat/completions", "Bearer k-1")
    assert asked == {
        "model": "big-model", "messages": [{"role": "user", "content": "one"}], "temperature": 0, "max_tokens": 9,
    }  # fmt: skip
    assert HttpJudge(server.url, "m")(["x"]) == ["X"]
    assert server.seen[-1][1] is None, "no key was named"


def test_what_passes_is_tried_again(server: Server) -> None:
    server.scripts = [(503, "busy", 0), (429, "slow down", 0), (200, said("fine"), 0)]
    assert HttpJudge(server.url, "m", wait=0.01)(["x"]) == ["fine"]
    assert len(server.seen) == 3


def test_a_failing_server_is_given_up(server: Server) -> None:
    server.scripts = [(500, "broken", 0)]
    with pytest.raises(ConnectionError, match="did not answer in 3 tries: 500 Internal Server Error: broken"):
        HttpJudge(server.url, "m", retries=2, wait=0.01)(["x"])
    assert len(server.seen) == 3


def test_a_slow_server_is_not_waited_for(server: Server) -> None:
    server.scripts = [(200, said("late"), 3), (200, said("in time"), 0)]
    began = time.monotonic()
    assert HttpJudge(server.url, "m", timeout=0.1, wait=0.01)(["x"]) == ["in time"]
    assert time.monotonic() - began < 3
    server.scripts = [(200, said("late"), 3)]
    with pytest.raises(ConnectionError, match="did not answer in 2 tries: timed out"):
        HttpJudge(server.url, "m", timeout=0.1, wait=0.01, retries=1)(["x"])


def test_refusals_are_told_at_once_and_without_the_key(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "k-1")
    server.scripts = [(401, "k-1 is no key", 0)]
    with pytest.raises(ValueError, match=r"refused: 401 Unauthorized: \*\*\* is no key"):
        HttpJudge(server.url, "m", key="SECRET")(["x"])
    server.scripts = [(200, {"choices": [], "asked by": "k-1"}, 0)]
    with pytest.raises(ValueError, match=r"choices\[0\]\.message\.content was expected") as told:
        HttpJudge(server.url, "m", key="SECRET")(["x"])
    assert "k-1" not in str(told.value)
    server.scripts, server.headers = [(302, "", 0)], {"Location": server.url}
    with pytest.raises(ValueError, match="refused: 302"):
        HttpJudge(server.url, "m", key="SECRET")(["x"])
    assert len(server.seen) == 3
    began = time.monotonic()
    with pytest.raises(ValueError, match="--judge-url: http://host:port/chat/completions: nonnumeric port"):
        HttpJudge("http://host:port", "m")(["x"])
    assert time.monotonic() - began < 5, "it is not tried again"
    for settings, wanted in (
        ({"url": "file:///etc"}, "begins with http"),
        ({"key": "NOT_SET_"}, "NOT_SET_ is not set"),
    ):
        with pytest.raises(ValueError, match=wanted):
            HttpJudge(**{"url": server.url, "model": "m", **settings})  # type: ignore[arg-type]
    monkeypatch.setenv("SECRET", "k-1\n")
    with pytest.raises(ValueError, match="SECRET is not set to a key") as told:
        HttpJudge(server.url, "m", key="SECRET")(["x"])
    assert "k-1" not in str(told.value)


def test_a_judge_over_http_ranks_two_runs(server: Server, tmp_path: Path) -> None:
    """It likes the answer "red", and where there is none, the first place: won once, tied once over both orders."""
    released.gqa(tmp_path / "data")
    for name, said_ in (("a", lambda text, seen: seen[0]), ("b", lambda text, seen: "grey")):
        benchmark("gqa", tmp_path / "data", tmp_path / name, model=Seer(said_), show=False)

    def favour(prompt: str) -> dict[str, Any]:
        second = prompt.split("--- Assistant 2 ---")[1]
        return said("2" if "red" in second else "1")

    server.scripts = [(200, favour, 0)]
    runs = (tmp_path / "a", tmp_path / "b")
    found = rank("gqa", runs, HttpJudge(server.url, "m"), tmp_path / "kept.jsonl")
    assert found["figures"] == {"won": 0.75, "a": 0.75, "b": 0.25, "tie": 0, "unread": 0}
    assert (found["n"], found["by"]["judge"], len(server.seen)) == (2, "m", 4)
    assert "Right: red" in server.seen[0][2]["messages"][0]["content"]
    assert rank("gqa", runs, Replay(tmp_path / "kept.jsonl"), tmp_path / "kept.jsonl") == found
    assert compare("gqa", runs)["difference"] == 1
