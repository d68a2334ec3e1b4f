"""`sampling` of a YAML: checked with the rest, kept with the model, and what a caller says comes before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from anyx import AnyX
from anyx.build import build
from anyx.config import ConfigError, check
from anyx.sampling import Sampling
from anyx.watching import Watch

ASKED = [{"role": "user", "content": "hello"}]
WARM = {"max_new_tokens": 24, "temperature": 1.5, "top_k": 40, "top_p": 0.9, "repetition_penalty": 1.2}


@pytest.fixture(scope="module")
def folder(tiny_llm_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = build(check({"llm": {"path": tiny_llm_folder}, "sampling": WARM}))
    return model.save_pretrained(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"temperature": -1}, ["sampling.temperature: -1 given; it is 0 (greedy) or more"]),
        ({"top_p": 0, "top_k": 2.5}, ["sampling.top_p: 0 given; it is above 0", "sampling.top_k: 2.5 given"]),
        ({"max_new_tokens": True}, ["sampling.max_new_tokens: True given; it is a whole number"]),
        ({"temprature": 1}, ["sampling.temprature: Key 'temprature' not in 'sampling'. Did you mean: 'temperature'?"]),
        (["temperature"], ["sampling: must be a mapping"]),
        (0.7, ["sampling: must be a mapping, but 0.7 was given"]),
    ],
    ids=str,
)
def test_what_it_may_say(given: Any, said: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        check({"llm": {"path": "x"}, "sampling": given, "nothing": 1})
    for line in (*said, "Key 'nothing' not in"):
        assert line in str(error.value), "with every other error"
    assert check({"llm": {"path": "x"}, "sampling": None}).sampling == Sampling()


def test_a_model_speaks_as_its_yaml_says(folder: Path) -> None:
    model = AnyX.from_pretrained(folder)
    assert model.sampling == Sampling(**WARM)
    warm = model.chat(ASKED, seeds=3)
    plain = AnyX.from_pretrained(folder)
    plain.sampling = Sampling()
    assert plain.chat(ASKED, seeds=3, **WARM).parts == warm.parts, "as if the caller had said it"
    assert model.generate(ASKED, seeds=3)[0].parts == warm.parts
    assert "".join(event.text for event in model.stream(ASKED, seeds=3)) == warm.text  # type: ignore[union-attr]
    assert model.session().say("hello", seed=3).parts == warm.parts
    assert model.session().sampling == Sampling(**WARM)
    assert model.chat(ASKED, seeds=4).parts != warm.parts
    greedy = plain.chat(ASKED, max_new_tokens=24, repetition_penalty=1.2)
    assert model.chat(ASKED, seeds=4, temperature=0.0).parts == greedy.parts, "0 is said, not left out"
    model.chat(ASKED, max_new_tokens=2, watch=(watch := Watch()))
    assert [one.amount for one in watch.took() if one.part == "say"] == [2]


def test_it_is_saved_and_overridden(folder: Path, tmp_path: Path) -> None:
    from anyx.hub import load

    again = AnyX.from_pretrained(AnyX.from_pretrained(folder).save_pretrained(tmp_path))
    assert again.sampling == Sampling(**WARM)
    assert load(folder, overrides=["sampling.temperature=0"]).sampling == Sampling(**WARM).but(temperature=0.0)


def test_numbers_are_kept_or_replaced() -> None:
    warm = Sampling(**WARM)
    assert warm.but() == warm
    assert warm.but(top_k=0, temperature=0) == Sampling(24, 0, 0.9, 0, 1.2)
    with pytest.raises(ValueError, match="top_p: 2 given; it is above 0 and at most 1"):
        warm.but(top_p=2)
