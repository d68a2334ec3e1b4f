"""Which input connector? `python experiments/connectors/compare.py [NAME ...] [--out runs/connectors] [--seed 0]`.

Trains `connectors.yaml` once for every connector named (default: all), which changes one line of it, measures each on
all 233 things, and prints a row a connector: its weights, the tokens it gives the LLM, seconds a step, and how many
things of both splits were named right, with 95% intervals. A stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import torch

from anyx.build import build
from anyx.config import load
from anyx.evaluation.run import evaluate
from anyx.interfaces import Tokens
from anyx.training.run import train

HERE = Path(__file__).resolve().parent
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
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in CONNECTORS]:
        parser.error(f"{unknown[0]!r} is not one of {', '.join(CONNECTORS)}")
    print("| connector | weights | tokens | s a step | seen | unseen |\n|---|---|---|---|---|---|")
    for name in given.names or CONNECTORS:
        print(row(name, given.out / name, given.seed, given.limit), flush=True)


def row(name: str, folder: Path, seed: int, limit: int | None) -> str:
    """One connector, trained and measured."""
    config = load(HERE / "connectors.yaml", [f"inputs.image.projector={CONNECTORS[name]}", f"seed={seed}"])
    train(config, out=folder, resume=folder.exists())
    found = evaluate(HERE, folder / "evaluation", model=folder, limit=limit, all=limit is None, show=False)
    shares = [found[split]["image->text"] for split in ("seen", "unseen")]
    told = [f"{share['top1']:.0%} ({share['ci95'][0]:.0%}-{share['ci95'][1]:.0%})" for share in shares]
    weights, tokens = size(config)
    return f"| {name} | {weights:,} | {tokens} | {pace(folder):.2f} | {' | '.join(told)} |"


def size(config: Any) -> tuple[int, int]:
    """A connector's weights, and how many tokens it makes of a picture's sixteen."""
    model = build(config, meta=True)
    with torch.device("meta"):
        projector = model.inputs["image"].projector
        made = projector(Tokens.full(torch.zeros(1, 16, model.encoders["vision"].dim)))
    return sum(parameter.numel() for parameter in projector.parameters()), made.values.shape[1]


def pace(folder: Path) -> float:
    """Seconds a step of the stage that runs the LLM."""
    rows = [row for row in csv.DictReader((folder / "metrics.csv").open()) if row["stage"] == "describe"]
    return float(rows[-1]["seconds"]) / int(rows[-1]["step"])


if __name__ == "__main__":
    main()
