"""Figures of a run as words: cells on the terminal, in the report and in Markdown, and what stands beside the matrix.

Nothing here measures; see `anyx.evaluation.matrix` for what the figures are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Figures = Mapping[str, Any]


FOOT = (
    "top-1 in percent (95% interval), valid: the share of replies that hold what was asked for, ceiling: the judge on "
    "real media, chance: outputs handed to other requests; then fidelity with its standard error (real: what two "
    "real sets of the size come to)"
)


def cell(figures: Figures, join: str = ", ") -> str:
    """Top-1 with its interval, what is valid, the judge's ceiling, chance, likeness and word errors."""
    low, high = figures["ci95"]
    parts = [f"{figures['top1']:.0%} ({100 * low:.0f}-{100 * high:.0f})"]
    parts += [f"{name} {figures[name]:.0%}" for name in ("valid", "ceiling", "chance")]
    parts += [likeness(figures), word_errors(figures)]
    return join.join(part for part in parts if part)


def sizes(found: Figures) -> str:
    """How many requests the cells of a matrix stand for."""
    counts = sorted({one["n"] for one in found.values() if one})
    return f"n {counts[0]} a cell" if len(counts) == 1 else f"n {counts[0]} to {counts[-1]} a cell" if counts else ""


def brief(figures: Figures | None) -> str:
    """The same for a table of Markdown, whose foot says what is what."""
    if not figures or not figures["n"]:
        return "-"
    shown = (*figures["ci95"], figures["valid"], figures["chance"], figures["ceiling"])
    low, high, valid, chance, ceiling = (round(100 * x) for x in shown)
    shares = f"{100 * figures['top1']:.0f} ({low}-{high}; {valid} / {chance} / {ceiling})"
    return "<br>".join(part for part in (shares, likeness(figures), word_errors(figures)) if part)


def likeness(figures: Figures) -> str:
    """How like real ones the outputs are, with its error, and the floor: what two real sets of the size come to."""
    if (said := figures.get("fidelity")) is None:
        return ""
    error = "" if said.get("error") is None else f" ± {said['error']:.3f}"
    floor = "" if said["floor"] is None else f" (real {said['floor']:.3f})"
    return f"{said['metric']} {said['value']:.3f}{error}{floor}"


def word_errors(figures: Figures) -> str:
    """The word error rate of a transcript, where it is one."""
    if "words" not in figures:
        return ""
    low, high = figures["words"]["ci95"]
    return f"word errors {figures['words']['error_rate']:.1%} ({low:.1%}-{high:.1%})"


def cycles(found: Figures, split: str) -> list[str]:
    """A line for every route with one leg more."""
    return [f"{name} {cell(one)} (n {one['n']})" for name, one in found["cycles"].get(split, {}).items()]


def decisions(found: Figures, split: str) -> list[str]:
    """A line for every kind of media, and one for any: did it come when it was asked for, and only then?"""
    return [
        f"{key}: came in {_share(row, 'recall')} of {row['asked']} replies that were asked for it, "
        f"was asked for in {_share(row, 'precision')} of {row['came']} that had it"
        for key, row in found["decisions"].get(split, {}).items()
    ]


def _share(row: Figures, name: str) -> str:
    if row[name] is None:
        return "-"
    low, high = row[f"{name}_ci95"]
    return f"{row[name]:.1%} ({low:.1%}-{high:.1%})"


def plain(found: Figures) -> str:
    """How often chat stayed words."""
    if "plain_chat" not in found:
        return ""
    return f"plain chat stays plain in {found['plain_chat']['plain']:.1%} of {found['plain_chat']['n']}"
