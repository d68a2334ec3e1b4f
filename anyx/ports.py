"""Ports: what an any-to-any model hears with and answers by, one a key of `inputs` or `outputs`.

Letters: m supervised positions, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn

from anyx.interfaces import Condition, Decoder, InputProjector, OutputProjector, Tokens


class Output(NamedTuple):
    """What training reads: `logits` (m, v) and `labels` (m,) of supervised positions, conditions and tokens by key.

    `conditions` are in the order of the batch's targets; `tokens` are the inputs' as projected.
    """

    logits: Float[Tensor, "m v"]
    labels: Int[Tensor, " m"]
    conditions: dict[str, Condition]
    tokens: dict[str, Tokens]


class InputPort(nn.Module):
    """An input: the name of its encoder, its projector, the class of its media."""

    def __init__(self, encoder: str, projector: InputProjector, *, kind: type[Any]) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector
        self.kind = kind


class OutputPort(nn.Module):
    """An output: its projector, the ids of its signal group, the class of its media, its decoder if it is loaded."""

    def __init__(
        self, projector: OutputProjector, *, ids: Sequence[int], kind: type[Any], decoder: Decoder | None = None
    ) -> None:
        super().__init__()
        self.projector = projector
        self.ids = tuple(ids)
        self.kind = kind
        self.decoder = decoder

    @property
    def tokens(self) -> int:
        """How many signal tokens its group has."""
        return len(self.ids)


@runtime_checkable
class Parted(Protocol):
    """A decoder's parts: name -> parameters, such as vae, denoiser, text."""

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """What may learn."""
        ...


def rest(module: nn.Module) -> None:
    """Put every wholly frozen part of a module into eval mode."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
    else:
        for child in module.children():
            rest(child)
