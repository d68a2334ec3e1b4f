"""What a run shows: the FROZEN / TRAINABLE table, metrics.csv, the picture of the loss curves."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.table import Table

from anyx import durable
from anyx.training.stage import Parts, Selection


@cache
def console() -> Console:
    """The terminal."""
    return Console()


def table(parts: Parts, selection: Selection, title: str) -> Table:
    """Every part with its size, whether it learns, and at which rate."""
    glob_of = {name: glob for glob, names in selection.globs.items() for name in names}
    made = Table("part", "parameters", "", "lr", title=title, title_justify="left")
    made.columns[1].justify = "right"
    frozen: set[int] = set()
    counts = {"FROZEN": 0, "TRAINABLE": 0}
    taught = {id(parameter) for parameter in selection.parameters()}
    for name in sorted(parts, key=lambda name: name not in glob_of):
        learns = bool(parts[name]) and all(id(parameter) in taught for parameter in parts[name])  # by itself or within
        fresh = {id(parameter): parameter.numel() for parameter in parts[name] if id(parameter) not in frozen}
        frozen |= fresh.keys()
        counts["TRAINABLE" if learns else "FROZEN"] += sum(fresh.values())
        size = f"{sum(parameter.numel() for parameter in parts[name]):,}"
        rate = f"{selection.rates[glob_of[name]]:g}" if name in glob_of else ""
        made.add_row(name, size, "[green]TRAINABLE" if learns else "[blue]FROZEN", rate)
    made.add_section()
    for state, count in counts.items():
        made.add_row("", f"{count:,}", state, "")
    return made


class Metrics:
    """A CSV of all stages, one row a logging step. Rows that a resumed run repeats are dropped."""

    def __init__(self, path: Path, losses: Sequence[str]) -> None:
        self.path = path
        self.columns = ["stage", "step", "seconds", "lr", "loss", *losses]
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            whole, _, _ = path.read_text().rpartition("\n")  # a killed run may have left half a line
            self.rows = list(csv.DictReader(whole.splitlines()))

    def rewind(self, stage: str, step: int) -> None:
        """Forget what a stage logged after a step."""
        self.rows = [row for row in self.rows if row["stage"] != stage or int(row["step"]) <= step]
        self._write()

    def add(self, stage: str, step: int, seconds: float, values: Mapping[str, float]) -> None:
        """Append a row."""
        row = {"stage": stage, "step": str(step), "seconds": f"{seconds:.1f}"}
        self.rows.append(row | {name: f"{value:.6g}" for name, value in values.items()})
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns, restval="").writerow(self.rows[-1])

    def curves(self) -> dict[str, dict[str, tuple[list[int], list[float]]]]:
        """Stage -> loss -> (steps, values)."""
        found: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
        for row in self.rows:
            for name in self.columns[4:]:
                if row.get(name):
                    steps, values = found.setdefault(row["stage"], {}).setdefault(name, ([], []))
                    steps.append(int(row["step"]))
                    values.append(float(row[name]))
        return found

    def _write(self) -> None:
        with durable.replacing(self.path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)


def draw_curves(curves: Mapping[str, Mapping[str, tuple[Sequence[int], Sequence[float]]]], path: Path) -> Path:
    """A PNG with one panel a stage."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * max(1, len(curves)), 3.5), layout="constrained")
    panels = figure.subplots(1, max(1, len(curves)), squeeze=False)[0]
    for panel, (stage, losses) in zip(panels, curves.items(), strict=False):
        for name, (steps, values) in losses.items():
            panel.plot(steps, values, label=name, linewidth=1.8 if name == "loss" else 1.0)
        panel.set(title=stage, xlabel="step", ylabel="loss")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    return path
