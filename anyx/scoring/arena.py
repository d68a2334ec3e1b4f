"""Strengths of models from votes between two of them: Bradley and Terry (1952), with bootstrap intervals.

Model i wins against j with probability 1 / (1 + exp(strength_j - strength_i)); a draw is half a win for each. Strengths
are natural logarithms around a mean of 0; Elo points are 400 / ln 10 = 173.7 times as many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anyx.scoring.bootstrap import REPEATS, percentiles
from anyx.scoring.result import Result
from anyx.scoring.rows import Row, needed

WINNERS = ("a", "b", "draw")
PRIOR = 0.1
STEPS = 200


def arena(rows: Sequence[Row], *, prior: float = PRIOR, repeats: int = REPEATS, seed: int = 0) -> Result:
    """Strengths from votes, rows of `a` and `b` (names of models) and `winner` ("a", "b" or "draw").

    `prior`, above 0, is how many draws are added between two models that met, so that one that never lost has a
    strength. Figures are strengths by name, the strongest first; `details` have each 95% interval over votes drawn
    again (low, high), its votes and its share of them won. ValueError: models between whom no chain of votes leads, a
    vote on a model against itself, another winner, a prior that is not above 0.
    """
    needed("arena", rows, "a", "b", "winner")
    if prior <= 0:
        raise ValueError(f"arena: prior is {prior}; allowed: above 0")
    names = sorted({str(row[side]) for row in rows for side in ("a", "b")})
    order = {name: place for place, name in enumerate(names)}
    cells = np.zeros((3, len(names), len(names)))  # by winner, of a and b
    for place, row in enumerate(rows):
        if row["winner"] not in WINNERS or row["a"] == row["b"]:
            raise ValueError(f"arena: row {place} is {dict(row)}; two models, and a winner of {', '.join(WINNERS)}")
        cells[WINNERS.index(row["winner"]), order[str(row["a"])], order[str(row["b"])]] += 1
    met = (cells.sum(0) + cells.sum(0).T) > 0
    _connected(met, names)
    draws = np.random.default_rng(seed).multinomial(len(rows), cells.ravel() / len(rows), size=repeats)
    spread = strengths(_wins(draws.reshape(-1, *cells.shape)) + met * prior / 2)
    won = _wins(cells[None])[0]
    found = strengths((won + met * prior / 2)[None])[0]
    details = {}
    for place, name in enumerate(names):
        low, high = percentiles(spread[:, place])
        votes = float(won[place].sum() + won[:, place].sum())
        details[name] = {"low": low, "high": high, "votes": votes, "won": float(won[place].sum()) / votes}
    best = sorted(names, key=lambda name: -found[order[name]])
    return Result(
        metric="arena",
        by={"model": "bradley-terry", "prior": f"{prior}", "seed": f"{seed}"},
        figures={name: float(found[order[name]]) for name in best},
        n=len(rows),
        details={name: details[name] for name in best},
    )


def strengths(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """The likeliest strengths (repeats, models) for wins (repeats, models, models) of row over column.

    Newton's steps on the concave likelihood, none longer than one. Each model has to have won and lost, or drawn.
    """
    games = wins + wins.transpose(0, 2, 1)
    models = games.shape[1]
    found = np.zeros(games.shape[:2])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(found[:, None, :] - found[:, :, None]))  # of row over column
        slope = (wins - games * chance).sum(-1)
        if np.abs(slope).max() < 1e-9 * max(1.0, games.max()):
            return found
        bend = games * chance * (1 - chance)
        curve = np.eye(models) * bend.sum(-1, keepdims=True) - bend + 1 / models  # the last fixes the mean
        step = np.linalg.solve(curve, slope[..., None])[..., 0]
        found += step / np.maximum(1.0, np.abs(step).max(-1, keepdims=True))
    raise AssertionError(f"strengths have not settled in {STEPS} steps")


def _wins(cells: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Cells (repeats, winner, a, b) as wins (repeats, row, column); a draw is half a win for each."""
    draws = cells[:, 2] / 2
    wins: NDArray[np.float64] = cells[:, 0] + cells[:, 1].transpose(0, 2, 1) + draws + draws.transpose(0, 2, 1)
    return wins


def _connected(met: NDArray[np.bool_], names: Sequence[str]) -> None:
    reached = np.arange(len(names)) == 0
    for _ in names:
        reached = reached | met[reached].any(0)
    if not reached.all():
        apart = [name for name, near in zip(names, reached, strict=True) if not near]
        raise ValueError(f"arena: no votes lead from {names[0]} to {', '.join(apart)}; their strengths do not compare")
