"""Which input connector? `python experiments/connectors/compare.py [NAME ...] [--out runs/connectors] [--seed 0]`.

Trains `connectors.yaml` once for every connector named (default: all), which changes one line of it, and measures each
on all 233 things. Then short runs of the stage through the LLM, one connector after the other in turns, say what a step
costs beside the first connector's. Prints a table, which `table.md` keeps: weights, tokens that the LLM is given,
things named right in both splits with 95% intervals, the ratio of time with its quartiles. A stopped run goes on where
it was.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from anyx.build import build
from anyx.config import Config, load
from anyx.evaluation.run import evaluate
from anyx.imports import import_file
from anyx.interfaces import Tokens
from anyx.training.run import train

HERE = Path(__file__).resolve().parent
ratios = import_file(HERE.parent / "benchmarks" / "ratios.py")
CONNECTORS = {
    "linear": "{type: linear}",
    "mlp": "{type: mlp, hidden: 256}",
    "stack": "{type: stack, k: 4}",
    "resampler": "{type: resampler, tokens: 4, depth: 2, heads: 8, hidden: 256}",
    "perceiver": "{type: resampler, preset: flamingo, tokens: 4, depth: 2, heads: 4, head_dim: 64}",
    "qformer": "{type: qformer, queries: 4, width: 256, layers: 2, heads: 4, dropout: 0.0}",
    "glu": "{type: glu, hidden: 512}",
}


def main() -> None:
    """Train and measure each; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="connectors; default: all")
    parser.add_argument("--out", type=Path, default=Path("runs/connectors"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="so many things a split; default: all")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed, 0 or at least 2; default: 5")
    given = parser.parse_args()
    names = given.names or list(CONNECTORS)
    if unknown := [name for name in names if name not in CONNECTORS]:
        parser.error(f"{unknown[0]!r} is not one of {', '.join(CONNECTORS)}")
    if given.rounds < 0 or given.rounds == 1:
        parser.error(f"--rounds: {given.rounds} is neither 0 nor at least 2")
    rows = [row(name, given.out / name, given.seed, given.limit) for name in names]
    times = paces(names, given.out / "timing", given.rounds) if given.rounds else [""] * len(names)
    head = "| connector | weights | tokens | seen | unseen | time |\n|---|---|---|---|---|---|"
    table = "\n".join([head, *(f"| {one} | {time} |" for one, time in zip(rows, times, strict=True))])
    (given.out / "table.md").write_text(table + "\n", encoding="utf-8")
    print(table)


def row(name: str, folder: Path, seed: int, limit: int | None) -> str:
    """One connector, trained and measured."""
    config = configured(name, f"seed={seed}")
    train(config, out=folder, resume=folder.exists())
    found = evaluate(HERE, folder / "evaluation", model=folder, limit=limit, all=limit is None, show=False)
    shares = [found[split]["image->text"] for split in ("seen", "unseen")]
    told = [f"{share['top1']:.0%} ({share['ci95'][0]:.0%}-{share['ci95'][1]:.0%})" for share in shares]
    weights, tokens = size(config)
    return f"{name} | {weights:,} | {tokens} | {' | '.join(told)}"


def configured(name: str, *overrides: str) -> Config:
    """The experiment with a connector in its one line."""
    return load(HERE / "connectors.yaml", [f"inputs.image.projector={CONNECTORS[name]}", *overrides])


def size(config: Config) -> tuple[int, int]:
    """A connector's weights, and how many tokens it makes of a picture's sixteen."""
    model = build(config, meta=True)
    with torch.device("meta"):
        projector = model.inputs["image"].projector
        made = projector(Tokens.full(torch.zeros(1, 16, model.encoders["vision"].dim)))
    return sum(parameter.numel() for parameter in projector.parameters()), made.values.shape[1]


def paces(names: Sequence[str], folder: Path, rounds: int) -> list[str]:
    """What ten steps through the LLM take beside the first connector's, as `1.00 (0.98-1.02)`; machines differ."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            shutil.rmtree(folder, ignore_errors=True)
            train(configured(name, "stages.describe.steps=10"), out=folder, stages=["describe"])
            rows = list(csv.DictReader((folder / "metrics.csv").open()))
            seconds[name].append(float(rows[-1]["seconds"]))
    found = [ratios.compared(seconds[name], seconds[names[0]]) for name in names]
    return [f"{one['ratio']:.2f} ({one['quartiles'][0]:.2f}-{one['quartiles'][1]:.2f})" for one in found]


if __name__ == "__main__":
    main()
