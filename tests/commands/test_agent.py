"""`anyx agent` and `anyx worker`: a tiny real model and real tools, from a YAML; traces, mistakes, exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_tools import picture

from anyx.agents.interfaces import Call, Gallery
from anyx.agents.toolbox import Toolbox
from anyx.commands import main
from anyx.serving.intake import Intake
from anyx.serving.tool_client import Client, tools

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        return ended.value.code, *capsys.readouterr()  # type: ignore[return-value]

    return run


@pytest.fixture
def setup(tiny_llm_folder: str, tmp_path: Path) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_text(
        f"model: {{type: causal, path: {tiny_llm_folder}, max_new_tokens: 4}}\ntools: {{sums: {{type: calculator}}}}\n"
    )
    return path


def test_a_run_leaves_a_trace(setup: Path, tmp_path: Path, run: Run) -> None:
    """A random model says something without any field, which is its answer."""
    image = picture(20, 10).save(tmp_path / "park.png")
    out = tmp_path / "out"
    code, said, _ = run(
        "agent", str(setup), "What is 3 * 4?", "--image", str(image), "--out", str(out), "--device", "cpu"
    )
    assert code == 0
    assert re.search(r"^ +value  ", said, re.MULTILINE)
    kept = json.loads((out / "trace.json").read_text())
    assert [step["kind"] for step in kept["steps"]] == ["asked", "value"]
    assert kept["steps"][0]["text"] == "What is 3 * 4?"
    assert kept["media"] == {"<image 1>": "image_1.png"}
    assert (out / "image_1.png").is_file()


def test_without_an_answer_it_ends_with_1(setup: Path, tmp_path: Path, run: Run) -> None:
    words = ["agent", str(setup), "What?", "bounds.seconds=0.000001", "--out", str(tmp_path / "out"), "--device", "cpu"]
    code, said, _ = run(*words)
    assert code == 1
    assert "which bounds.seconds allows" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["style=plain"], "style: 'plain' is not one of llava_plus, react, marks"),
        (["tools.sums.type=sum"], "tools.sums.type: 'sum' is not one of"),
        (["--image", "nowhere.png"], "--image: there is no file 'nowhere.png'"),
        (["bounds.turns=0"], "bounds.turns: a number > 0, but 0 was given"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, setup: Path, run: Run) -> None:
    code, _, errors = run("agent", str(setup), "What?", *words, "--device", "cpu")
    assert code == 2
    assert said in errors


def test_help_teaches(run: Run) -> None:
    code, said, _ = run("agent", "--help")
    assert code == 0
    assert all(word in said for word in ("style: llava_plus", "type: remote", "bounds.turns=3", "--image"))


def test_a_worker_in_its_own_process(setup: Path) -> None:
    command = [sys.executable, "-m", "anyx", "worker", str(setup), "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"sums at (http://127.0.0.1:\d+)", process.stdout.readline())
        assert found is not None
        box = Toolbox(tools(Client(found[1], Intake())))
        assert box.run(Call("sums", {"expression": "6 * 7"}), Gallery()).text == "42"
    finally:
        process.terminate()
        assert process.wait(20) is not None


def test_off_loopback_a_worker_needs_a_key(setup: Path, run: Run) -> None:
    code, _, errors = run("worker", str(setup), "--host", "0.0.0.0")
    assert code == 2
    assert "name an environment variable that holds a key" in errors
