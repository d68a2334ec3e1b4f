"""Components that are neighbours in the line fit each other, and a gradient passes them end to end.

Components are those of `components.py`, built as `test_contracts.py` builds them.
"""

import itertools

import pytest
import torch
from components import TINY
from test_contracts import WIDTH, component, encode, kind_of_encoder, media
from torch import nn

from anyx.interfaces import Condition, Media
from anyx.registry import resolve


class Line(nn.Module):
    """Encoder tokens -> input projector -> states -> output projector -> condition, with no LLM between."""

    def __init__(self, names: tuple[str, str, str, str]) -> None:
        super().__init__()
        encoder, reader, writer, decoder = names
        self.encoder, self.decoder = component("encoders", 0, encoder), component("decoders", 0, decoder)
        self.reader = resolve("input_projectors", reader)(
            self.encoder.dim, WIDTH, **TINY["input_projectors"][reader][0]
        )
        made = resolve("output_projectors", writer)
        self.writer = made(WIDTH, self.decoder.condition, **TINY["output_projectors"][writer][0])

    def forward(self, items: list[Media]) -> Condition:
        read = self.reader(encode(self.encoder, items))
        return self.writer(read, torch.zeros_like(read.values))  # type: ignore[no-any-return]


def pairings() -> list[tuple[str, ...]]:
    """Lines in which every two neighbours meet: a whole product would grow with the fourth power of what there is."""
    rows = [list(TINY[kind]) for kind in ("encoders", "input_projectors", "output_projectors", "decoders")]
    first = [row[0] for row in rows]
    found = {}
    for place in range(len(rows) - 1):
        for pair in itertools.product(rows[place], rows[place + 1]):
            found[(*first[:place], *pair, *first[place + 2 :])] = None
    return list(found)


PAIRINGS = pairings()


@pytest.mark.parametrize("names", PAIRINGS, ids="-".join)
def test_every_pairing_learns(names: tuple[str, str, str, str]) -> None:
    """A denoising loss at the far end reaches every weight of both projectors."""
    torch.manual_seed(0)
    line = Line(names)
    made = line([media(kind_of_encoder(line.encoder), seed) for seed in range(2)])
    target = line.decoder(made, generators=[torch.Generator().manual_seed(s) for s in (0, 1)], steps=1, guidance=1.0)
    line.decoder.loss(made, target).backward()
    learning = [*line.reader.named_parameters(), *line.writer.named_parameters()]
    still = [name for name, p in learning if p.grad is None or not p.grad.isfinite().all()]
    assert not still
    assert all(any(p.grad.any() for p in part.parameters()) for part in (line.reader, line.writer))
