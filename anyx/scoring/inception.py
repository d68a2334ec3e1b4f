"""Inception score, and the divergence of labels: figures over the logits that a classifier gives to media.

Letters: n media, k labels.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import expit, log_softmax, softmax

from anyx.scoring.features import Features, Floats, rows, same
from anyx.scoring.result import Result

TINY = 1e-6  # added within the logarithm of what was made, as in AudioLDM's evaluation


def inception(made: Features, *, splits: int = 10, seed: int | None = 2020) -> Result:
    """exp of the mean KL of each item's labels from the mean labels: the mean over `splits` parts, and their deviation.

    `values` are logits. The order is shuffled by numpy's `RandomState(seed)` first, as AudioLDM's evaluation does, or
    kept where seed is None.
    """
    logs: Floats = log_softmax(rows(made.values, "logits"), axis=1)
    if not 1 <= splits <= len(logs):
        raise ValueError(f"splits: {splits} given; 1 to {len(logs)}, the number of media")
    if seed is not None:
        logs = logs[np.random.RandomState(seed).permutation(len(logs))]
    edges = [part * len(logs) // splits for part in range(splits + 1)]
    scores = []
    for start, end in itertools.pairwise(edges):
        part = logs[start:end]
        shares = np.exp(part)
        scores.append(np.exp((shares * (part - np.log(shares.mean(0)))).sum(1).mean()))
    figures = {"inception_score": float(np.mean(scores)), "inception_score_std": float(np.std(scores))}
    by = {"embedder": made.embedder, "splits": str(splits), "seed": str(seed)}
    return Result(metric="inception_score", by=by, figures=figures, n=len(logs))


def divergence(target: Features, made: Features, *, labels: str = "softmax") -> Result:
    """Mean KL of the labels of made media from those of their targets, pair by pair; `values` are logits.

    `labels` are `softmax` (one holds) or `sigmoid` (each may hold, summed without their complements, as AudioLDM's
    evaluation has it: that may be below 0).
    """
    a, b = same(target, made)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} targets but {len(b)} media; each target has one")
    if labels not in ("softmax", "sigmoid"):
        raise ValueError(f"labels: {labels!r} given; softmax or sigmoid")
    right, found = (expit(x) if labels == "sigmoid" else softmax(x, axis=1) for x in (a, b))
    logs = np.log(np.maximum(right, np.finfo(np.float64).tiny))
    items = (right * (logs - np.log(found + TINY))).sum(1)
    by = {"embedder": target.embedder, "labels": labels}
    return Result(metric="kl", by=by, figures={"kl": float(items.mean())}, n=len(items), items=items.tolist())
