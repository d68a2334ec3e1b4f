"""The losses as pure functions of tensors; `objectives.py` says where in a step their arguments come from.

A loss that is a mean comes as a `Mean` where what it was divided by matters: several processes hold unlike parts of a
batch, and the loss of the whole is no mean of theirs.

Letters: b items, m supervised positions, v vocabulary, l positions of a condition or caption, n tokens, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor
from torch.nn import functional as F

from anyx.interfaces import Condition, Tokens

CaptionKind = Literal["l2norm", "mse", "cosine"]
AlignKind = Literal["mse", "cosine"]
TINY = 1e-12
Sums = Sequence[Tensor | float]


def plain(sums: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """The divisor of a mean over so many, and 1 for none."""
    return sums[0].clamp(min=1)


def relative_to(sums: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """The divisor of a sum by another."""
    return sums[0].clamp(min=TINY)


class Mean(NamedTuple):
    """A mean: its `value`, the `sums` over the batch that its divisor is made of, and how (`over`).

    `sums` are asked for where there are several processes only; they carry no gradients.
    """

    value: Float[Tensor, ""]
    sums: Callable[[], Sums]
    over: Callable[[Tensor], Tensor] = plain


def caption(
    said: Condition,
    taught: Condition,
    *,
    kind: CaptionKind = "l2norm",
    pads: float = 0.0,
    relative: bool = True,
) -> Float[Tensor, ""]:
    """Distance of a projected condition to the teacher's, mean over the teacher's real positions and over names.

    `l2norm` is the Euclidean norm over d (not squared), `cosine` one minus the cosine. `pads` is what a position past
    the caption's end counts: 1 where the decoder reads it as well (Stable Diffusion attends to all). `relative` divides
    by what zeros would cost, so that teachers count alike whatever their scale: CLIP's states are some 33 long, CLAP's
    embeddings 1. NExT-GPT's loss is `kind=l2norm, pads=1, relative=False` (Wu et al. 2023, v1 and v2).
    """
    found = distances(said, taught, kind=kind, pads=pads, relative=relative)
    return torch.stack([mean.value for mean in found.values()]).mean()


def distances(said: Condition, taught: Condition, *, kind: CaptionKind, pads: float, relative: bool) -> dict[str, Mean]:
    """`caption` of each named tensor by itself."""
    return {
        name: distance(said.values[name], value, taught.masks.get(name), kind, pads, relative)
        for name, value in taught.values.items()
    }


def distance(
    said: Float[Tensor, "b l d"],
    taught: Float[Tensor, "b l d"],
    mask: Bool[Tensor, "b l"] | None,
    kind: CaptionKind,
    pads: float = 0.0,
    relative: bool = True,
) -> Mean:
    """One named tensor of `caption`."""
    said, taught = said.float(), taught.float()
    scale = torch.ones_like(taught[..., 0])
    if kind == "l2norm":
        each, scale = torch.linalg.vector_norm(said - taught, dim=-1), torch.linalg.vector_norm(taught, dim=-1)
    elif kind == "mse":
        each, scale = (said - taught).square().mean(-1), taught.square().mean(-1)
    elif kind == "cosine":
        each = 1 - F.cosine_similarity(said, taught, dim=-1)
    else:
        raise ValueError(f"kind: {kind!r} is not one of {', '.join(get_args(CaptionKind))}")
    weights = mask if mask is None or not pads else torch.where(mask, 1.0, pads)
    if not relative:
        return Mean(masked_mean(each, weights), lambda: [amount(each, weights)])
    value = masked_mean(each, weights) / masked_mean(scale, weights).clamp(min=TINY)
    return Mean(value, lambda: [scale.sum() if weights is None else (scale * weights).sum()], relative_to)


def contrastive(
    a: Float[Tensor, "b d"],
    b: Float[Tensor, "b d"],
    scale: float | Float[Tensor, ""],
    same: Bool[Tensor, "b b"] | None = None,
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE: row i of `a` belongs to row i of `b`. Pairs marked `same` are no negatives of each other."""
    logits = scale * F.normalize(a.float(), dim=-1) @ F.normalize(b.float(), dim=-1).T
    if same is not None:
        others = same & ~torch.eye(len(a), dtype=torch.bool, device=a.device)
        logits = logits.masked_fill(others, -torch.inf)
    labels = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def reconstruct(
    made: Float[Tensor, "b ..."],
    target: Float[Tensor, "b ..."],
    kl: Float[Tensor, ""],
    *,
    l1: float = 1.0,
    mse: float = 1.0,
    edges: float = 0.0,
    kl_weight: float = 1e-6,
) -> Float[Tensor, ""]:
    """An autoencoder's loss: absolute and squared error, error of differences along the last two axes, KL."""
    error = made.float() - target.float()
    total = l1 * error.abs().mean() + mse * error.square().mean() + kl_weight * kl.float()
    if edges:
        total = total + edges * (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean())
    return total


def align(
    tokens: Tokens,
    words: Float[Tensor, "b l d"],
    mask: Bool[Tensor, "b l"],
    neutral: Float[Tensor, " d"],
    *,
    kind: AlignKind = "mse",
) -> Float[Tensor, ""]:
    """`alignment` as one number."""
    return alignment(tokens, words, mask, neutral, kind=kind).value


def alignment(
    tokens: Tokens,
    words: Float[Tensor, "b l d"],
    mask: Bool[Tensor, "b l"],
    neutral: Float[Tensor, " d"],
    *,
    kind: AlignKind = "mse",
) -> Mean:
    """Token i of a medium against the embedding of its caption's token i; past the caption's end, against `neutral`.

    `mse` is relative: divided by the mean square of the words, so that silence costs about 1 whatever the scale of
    the embeddings. Captions longer than the media's tokens are cut; items without a caption do not count.
    """
    target, real = spelt(words, mask, neutral, tokens.values.shape[1])
    said = tokens.values.float()
    counts = tokens.mask & mask.any(1, keepdim=True)
    if kind == "cosine":
        return Mean(masked_mean(1 - F.cosine_similarity(said, target, dim=-1), counts), lambda: [counts.sum()])
    if kind != "mse":
        raise ValueError(f"kind: {kind!r} is not one of {', '.join(get_args(AlignKind))}")
    squares, words_in = target.square().mean(-1), real & counts
    value = masked_mean((said - target).square().mean(-1), counts) / masked_mean(squares, words_in).clamp(min=TINY)
    return Mean(value, lambda: [counts.sum(), (squares * words_in).sum(), words_in.sum()], over_words)


def over_words(sums: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """The divisor of `alignment`: how many tokens, times the mean square of the words."""
    tokens, squares, words = sums[:3]
    found: Tensor = tokens.clamp(min=1) * (squares / words.clamp(min=1)).clamp(min=TINY)
    return found


def quantity(count: Float[Tensor, " m"], wanted: Num[Tensor, " m"], *, relative: bool = False) -> Float[Tensor, ""]:
    """How far the tokens that were counted are from those wanted, mean over items of which any are.

    `relative` measures each by its own number. The published loss is the sum over items (CIF, arXiv 1905.11235).
    """
    each = (count.float() - wanted).abs()
    return masked_mean(each / wanted.clamp(min=1) if relative else each, wanted > 0)


def spelt(
    words: Float[Tensor, "b l d"], mask: Bool[Tensor, "b l"], neutral: Float[Tensor, " d"], n: int
) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b n"]]:
    """Captions as n tokens, cut or filled up with `neutral`, and which of them are words."""
    words, real = F.pad(words, (0, 0, 0, max(0, n - words.shape[1])))[:, :n], F.pad(mask, (0, n))[:, :n]
    return torch.where(real[..., None], words, neutral).float(), real


def tell_apart(
    said: Tokens, candidates: Float[Tensor, "c n d"], right: Int[Tensor, " b"], scale: float
) -> Float[Tensor, ""]:
    """Cross-entropy of which candidate was meant, by the cosine of what sets each apart from the candidates' mean.

    What stands at an item's padding is not looked at, of neither side.
    """
    centre, real = candidates.mean(0), said.mask.float()
    could = candidates.float() - centre
    meant = (said.values.float() - centre) * real[..., None]
    squares = meant.square().sum((1, 2))[:, None] * (real @ could.square().sum(-1).T)
    cosine = meant.flatten(1) @ could.flatten(1).T / squares.clamp(min=1e-24).sqrt()
    return F.cross_entropy(scale * cosine, right)


def masked_mean(values: Float[Tensor, "*b"], mask: Num[Tensor, "*b"] | None) -> Float[Tensor, ""]:
    """The mean where the mask is True, or weighted by it; 0 where it never is."""
    if mask is None:
        return values.mean()
    return (values * mask).sum() / mask.sum().clamp(min=1)


def amount(values: Tensor, mask: Tensor | None) -> Tensor | float:
    """What `masked_mean` divides by."""
    return float(values.numel()) if mask is None else mask.sum()


def mean_pool(tokens: Tokens) -> Float[Tensor, "b d"]:
    """The mean of an item's real tokens."""
    weights = tokens.mask.to(tokens.values.dtype)[..., None]
    return (tokens.values * weights).sum(1) / weights.sum(1).clamp(min=1)


def weighted(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Float[Tensor, ""]:
    """The sum of terms by their weights."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()
