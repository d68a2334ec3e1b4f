"""Ports: what an any-to-any model hears with and answers by, one a key of `inputs` or `outputs`.

Letters: m supervised positions, d width.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from math import inf
from numbers import Integral, Real
from typing import Any, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn

from anyx.interfaces import Condition, Decoder, Encoder, InputProjector, OutputProjector, TextBatch, Tokens
from anyx.signatures import Errors, check_value, fits, hints_of
from anyx.waiting import Lender, Waiting

WIRED = ("generators", "progress")  # keywords of a decoder that the model gives


class Output(NamedTuple):
    """What training reads: `states` (m, d) that say the next token and its `labels` (m,), conditions and tokens by key.

    Only supervised positions are here; `LLM.logits` makes scores of their states. `conditions` are in the order of the
    batch's targets; `tokens` are the inputs' as projected.
    """

    states: Float[Tensor, "m d"]
    labels: Int[Tensor, " m"]
    conditions: dict[str, Condition]
    tokens: dict[str, Tokens]


class InputPort(nn.Module):
    """An input: its encoder's name, its projector, the class of its media, the LLM's adapters that they go into."""

    def __init__(self, encoder: str, projector: InputProjector, *, kind: type[Any], into: Sequence[str] = ()) -> None:
        super().__init__()
        self.into = tuple(into)
        self.encoder = encoder
        self.projector = projector
        self.kind = kind

    def project(self, tokens: Tokens, text: TextBatch | None, table: Callable[[], Any]) -> Tokens:
        """The encoder's tokens as LLM tokens; some projectors read the instruction too, or the `table` of all words."""
        more: list[Any] = []
        if self.projector.words is not None:
            more = [text]
        elif self.projector.reads_vocabulary:
            more = [table().weight]
        projected: Tokens = self.projector(tokens, *more)
        return projected


class OutputPort(Lender):
    """An output: its projector, the ids of its signal group, the class of its media, its decoder if there is one."""

    def __init__(
        self,
        projector: OutputProjector | Waiting[OutputProjector],
        *,
        ids: Sequence[int],
        kind: type[Any],
        decoder: Decoder | Waiting[Decoder] | None = None,
    ) -> None:
        super().__init__(projector, decoder)
        self.ids = tuple(ids)
        self.kind = kind

    @property
    def tokens(self) -> int:
        """How many signal tokens its group has."""
        return len(self.ids)


class Making(NamedTuple):
    """How a decoder makes media: denoising steps and classifier-free guidance; None is the decoder's own default.

    `more` are keywords that its `forward` has beside: the size of a picture, the length of a clip.
    """

    steps: int | None = None
    guidance: float | None = None
    more: Mapping[str, Any] = {}


def makings(given: Mapping[str, Mapping[str, Any]], outputs: Mapping[str, OutputPort]) -> dict[str, Making]:
    """What a caller said of some outputs, checked against what the decoder of each takes: `{key: {name: value}}`."""
    if not isinstance(given, Mapping) or any(key not in outputs for key in given):
        raise ValueError(f"decode: {given!r} given; its keys are among the outputs {', '.join(outputs)}")
    found = {}
    for key, settings in given.items():
        hints = takes(outputs[key].known)
        if not isinstance(settings, Mapping) or any(name not in hints for name in settings):
            *names, last = hints
            raise ValueError(f"decode.{key}: {settings!r} given; it may have {', '.join(names)} and {last}")
        more = {
            name: sides(value, f"decode.{key}.{name}") if isinstance(value, str) and is_size(hints[name]) else value
            for name, value in settings.items()
            if name not in ("steps", "guidance")
        }
        made = found[key] = Making(settings.get("steps"), settings.get("guidance"), more)
        if made.steps is not None and not (isinstance(made.steps, Integral) and made.steps >= 1):
            raise ValueError(f"decode.{key}.steps: {made.steps!r} given; it is a whole number, 1 or more")
        if made.guidance is not None and not (isinstance(made.guidance, Real) and 0 <= made.guidance < inf):
            raise ValueError(f"decode.{key}.guidance: {made.guidance!r} given; it is 0 or more")
        errors = Errors()
        for name, value in more.items():
            check_value(errors, f"decode.{key}.{name}", value, hints[name])
        if errors:
            raise ValueError("; ".join(errors))
    return found


def is_size(hint: Any) -> bool:
    """Whether a keyword with this annotation is a size: one side or two, and not words."""
    return fits(64, hint) and fits([64, 64], hint) and not fits("64", hint)


def sides(text: str, name: str) -> int | list[int]:
    """A size that was typed: `WIDTHxHEIGHT`, `HEIGHT,WIDTH` or one side of a square -> one side, or [height, width].

    ValueError names what it is of.
    """
    found = re.fullmatch(r"\s*(\d+)\s*(?:([x,])\s*(\d+)\s*)?", text.lower(), re.ASCII)
    if found is None:
        raise ValueError(f"{name}: {text!r} given; it is WIDTHxHEIGHT, HEIGHT,WIDTH or one number")
    first, sign, second = found.groups()
    if sign is None:
        return int(first)
    return [int(second), int(first)] if sign == "x" else [int(first), int(second)]


def takes(decoder: Decoder | None) -> dict[str, Any]:
    """What a caller may say of one decoding, with its annotation: the keywords of the decoder's `forward`.

    Of a decoder that is not loaded only what all have is known.
    """
    forward = type(decoder).forward if decoder is not None else Decoder.forward
    parameters = inspect.signature(forward).parameters.values()
    names = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in WIRED]
    hints = hints_of(forward)
    return {name: hints.get(name, Any) for name in names}


def projectors(inputs: Mapping[str, InputPort], outputs: Mapping[str, OutputPort]) -> dict[str, nn.Module]:
    """Every projector by its stable name."""
    return {f"inputs.{key}.projector": port.projector for key, port in inputs.items()} | {
        f"outputs.{key}.projector": port.projector for key, port in outputs.items()
    }


def put(modules: Mapping[str, nn.Module], state: Mapping[str, Tensor]) -> None:
    """Give each module the weights under its name; `load_state_dict` refuses what does not fit."""
    for name, module in modules.items():
        start = f"{name}."
        module.load_state_dict(
            {key.removeprefix(start): tensor for key, tensor in state.items() if key.startswith(start)}
        )


def within(
    encoders: Mapping[str, Encoder], inputs: Mapping[str, InputPort], outputs: Mapping[str, OutputPort]
) -> dict[str, list[nn.Parameter]]:
    """What of encoders, input projectors and decoders may learn by itself, by the names that stages select with."""
    found: dict[str, list[nn.Parameter]] = {}
    whole: dict[str, Encoder | InputProjector] = {f"encoders.{name}": encoder for name, encoder in encoders.items()}
    for path, module in (whole | {f"inputs.{key}.projector": port.projector for key, port in inputs.items()}).items():
        for name in module.parts:
            own = [p for called, p in module.named_parameters() if called == name or called.startswith(f"{name}.")]
            found |= {f"{path}.{name}": own} if own else {}  # none: it was built without
    for key, output in outputs.items():
        for name, parameters in output.known.parts().items() if output.known is not None else ():
            found[f"outputs.{key}.decoder.{name}"] = parameters
    return found


def rest(module: nn.Module) -> None:
    """Put every wholly frozen part of a module into eval mode."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
    else:
        for child in module.children():
            rest(child)
