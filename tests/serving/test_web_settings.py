"""Fields of a form from what a decoder takes, and what visitors fill in, within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import gradio as gr
import pytest
import tiny
from jaxtyping import Float
from live import anyworld
from torch import Tensor

from anyx.serving.most import Most
from anyx.serving.web_settings import Field, Settings, choices, field, value

SIZE = int | Sequence[int] | None
MOST = Most()


def filled(name: str, hint: Any, given: Any) -> Any:
    return value(Field("image", name, hint, gr.Textbox(render=False)), given, MOST)


def test_every_setting_of_a_decoder_has_a_field() -> None:
    with gr.Blocks(analytics_enabled=False):
        settings = Settings(tiny.anyx(), MOST)
        assert [(one.key, one.name) for one in settings.made] == [
            (key, name) for key in ("image", "audio") for name in ("steps", "guidance")
        ]
        chosen = settings.read([3, 40, 0.7, 0.9, "5", "", "", "2.5"])
    assert chosen.seed == 3
    assert (chosen.sampling.max_new_tokens, chosen.sampling.temperature, chosen.sampling.top_p) == (40, 0.7, 0.9)
    assert chosen.decode == {"image": {"steps": 5}, "audio": {"guidance": 2.5}}
    assert chosen.told()["decode"] == chosen.decode
    with gr.Blocks(analytics_enabled=False):
        small = Settings(anyworld(), MOST)
        places = {(one.key, one.name): 4 + place for place, one in enumerate(small.made)}
        said = [0, 40, 0, 1, *("" for _ in small.made)]
        said[places["image", "size"]] = "193"
        with pytest.raises(ValueError, match=r"^image size: 193 given; it is a whole number from 1 to 192"):
            small.read(said)
        assert isinstance(field("image", "mode", Literal["a", "b"] | None, None), gr.Dropdown)
        assert isinstance(field("image", "steps", int | None, 5), gr.Textbox)


def test_what_is_typed_becomes_what_the_decoder_takes() -> None:
    assert filled("steps", int | None, "5") == 5
    assert filled("guidance", float | None, "2.5") == 2.5
    assert filled("size", SIZE, "64") == 64
    assert filled("size", SIZE, " 32, 64 ") == [32, 64]
    assert filled("size", SIZE, "32x64") == [32, 64]
    assert filled("mode", Literal["a", "b"], "b") == "b"
    assert choices(Literal["a", "b"] | None) == ["a", "b"]
    assert choices(bool) == [True, False]
    assert choices(Float[Tensor, "b c"] | None) == []


@pytest.mark.parametrize(
    ("name", "hint", "given", "told"),
    [
        ("steps", int | None, "0", "image steps: 0 given; it is a whole number from 1 to 200"),
        ("steps", int | None, "201", "image steps: 201 given"),
        ("steps", int | None, "1.5", "image steps: 1.5 given"),
        ("steps", int | None, "nan", "image steps: nan given"),
        ("steps", int | None, "inf", "image steps: inf given"),
        ("steps", int | None, "many", "image steps: 'many' given; it is a number"),
        ("steps", int | None, "1, 2", "image steps: '1, 2' given"),
        ("guidance", float | None, "-1", "image guidance: -1 given; it is 0 to 50"),
        ("guidance", float | None, "nan", "image guidance: nan given"),
        ("size", SIZE, "64, 64, 64", "image size: '64, 64, 64' given"),
        ("size", SIZE, "100000", "image size: 100000 given; it is a whole number from 1 to 1024"),
        ("size", SIZE, "", "image size: '' given; it is a number"),
    ],
)
def test_what_cannot_be_is_named(name: str, hint: Any, given: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{told}"):
        filled(name, hint, given)
