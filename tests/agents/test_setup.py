"""A setup's mistakes, all at once and before any weight is read, and what a good one makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anyx import hub
from anyx.agents import setup
from anyx.agents.interfaces import Call, Gallery
from anyx.agents.loop import Agent
from anyx.agents.react import React
from anyx.agents.talkers import AnyXTalker
from anyx.sampling import Sampling
from anyx.yamls import ConfigError

ANYWORLD = Path(__file__).resolve().parents[2] / "experiments/anyworld/model"


def test_all_mistakes_at_once() -> None:
    raw = {
        "stile": "react",
        "style": "plain",
        "model": {"type": "causal", "pth": "llm"},
        "tools": {
            "a": {"type": "detectr"},
            "b": {"type": "ocr", "path": "nowhere", "max_new_tokens": "many"},
            "c": {"type": "calculator", "path": "x"},
            "d": {"type": "remote"},
            "e": 3,
            "f": {"type": "mine.py:function", "path": "x"},
        },
        "bounds": {"turns": "many", "time": 3},
    }
    with pytest.raises(ConfigError) as error:
        setup.check(raw)
    assert error.value.errors == [
        "stile: is not one of style, model, tools, bounds, teach, segmenter. Did you mean: 'style'?",
        "style: 'plain' is not one of llava_plus, react, marks",
        "model.pth: Key 'pth' not in 'causal'. Did you mean: 'path'?",
        "model.path: is missing; 'causal' requires it",
        "tools.a.type: 'detectr' is not one of detector, segmenter, marks, ocr, generator, editor, calculator, remote, "
        "nor module:function",
        "tools.b.max_new_tokens: must be int, but 'many' was given",
        "tools.c.path: Key 'path' not in 'calculating'.",
        "tools.d.url: is missing; a remote tool has the address of its worker",
        "tools.e: a tool is a mapping with a type, but 3 was given",
        "tools.f: a function of one's own takes no settings, but path were given",
        "bounds.turns: must be int, but 'many' was given",
        "bounds.time: Key 'time' not in 'bounds'.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({}, "model: a path, or a mapping whose type is one of anyx, causal, http, but None was given"),
        ({"model": "x", "tools": [1]}, "tools: must be a mapping from names to tools"),
        ({"model": "x", "style": "marks"}, "segmenter: is missing; style marks needs the folder of a segmenter"),
        ({"model": "x", "style": "marks", "segmenter": "y",
          "tools": {"a": {"type": "remote", "url": "z"}}}, "has no tools"),
    ],
)  # fmt: skip
def test_mistakes(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        setup.check(raw)


def test_an_agent(tiny_llm_folder: str, tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    own.write_text('def double(number: int) -> int:\n    """Double it."""\n    return 2 * number\n')
    raw = {
        "style": "react",
        "model": {"type": "causal", "path": tiny_llm_folder, "max_new_tokens": 4},
        "tools": {"sums": {"type": "calculator"}, "twice": {"type": f"{own}:double"}},
        "bounds": {"turns": 2},
    }
    made = setup.agent(raw)
    assert isinstance(made, Agent)
    assert isinstance(made.form, React)
    assert list(made.tools) == ["sums", "twice"]
    assert made.tools.run(Call("twice", {"number": 4}), Gallery()).text == "8"
    assert made.answer("?").steps[-1].kind in ("value", "stop")


def test_a_model_of_ours_speaks_as_its_yaml_says(tmp_path: Path) -> None:
    said = ("sampling.temperature=0.7", "sampling.top_k=5")
    for name, more in (("long", ()), ("short", ("sampling.max_new_tokens=9",))):
        hub.load(ANYWORLD, overrides=(*said, *more)).save_pretrained(tmp_path / name)
    own = [setup.anyx(path=str(tmp_path / name)) for name in ("long", "short")]
    told = setup.anyx(path=str(tmp_path / "short"), max_new_tokens=77)
    assert all(isinstance(one, AnyXTalker) for one in (*own, told))
    found = [one.sampling for one in (*own, told) if isinstance(one, AnyXTalker)]
    assert found == [Sampling(length, 0.7, top_k=5) for length in (512, 9, 77)]


def test_a_worker_needs_tools() -> None:
    with pytest.raises(ConfigError, match="tools: none are given"):
        setup.checked_tools(None)
    with pytest.raises(ValueError, match=r"tools\.a: a remote tool needs a client"):
        setup.toolbox({"a": {"type": "remote", "url": "http://127.0.0.1:1"}})
