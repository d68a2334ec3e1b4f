"""The real command, in a process of its own, until SIGTERM."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from anyx.commands import main
from anyx.commands.serve import called, keys_of

MODEL = "experiments/anyworld/model"
FILM = {
    "model": "anyworld",
    "messages": [{"role": "user", "content": "animate three red circles on the left."}],
    "decode": {"video": {"steps": 100}},
}


@pytest.fixture
def serving() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and where it is reached."""
    command = [sys.executable, "-m", "anyx", "serve", MODEL, "--port", "0", "--device", "cpu", "--most", "size=96"]
    root = Path(__file__).parents[2]
    made = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root, env=os.environ | {"ANYX_API_KEYS": "secret"}
    )
    try:
        assert made.stdout is not None
        line = made.stdout.readline()
        found = re.fullmatch(r"anyworld on (http://127\.0\.0\.1:\d+)/v1\n", line)
        assert found, line
        yield made, found[1]
    finally:
        made.kill()
        made.wait()


def test_at_sigterm_it_finishes_what_it_has_and_refuses_what_is_new(serving: tuple[subprocess.Popen[str], str]) -> None:
    process, url = serving
    told: list[Any] = []
    with httpx.Client(base_url=url, timeout=60, headers={"Authorization": "Bearer secret"}) as http:
        film = threading.Thread(target=lambda: told.append(http.post("/v1/chat/completions", json=FILM)))
        assert http.get("/readyz").status_code == 200
        large = http.post("/v1/images/generations", json={"prompt": "one red circle.", "size": "97x8"})
        assert "97x8 given; the most here is 96, and `anyx serve --most size=" in large.json()["error"]["message"]
        assert http.get("/v1/models", headers={"Authorization": "Bearer"}).status_code == 401
        film.start()
        while "anyx_requests_taken 1.0" not in http.get("/metrics").text:
            assert film.is_alive()
        process.send_signal(signal.SIGTERM)
        while http.get("/readyz").status_code != 503:
            assert film.is_alive()
        late = http.post("/v1/chat/completions", json=FILM)
        assert (late.status_code, late.json()["error"]["code"]) == (503, "shutting_down")
        film.join(60)
        assert told[0].status_code == 200
        assert told[0].json()["choices"][0]["message"]["parts"][1]["type"] == "video_url"
    assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["no/such/folder"], "there is no folder"),
        ([MODEL, "--ask", "smell=sniff {prompt}"], "--ask smell"),
        ([MODEL, "--ask", "image=draw"], "{prompt}"),
        ([MODEL, "--host", "203.0.113.1", "--no-key"], "--host 203.0.113.1 --port 0"),
        ([MODEL, "--host", "203.0.113.1"], "give --api-key, or ANYX_API_KEYS in the environment, or --no-key to let"),
        ([MODEL, "--host", "0.0.0.0"], "--host 0.0.0.0: others reach this address, and no API key is set"),
        ([MODEL, "--api-key", ""], "--api-key: a blank key was given"),
        ([MODEL, "--api-key", "secret", "--api-key", " "], "--api-key: a blank key was given"),
        ([MODEL, "--api-key", "secret", "--no-key"], "--no-key: keys are set too"),
        ([MODEL, "--most", "speed=3"], "--most 'speed=3' is not of the form NAME=NUMBER with a NAME of tokens, steps"),
        ([MODEL, "--most", "tokens=9", "--max-tokens", "9"], "--max-tokens 9: --most tokens=9 is given too"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANYX_API_KEYS", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["serve", *words, "--port", "0", "--device", "cpu"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("keys", ["", " ", ",", "secret,,other", "secret, "])
def test_blank_keys_of_the_environment_are_refused(
    keys: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ANYX_API_KEYS=$UNSET` would let in whoever sends an empty one."""
    monkeypatch.setenv("ANYX_API_KEYS", keys)
    with pytest.raises(SystemExit) as ended:
        main(["serve", MODEL, "--port", "0", "--device", "cpu"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "ANYX_API_KEYS: a blank key was given" in error
    assert "secret" not in error


def test_keys_are_those_of_the_option_and_of_the_environment() -> None:
    assert keys_of(["one"], " two, three ") == ("one", "two", "three")
    assert keys_of([], None) == ()


def test_names_are_taken_from_where_a_model_lies() -> None:
    assert (called(Path("runs/emoji")), called(Path("experiments/emoji/model"))) == ("emoji", "emoji")
