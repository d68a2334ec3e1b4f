"""A run that is killed with SIGKILL, whenever and however often, ends with the very bits of one that never was.

Encode (augmented copies that are cached), decode (states of the LLM kept in memory) and instruct (augmented copies
without end, LoRA with dropout, moving average, accumulated batches, two workers), by the command line, with one thread.
"""

import csv
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import components
import pytest
import torch
import yaml
from safetensors.torch import load_file

from anyx.media import Image

TEXT = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
Attempt = Callable[..., dict[str, Any]]


def raw(folder: Path, llm: str) -> dict[str, Any]:
    """Questions about pictures, in copies that are kept and copies without end, and pictures to draw."""
    for name in ("seen", "drawn"):
        lines = []
        for index in range(8):
            generator = torch.Generator().manual_seed(index)
            pixels = torch.randint(256, (3, 16, 16), generator=generator, dtype=torch.uint8)
            Image(pixels).save(folder / f"{index}.png")
            part = {"type": "image", "path": f"{index}.png", "caption": "fox" * (1 + index % 2)}
            ask: Any = (
                [part, {"type": "text", "text": "What?" * (1 + index % 3)}]
                if name == "seen"
                else "Draw " * (1 + 9 * index)
            )
            answer: Any = "A fox." * (1 + index % 2) if name == "seen" else [part]
            turns = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
            lines.append(json.dumps({"messages": turns}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    decoder = {"type": "stable_diffusion", **components.TINY["decoders"]["stable_diffusion"][0], "text": TEXT}
    decoder["tokenizer"] = {"words": ["fox", "foxfox"], "length": 5}
    projectors = {key: components.TINY[key] for key in ("input_projectors", "output_projectors")}
    seen: dict[str, Any] = {"type": "jsonl", "path": str(folder / "seen.jsonl"), "augment": "killing:brighter"}
    both = {"batch_size": 3, "log_every": 1, "save_every": 2}
    return {
        "llm": {"path": llm, "lora": {"r": 2, "dropout": 0.3, "targets": ["q_proj"]}},
        "encoders": {"eye": {"type": "imagebind", **components.TINY["encoders"]["imagebind"][1]}},
        "inputs": {
            "image": {"encoder": "eye", "projector": {"type": "linear", **projectors["input_projectors"]["linear"][0]}}
        },
        "outputs": {
            "image": {
                "tokens": 2,
                "projector": {"type": "transformer", **projectors["output_projectors"]["transformer"][0]},
                "decoder": decoder,
            }
        },
        "data": {
            "fresh": {**seen, "variants": 0},
            "some": {**seen, "variants": 2},
            "drawn": {"type": "jsonl", "path": str(folder / "drawn.jsonl")},
        },
        "stages": {
            "encode": both
            | {"train": {"inputs.*.projector": 1e-2}, "losses": {"text": 1}, "data": {"some": 1}, "steps": 4},
            "decode": both
            | {
                "train": {"outputs.*.projector": 1e-2},
                "losses": {"caption": 1},
                "data": {"drawn": 1},
                "steps": 7,
                "bucket": False,  # rows of all lengths in a pass: what it says of each differs in the last bits
                "precision": "fp32",
            },
            "instruct": both
            | {
                "train": {"llm.lora": 1e-2, "*puts.*.projector": 1e-3, "llm.signal_tokens": 1e-2},
                "losses": {"text": 1, "caption": 1},
                "data": {"fresh": 1, "drawn": 1},
                "steps": 6,
                "accumulate": 2,
                "ema": 0.9,
                "workers": 2,
            },
        },
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_llm_folder: str) -> Path:
    made = tmp_path_factory.mktemp("killed")
    (made / "run.yaml").write_text(yaml.safe_dump(raw(made, tiny_llm_folder), sort_keys=False))
    return made


@pytest.fixture(scope="module")
def attempt(folder: Path) -> Iterator[Attempt]:
    """Runs the same command in a fresh process, to its end or its death."""
    driver = Path(__file__).with_name("killing.py")
    command = [sys.executable, str(driver)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(driver.parent)}
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as server:

        def run(out: str, **when: Any) -> dict[str, Any]:
            words = ["train", str(folder / "run.yaml"), "--out", str(folder / out / "run"), "--resume", "--device=cpu"]
            words += when.pop("more", [])
            job = {"words": words, "folder": str(folder / out), "log": str(folder / f"{out}.log"), **when}
            assert server.stdin
            assert server.stdout
            (folder / out).mkdir(exist_ok=True)
            print(json.dumps(job | {"home": str(folder / out / "home")}), file=server.stdin, flush=True)
            answer: dict[str, Any] = json.loads(server.stdout.readline())
            return answer

        yield run
        assert server.stdin
        server.stdin.close()


@pytest.fixture(scope="module")
def whole(attempt: Attempt) -> dict[str, Any]:
    answer = attempt("whole")
    assert answer["status"] == 0
    return answer


def held(run: Path) -> dict[str, Any]:
    """Everything a run learnt and logged, by file."""
    found: dict[str, Any] = {
        f"{file.relative_to(run)}: {name}": tensor
        for file in sorted(run.rglob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    return found | {"metrics": [{name: value for name, value in row.items() if name != "seconds"} for row in rows]}


def check_equal(folder: Path, out: str) -> None:
    """The run in `out` left what the whole one left: bit for bit, and no file beside."""
    once, again = held(folder / "whole" / "run"), held(folder / out / "run")
    assert once.keys() == again.keys()
    assert once.pop("metrics") == again.pop("metrics")
    assert not [name for name in once if not torch.equal(once[name], again[name])]
    assert not [file for file in (folder / out / "run").rglob("*") if file.name.endswith((".part", ".pt"))]


def killed_until_done(attempt: Attempt, folder: Path, out: str, moments: Iterator[dict[str, Any]]) -> int:
    """Runs the command again and again, each time with a moment to die at; how often it was killed."""
    for count, moment in enumerate(moments):
        answer = attempt(out, **moment)
        if answer["status"] == 0:
            check_equal(folder, out)
            return count
        assert answer["status"] == -signal.SIGKILL, (folder / f"{out}.log").read_text()[-2000:]
    raise AssertionError("moments have no end")


def enough(attempt: Attempt, folder: Path, name: str, moments: Iterator[dict[str, Any]], kills: int) -> None:
    """Runs that are killed until they are done, until so many kills were survived."""
    for number in itertools.count():
        kills -= killed_until_done(attempt, folder, f"{name}{number}", moments)
        if kills <= 0:
            return


def test_killed_before_changes_of_files(attempt: Attempt, folder: Path, whole: dict[str, Any]) -> None:
    """In the middle of saves, of writing features, between stages, within the last save, wherever chance has it."""
    chance = random.Random(0)
    enough(attempt, folder, "changes", ({"change": chance.randint(10, 50)} for _ in itertools.count()), kills=11)


def test_killed_after_some_time(attempt: Attempt, folder: Path, whole: dict[str, Any]) -> None:
    """Anywhere: within steps too."""
    chance = random.Random(1)
    moments = ({"seconds": chance.uniform(0.3, 1.0) * whole["seconds"]} for _ in itertools.count())
    enough(attempt, folder, "times", moments, kills=9)


@pytest.mark.slow
def test_killed_before_every_change(attempt: Attempt, folder: Path, whole: dict[str, Any]) -> None:
    for change in range(1, whole["changes"] + 1):
        moments = [{"change": change}, {}]
        assert killed_until_done(attempt, folder, f"each{change}", iter(moments)) <= 1


@pytest.mark.parametrize(
    ("change", "name", "code"),
    [(70, "SIGTERM", 0), (108, "SIGUSR1", 0), pytest.param(104, "SIGINT", 130, marks=pytest.mark.slow)],
)
def test_a_signal_saves_and_stops(
    attempt: Attempt, folder: Path, whole: dict[str, Any], change: int, name: str, code: int
) -> None:
    """A signal that reaches all processes of the run, as a terminal and Slurm send it."""
    assert attempt(name, change=change, signal=getattr(signal, name))["status"] == code
    said = (folder / f"{name}.log").read_text()
    assert f"({name}); the same command with --resume goes on" in " ".join(said.split())
    assert attempt(name)["status"] == 0
    check_equal(folder, name)


def test_a_run_without_time_says_how_to_go_on(attempt: Attempt, folder: Path, whole: dict[str, Any]) -> None:
    assert attempt("time", more=["--max-time", "0.01s"])["status"] == 0
    said = " ".join((folder / "time.log").read_text().split())
    assert "(0.01s are over); the same command with --resume goes on" in said
    assert attempt("time", more=["--max-time", "soon"])["status"] == 2
