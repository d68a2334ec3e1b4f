"""A training step and its conditions: what the LLM's states project to or, without an LLM, what the captions encode to.

Letters: b items, m media that a key has, l positions, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from anyx.data.batches import Cached, Dialogues, Pairs
from anyx.interfaces import Condition, Decoder, TextTeacher, Tokens
from anyx.model import AnyX, Output
from anyx.splice import sent
from anyx.training import losses
from anyx.training.backbones import Model

Groups = Literal["all", "first"]


class Step(NamedTuple):
    """One training step. `output` where a loss wants it; `scale` is the log of a learned 1 / temperature."""

    model: Model
    batch: Dialogues | Pairs
    output: Output | None
    scale: nn.Parameter
    memo: dict[str, Tensor]  # what is the same at every step, computed once
    projected: dict[str, Tokens] | None = None  # by key, for losses that read inputs without a pass through the LLM


Scaled = Callable[[str, int, losses.Mean], Tensor]


class Found(NamedTuple):
    """What an objective found in a batch: means by key and by name within it, and how much a key weighs (1).

    Of the names of a key the mean counts, or the sum with the weights `within`.
    """

    means: Mapping[str, Mapping[str, losses.Mean]]
    weights: Mapping[str, float] | None = None
    within: Mapping[str, float] | None = None

    def joined(self, scaled: Scaled | None = None) -> Tensor:
        """The loss, of the means as they are, or of what `scaled` makes of each: key, place among its names, mean."""
        values = {}
        for key, named in self.means.items():
            each = [
                (mean.value if scaled is None else scaled(key, place, mean)) * (self.within or {}).get(name, 1.0)
                for place, (name, mean) in enumerate(named.items())
            ]
            values[key] = torch.stack(each).sum() if self.within else torch.stack(each).mean()
        return losses.weighted(values, {key: (self.weights or {}).get(key, 1.0) for key in values})


def found_in(means: Mapping[str, losses.Mean], weights: Mapping[str, float] | None = None) -> Found | None:
    """One mean a key; None where there is none."""
    return Found({key: {"": mean} for key, mean in means.items()}, weights) if means else None


def over_items(value: Tensor, items: int) -> losses.Mean:
    """A mean over so many items of one size."""
    return losses.Mean(value, lambda: [float(items)])


def tokens_of(step: Step, key: str) -> Tokens:
    """A key's media as LLM tokens, projected once a step."""
    assert isinstance(step.model, AnyX)
    assert isinstance(step.batch, Dialogues)
    if step.output is not None:
        return step.output.tokens[key]
    kept = {} if step.projected is None else step.projected
    if key not in kept:
        kept[key] = step.model.project(key, step.batch.batch.inputs[key])
    return kept[key]


@runtime_checkable
class LatentSpace(Protocol):
    """A decoder whose latents can be computed once and denoised later."""

    def latents(self, media: Sequence[Any]) -> Tensor:
        """Latents of media, one an item."""
        ...

    def scaling_factor(self) -> float:
        """What the autoencoder's latents are multiplied by."""
        ...

    def denoising_loss(self, condition: Condition, latents: Tensor) -> Tensor:
        """The loss from such latents."""
        ...


def conditions(step: Step, keys: Sequence[str] | None) -> Iterator[tuple[str, Condition, Dialogues | Pairs]]:
    """The condition of each key: what the LLM's states project to or, without an LLM, the caption's own encoding."""
    if step.output is not None:
        for key, condition in step.output.conditions.items():
            if keys is None or key in keys:
                yield key, condition, step.batch
        return
    assert isinstance(step.batch, Pairs)
    for key in step.batch.media:
        if key in step.model.outputs and (keys is None or key in keys):
            yield key, encoded_captions(decoder_of(step.model, key), key, step.batch), step.batch


def decoder_of(model: Model, key: str) -> Decoder:
    """The decoder of an output."""
    decoder = model.outputs[key].decoder
    if decoder is None:
        raise ValueError(f"outputs.{key}: a loss of this stage needs the decoder, which is not loaded")
    return decoder


def encoded_captions(decoder: Decoder, key: str, batch: Pairs) -> Condition:
    """The conditions of a key's captions, cached or fresh (a text encoder that is learning)."""
    if key in batch.teachers:
        return condition_of(batch.teachers[key])
    if not isinstance(decoder, TextTeacher):
        null = decoder.null_condition()
        count = len(batch.rows[key])
        return Condition(*({n: x.expand(count, *x.shape[1:]) for n, x in part.items()} for part in null))
    return decoder.encode_text([batch.captions[row] for row in batch.rows[key].tolist()])


def condition_of(cached: Cached) -> Condition:
    """A cached condition: tensors named `values.<name>` and `masks.<name>`."""
    split = {
        kind: {n.removeprefix(kind): x for n, x in cached.values.items() if n.startswith(kind)}
        for kind in ("values.", "masks.")
    }
    return Condition(split["values."], split["masks."])


def counted(batch: Dialogues | Pairs, key: str, groups: Groups) -> Bool[Tensor, " m"] | None:
    """Which of a key's media count: the first that each conversation shows; None is all, for which no step waits."""
    if groups not in get_args(Groups):
        raise ValueError(f"groups: {groups!r} is not one of {', '.join(get_args(Groups))}")
    if groups == "all":
        return None
    owners = (batch.batch.targets[key].rows if isinstance(batch, Dialogues) else batch.rows[key]).tolist()
    return torch.tensor([owner not in owners[:place] for place, owner in enumerate(owners)], dtype=torch.bool)


def chosen(cached: Cached, counts: Bool[Tensor, " m"] | None) -> Cached:
    """Of cached tensors those whose media count."""
    if counts is None:
        return cached
    kept = counts[cached.rows].nonzero().flatten()
    return Cached(cached.rows[kept], {name: x[sent(kept, x.device)] for name, x in cached.values.items()})


def rows_of(condition: Condition, rows: Tensor) -> Condition:
    """Some rows of a condition."""
    return Condition(*({name: x[sent(rows, x.device)] for name, x in part.items()} for part in condition))


def dropped(condition: Condition, decoder: Decoder, rate: float) -> Condition:
    """The condition with rows replaced by the null condition at a rate."""
    return condition.dropped(decoder.null_condition(), rate) if rate else condition
