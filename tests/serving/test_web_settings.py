"""Fields of a form from what a decoder takes, and what visitors fill in, within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import gradio as gr
import pytest
import tiny
from jaxtyping import Float
from live import anyworld
from torch import Tensor

from anyx import hub
from anyx.sampling import Sampling
from anyx.serving.most import Most
from anyx.serving.web_settings import Field, Settings, choices, field, value

ROOT = Path(__file__).resolve().parents[2]
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
        chosen = settings.read([3, 40, 0.7, 0.9, 0, 1, "5", "", "", "2.5"])
    assert chosen.seed == 3
    assert (chosen.sampling.max_new_tokens, chosen.sampling.temperature, chosen.sampling.top_p) == (40, 0.7, 0.9)
    assert chosen.decode == {"image": {"steps": 5}, "audio": {"guidance": 2.5}}
    assert chosen.told()["decode"] == chosen.decode
    with gr.Blocks(analytics_enabled=False):
        small = Settings(anyworld(), MOST)
        places = {(one.key, one.name): 6 + place for place, one in enumerate(small.made)}
        said = [0, 40, 0, 1, 0, 1, *("" for _ in small.made)]
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
    assert filled("size", SIZE, "64x32") == [32, 64], "width by height, as the server reads it"
    assert filled("size", SIZE, "64X32") == [32, 64]
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
        ("size", SIZE, "64x", "image size: '' given; it is a number"),
        ("size", SIZE, "64x32, 5", "image size: '32, 5' given; it is a number"),
        ("size", SIZE, "64x32x5", "image size: '64x32x5' given"),
        ("steps", int | None, "1x2", "image steps: '1x2' given; it is a number"),
    ],
)
def test_what_cannot_be_is_named(name: str, hint: Any, given: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{told}"):
        filled(name, hint, given)


def form(*overrides: str, most: Most = MOST) -> Settings:
    model = hub.load(ROOT / "experiments/anyworld/model", overrides=overrides)
    with gr.Blocks(analytics_enabled=False):
        return Settings(model, most)


def said(settings: Settings, **filled: str) -> list[Any]:
    """What the page sends where nothing but these fields of the video were changed."""
    untouched = [one.value for one in settings.fields[: -len(settings.made)]]
    return [*untouched, *(filled.get(one.name, "") if one.key == "video" else "" for one in settings.made)]


@pytest.mark.parametrize(
    ("own", "filled", "count"),
    [
        ((), {"size": "1024", "frames": "64", "steps": "200"}, 1024 * 1024 * 64),
        ((), {"size": "1024x512", "frames": "17"}, 1024 * 512 * 17),
        ((), {"size": "1024x1023", "steps": "1"}, 1024 * 1023 * 8),
        (("outputs.video.decoder.size=[512,1024]",), {"frames": "64"}, 512 * 1024 * 64),
    ],
)
def test_all_frames_together_are_bounded(own: tuple[str, ...], filled: dict[str, str], count: int) -> None:
    settings = form(*own, most=Most(size=1024, pixels=2 ** (23 if "frames" in filled else 22)))
    with pytest.raises(ValueError, match=f"^video size: {count} pixels in all frames together given; it is"):
        settings.read(said(settings, **filled))
    within = settings.read(said(settings, size="512", frames="16"))
    assert within.decode == {"video": {"size": 512, "frames": 16}}
    assert settings.read(said(settings, steps="7")).decode == {"video": {"steps": 7}}


def test_the_form_begins_with_the_model_s_own_sampling() -> None:
    own = ("sampling.temperature=0.7", "sampling.top_k=5", "sampling.repetition_penalty=1.2", "sampling.top_p=0.9")
    settings = form(*own, "sampling.max_new_tokens=99")
    wanted = Sampling(99, 0.7, 0.9, 5, 1.2)
    assert [one.value for one in settings.fields[:6]] == [0, 99, 0.7, 0.9, 5, 1.2]
    assert settings.read(said(settings)).sampling == wanted
    emptied = [0, None, None, None, None, None, *[""] * len(settings.made)]
    assert settings.read(emptied).sampling == wanted, "a field that is emptied is the model's own"
    changed = settings.read([0, 7, 0, 1, 0, 1, *[""] * len(settings.made)])
    assert changed.sampling == Sampling(7)
    assert form("sampling.max_new_tokens=100000").tokens.value == MOST.tokens
    assert form("sampling.temperature=3").read(said(form("sampling.temperature=3"))).sampling.temperature == 3
