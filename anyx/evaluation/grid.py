"""A grid of variants of one experiment: what varies, what each got right, and whether that could be chance.

An axis is `key=value,value`: an override of the experiment's YAML with several values between commas. A variant takes
one value of every axis, and is trained once a seed. Variants are compared with the first one over the same requests of
the same seeds; `holm` is the p after Holm's correction for as many variants as are compared. Intervals and p are of
other requests to these models: what another training would change, the shares of each seed show.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anyx.evaluation.compare import corrected, paired
from anyx.evaluation.metrics import bounds
from anyx.evaluation.records import Job

Figures = dict[str, Any]


class Variant(NamedTuple):
    """One point of a grid: its name, which is a folder's too, and the overrides that make it."""

    name: str
    overrides: tuple[str, ...]


def parted(text: str) -> list[str]:
    """The values between commas that no bracket or quote holds."""
    found, depth, quote, start = [], 0, "", 0
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in "]})":
            depth -= 1
        elif letter == "," and not depth:
            found.append(text[start:place].strip())
            start = place + 1
    return [*found, text[start:].strip()]


def variants(words: Sequence[str]) -> tuple[list[Variant], list[str]]:
    """The grid that words `a.b=c` span, and those with one value, which hold for all. ValueError without an axis."""
    axes, fixed = [], []
    for word in words:
        key, sign, values = word.partition("=")
        if not sign:
            raise ValueError(f"{word}: an override is written a.b=c, and what varies a.b=c,d,e")
        several = parted(values)
        if len(several) == 1:
            fixed.append(word)
        else:
            axes.append([(key, value) for value in several])
    if not axes:
        raise ValueError("nothing varies: give at least one key several values, e.g. outputs.image.tokens=1,4,16")
    made = []
    for point in itertools.product(*axes):
        name = "__".join(f"{key.split('.')[-1]}={value}" for key, value in point)
        made.append(Variant(re.sub(r"[^\w.=+-]+", "_", name).strip("_"), tuple(f"{k}={v}" for k, v in point)))
    names = [variant.name for variant in made]
    if len(set(names)) < len(names):  # keys that end alike
        made = [Variant(f"{place}-{variant.name}", variant.overrides) for place, variant in enumerate(made)]
    return made, fixed


def table(
    rights: Mapping[str, Mapping[int, Mapping[Job, float]]], costs: Mapping[str, Figures], label: Callable[[str], str]
) -> dict[str, Figures]:
    """Figures by variant: accuracy by split over all its seeds, against the first; `rights` are by name and seed.

    `costs` are what else is told of a variant, `label` what a sample shows. Differences are paired by seed and request.
    """
    first = next(iter(rights))
    found: dict[str, Figures] = {}
    splits = list(dict.fromkeys(job.split for by_seed in rights.values() for one in by_seed.values() for job in one))
    for name, by_seed in rights.items():
        found[name] = {**costs[name], "splits": {}}
        for split in splits:
            mine = {(s, job): hit for s, one in by_seed.items() for job, hit in one.items() if job.split == split}
            base = {(s, job): hit for s, one in rights[first].items() for job, hit in one.items()}
            both = [key for key in mine if key in base]
            labels = [label(job.sample) for _, job in mine]
            row: Figures = {"n": len(mine), "accuracy": share(list(mine.values()))}
            row["ci95"] = [round(edge, 4) for edge in bounds(list(mine.values()), labels)]
            row["seeds"] = {str(s): share([mine[key] for key in mine if key[0] == s]) for s in by_seed}
            if name != first and len(both) > 1:
                shown = [label(job.sample) for _, job in both]
                pair = paired([base[key] for key in both], [mine[key] for key in both], shown)
                row |= {"difference": pair["difference"], "difference_ci95": pair["ci95"], "p": pair["p"]}
            found[name]["splits"][split] = row
    for split in splits:
        corrected([row for one in found.values() if "p" in (row := one["splits"][split])])
    return found


def share(right: Sequence[float]) -> float:
    """The mean, 0 of nothing."""
    return round(sum(right) / max(1, len(right)), 4)


def markdown(found: Mapping[str, Figures]) -> str:
    """The table as Markdown; what differs from the first after Holm's correction (p < 0.05) is marked.

    Of several seeds each one's accuracy is told.
    """
    splits = list(next(iter(found.values()))["splits"])
    head = ["variant", "parameters", "minutes", *(f"{split} (95%)" for split in splits), "against the first, p"]
    rows = [head, ["---"] * len(head)]
    for name, one in found.items():
        cells = [name, f"{one['parameters']:,}", f"{one['seconds'] / 60:.1f}"]
        told = []
        for split, row in one["splits"].items():
            low, high = row["ci95"]
            seeds = ", ".join(f"{right:.0%}" for right in row["seeds"].values())
            each = f"; {seeds}" if len(row["seeds"]) > 1 else ""
            cells.append(f"{row['accuracy']:.0%} ({low:.0%}-{high:.0%}{each})")
            if "p" in row:
                told.append(f"{split} {row['difference']:+.0%}, {row['p']:.3g}{' *' if row['holm'] < 0.05 else ''}")
        rows.append([*cells, "; ".join(told) or "-"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def draw(found: Mapping[str, Figures], path: Path) -> None:
    """Draw accuracies with their intervals, one line a split."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(5, 1.1 * len(found) + 2), 4), layout="constrained")
    axes = figure.add_subplot()
    for split in next(iter(found.values()))["splits"]:
        rows = [one["splits"][split] for one in found.values()]
        heights = [row["accuracy"] for row in rows]
        low, high = ([abs(row["ci95"][side] - row["accuracy"]) for row in rows] for side in (0, 1))
        axes.errorbar(range(len(rows)), heights, yerr=[low, high], fmt="o", capsize=4, label=split)
    axes.set_xticks(range(len(found)), list(found), rotation=20, ha="right")
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("accuracy, 95% interval")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def save(found: Mapping[str, Figures], out: Path) -> None:
    """Write `ablation.json`, `ablation.md` and `ablation.png`."""
    (out / "ablation.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "ablation.md").write_text(markdown(found), encoding="utf-8")
    draw(found, out / "ablation.png")
