"""The settings of the web demo: how the LLM samples, and what each output's decoder takes, as fields of a form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import gradio as gr

from anyx.decoding import Sampling
from anyx.model import AnyX
from anyx.ports import takes
from anyx.serving.most import Most
from anyx.serving.settings import numbers
from anyx.signatures import fits


class Chosen(NamedTuple):
    """What a form says."""

    seed: int
    sampling: Sampling
    decode: dict[str, dict[str, Any]]

    def told(self) -> dict[str, Any]:
        """As JSON, for the file of a conversation."""
        return {"seed": self.seed} | asdict(self.sampling) | {"decode": self.decode}


class Field(NamedTuple):
    """A keyword of an output's decoder, its annotation, and what a visitor fills in."""

    key: str
    name: str
    hint: Any
    component: gr.components.Component


class Settings:
    """The form, laid out where it is built; `fields` go to a handler, which has `read` say what they mean."""

    def __init__(self, model: AnyX, most: Most) -> None:
        self.most, self.own = most, model.sampling
        own_length = min(self.own.max_new_tokens, most.tokens)
        with gr.Accordion("Words", open=False, elem_id="anyx-of-words"):
            self.seed = gr.Number(0, label="Seed", precision=0, elem_id="anyx-seed")
            self.tokens = gr.Number(
                own_length, label=f"Most tokens (up to {most.tokens})", precision=0, elem_id="anyx-tokens"
            )
            self.temperature = gr.Slider(
                0, max(2, self.own.temperature), self.own.temperature, step=0.01, label="Temperature",
                elem_id="anyx-temperature",
            )  # fmt: skip
            self.top_p = gr.Slider(
                min(0.05, self.own.top_p), 1, self.own.top_p, step=0.01, label="Top-p", elem_id="anyx-top-p"
            )
            self.top_k = gr.Number(self.own.top_k, label="Top-k (0: all)", precision=0, elem_id="anyx-top-k")
            self.penalty = gr.Number(
                self.own.repetition_penalty, label="Repetition penalty (1: none)", elem_id="anyx-repetition-penalty"
            )
        self.made: list[Field] = []
        self.bounds = {key: most.beside(port.known) for key, port in model.outputs.items()}
        self.decoders: dict[str, dict[str, Any]] = {}  # what each decoder's YAML says of it
        for key, port in model.outputs.items():
            own = self.decoders[key] = dict(model.config.outputs[key].decoder.kwargs) if model.config else {}
            with gr.Accordion(key.capitalize(), open=False, elem_id=f"anyx-of-{key}"):
                for name, hint in takes(port.known).items():
                    if not fits(object(), hint):  # of what nobody can type, such as latents, everything fits
                        component = field(key, name, hint, own.get(name))
                        self.made.append(Field(key, name, hint, component))

    @property
    def fields(self) -> list[gr.components.Component]:
        """The components, in the order of the values that `read` wants."""
        words = [self.tokens, self.temperature, self.top_p, self.top_k, self.penalty]
        return [self.seed, *words, *(one.component for one in self.made)]

    def read(self, values: Sequence[Any]) -> Chosen:
        """What the form says; ValueError names a field that says what cannot be."""
        seed, tokens, temperature, top_p, top_k, penalty, *rest = values
        decode: dict[str, dict[str, Any]] = {}
        for one, given in zip(self.made, rest, strict=True):
            if given not in (None, ""):
                decode.setdefault(one.key, {})[one.name] = value(one, given, self.bounds[one.key])
        for key, asked in decode.items():
            together(key, asked, self.decoders[key], self.most.pixels)
        most = self.most.tokens
        length = whole("most tokens", min(self.own.max_new_tokens, most) if tokens is None else tokens, 1, most)
        sampling = self.own.but(length, temperature, top_p or None, top_k, penalty or None)
        return Chosen(whole("seed", seed or 0, 0, 2**53), sampling, decode)


def field(key: str, name: str, hint: Any, own: Any) -> gr.components.Component:
    """What is filled in for a keyword: a choice, or words; left empty, the decoder's own is taken."""
    label = f"{name.replace('_', ' ').capitalize()}"
    placeholder = "the decoder's own" if own is None else f"the decoder's own: {own}"
    common: dict[str, Any] = {"label": label, "elem_id": f"anyx-{key}-{name}"}
    if options := choices(hint):
        return gr.Dropdown([("the decoder's own", ""), *((str(one), one) for one in options)], value="", **common)
    more = "; 128, or 64x32 (width x height)" if fits([64, 64], hint) else ""
    return gr.Textbox(placeholder=placeholder + more, max_length=80, **common)  # Gradio makes 0 of an empty number


def choices(hint: Any) -> list[Any]:
    """What a keyword of a few values may be."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    found = [one for part in parts if get_origin(part) is Literal for one in get_args(part)]
    return [True, False] if not found and bool in parts else found


def value(one: Field, given: Any, most: Most) -> Any:
    """What a visitor filled in, as the decoder takes it; ValueError where it cannot be."""
    name, bound = f"{one.key} {one.name}", most.of(one.name)
    if not isinstance(given, str) or not fits(1, one.hint):
        return given
    sizes = fits([64, 64], one.hint)
    across = sizes and "x" in given.lower()  # 64x32 is width by height everywhere; lists have the height first
    typed = [spoken(name, text) for text in given.lower().split("x" if across else ",")]
    if len(typed) > (2 if sizes else 1):
        raise ValueError(f"{name}: {given!r} given; it is fewer numbers")
    if fits(1.5, one.hint):
        return number(name, typed[0], bound)
    sides = [whole(name, side, 1, bound) for side in typed]
    return sides[0] if len(sides) == 1 else sides[::-1] if across else sides


def together(key: str, asked: Mapping[str, Any], own: Mapping[str, Any], most: int) -> None:
    """Refuse a size and a number of frames that are too much together; what is not asked for is the decoder's own."""
    if not asked.keys() & {"size", "frames"}:
        return
    sides, frames = ([*numbers(asked.get(name, own.get(name)))] for name in ("size", "frames"))
    count = sides[0] * sides[-1] * max(frames, default=1) if sides else 0
    if count > most:
        raise ValueError(f"{key} size: {count:.0f} pixels in all frames together given; it is {most} at most")


def spoken(name: str, text: str) -> float:
    """A number that was typed."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}: {text.strip()!r} given; it is a number") from None


def whole(name: str, given: float, least: int, most: float) -> int:
    """A whole number between bounds."""
    if not least <= given <= most or int(given) != given:
        raise ValueError(f"{name}: {given:g} given; it is a whole number from {least} to {most:g}")
    return int(given)


def number(name: str, given: float, most: float) -> float:
    """A number between 0 and a bound."""
    if not 0 <= given <= most:
        raise ValueError(f"{name}: {given:g} given; it is 0 to {most:g}")
    return float(given)
