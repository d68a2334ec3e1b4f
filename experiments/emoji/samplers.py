"""Which sampler, in how few steps? `python experiments/emoji/samplers.py [--things N] [--first I] [KEY ...]`.

Every decoder makes the same things from its own text encoder's conditions, each from the same noise, by every sampler
and number of steps; the evaluation's first judge says which it recognises. The rest of the model plays no part, so this
is the ceiling of a row of the matrix. Prints recognised things and seconds a thing; the first line is the YAML's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from anyx.build import build_decoders
from anyx.config import load
from anyx.decoding import generator
from anyx.evaluation.judges import build, rankings
from anyx.evaluation.run import read_settings
from anyx.imports import import_file
from anyx.interfaces import Condition

HERE = Path(__file__).resolve().parent
TRIED: Sequence[Mapping[str, Any]] = [{}] + [
    {"scheduler": scheduler, "steps": steps} for scheduler in ("dpmsolver++", "unipc", "euler") for steps in (6, 8, 16)
]
BATCH = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keys", nargs="*", help="outputs; default: all that have a decoder of their own")
    parser.add_argument("--things", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="the first thing, in the evaluation's order")
    given = parser.parse_args()
    corpus = import_file(HERE / "corpus.py").EmojiCorpus()
    names = [corpus.label(c) for c in corpus.chosen("seen", given.first + given.things)][given.first :]
    judges = build(read_settings(HERE).judges, corpus.labels, HERE)
    config = load(HERE / "experiment.yaml")
    for key in given.keys or config.outputs:
        judge = next(iter(judges[key].values()))
        for tried in TRIED:
            (decoder,) = build_decoders({key: with_settings(config.outputs[key], tried)}).values()
            right, seconds = measure(decoder.eval(), judge, names, corpus.labels, given.first)
            said = " ".join(f"{name} {value}" for name, value in tried.items()) or "as the YAML says"
            print(f"{key:6} {said:32} {right:4} of {len(names)}   {seconds / len(names):.2f} s a thing", flush=True)


def with_settings(port: Any, settings: Mapping[str, Any]) -> Any:
    """An output whose decoder samples otherwise."""
    node = port.decoder
    changed = type(node)(node.type, node.cls, {**node.kwargs, **settings})
    return type(port)(changed, port.projector, port.tokens, port.media)


@torch.inference_mode()
def measure(decoder: Any, judge: Any, names: Sequence[str], labels: Sequence[str], first: int) -> tuple[int, float]:
    """Things recognised, and the seconds of decoding them."""
    taught, right, seconds = decoder.encode_text(names), 0, 0.0
    for start in range(0, len(names), BATCH):
        rows = slice(start, start + BATCH)
        condition = Condition(
            {name: x[rows] for name, x in taught.values.items()}, {name: x[rows] for name, x in taught.masks.items()}
        )
        noise = [generator(first + start + i, 0) for i in range(len(names[rows]))]
        started = time.perf_counter()
        made = decoder(condition, generators=noise)
        seconds += time.perf_counter() - started
        best = [labels[row[0]] if row else None for row in rankings(judge, made)]
        right += sum(a == b for a, b in zip(best, names[rows], strict=True))
    return right, seconds


if __name__ == "__main__":
    main()
