"""What a stage saves in which only output projectors learn (emoji world's `polish`), twice, each interleaved.

Reading: batches of records that were met before, read anew against kept in memory. States: the LLM's first pass over
batches, each as one padded pass against passes of rows of like length.

    python experiments/benchmarks/projector_stage.py [--pairs 20] [--threads 2]
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ratios import compared

from anyx.build import build
from anyx.config import load
from anyx.data import loader
from anyx.data.cache import FeatureCache
from anyx.data.memory import Memory
from anyx.data.mixture import Batches, Mixture
from anyx.packaged import home
from anyx.training import states
from anyx.training.lengths import lengths
from anyx.training.plan import choose, feeds_of, settings_of
from anyx.training.prepare import fill
from anyx.training.readers import make_reader
from anyx.training.trainee import Trainee

YAML = Path(__file__).parents[1] / "emoji" / "experiment.yaml"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=20)
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    config = load(YAML)
    (stage,) = choose(config, ["polish"])
    model = build(config)
    feeds, weights = feeds_of(stage, config)
    cache = FeatureCache(home() / "features")
    reader = make_reader(Trainee(model, stage, 1), feeds, cache, settings_of(config))
    fill(model, reader, feeds, cache, 0)
    mixture = Mixture([feed.source for feed in feeds], weights, seed=0, variants=[feed.variants for feed in feeds])
    length = lengths(feeds, reader, model)
    plans = list(itertools.islice(Batches(mixture, given.batch, length=length), given.pairs))

    kept, fresh = (loader.Reading(feeds, reader) for _ in range(2))
    fresh.kept = Memory(0)
    batches = [kept[plan].value.batch for plan in plans]
    model_states = states.SignalStates(model)

    def first(batch: Any, tokens: int) -> None:
        states.TOKENS, model_states.rows = tokens, Memory(states.BOUND)
        model_states(batch)

    tokens = states.TOKENS
    first(batches[0], tokens)
    found = {
        "reading: anew / kept": pairs(plans, lambda plan: fresh[plan], lambda plan: kept[plan]),
        "states: one pass / passes of like length": pairs(
            batches, lambda batch: first(batch, 1 << 30), lambda batch: first(batch, tokens)
        ),
        "batch": given.batch,
        "threads": given.threads,
    }
    print(json.dumps(found, indent=1))


def pairs(items: list[Any], before: Callable[[Any], Any], after: Callable[[Any], Any]) -> dict[str, Any]:
    """Both on each item, one after the other."""
    times: list[tuple[float, float]] = []
    for item in items:
        start = time.perf_counter()
        before(item)
        middle = time.perf_counter()
        after(item)
        times.append((middle - start, time.perf_counter() - middle))
    return compared(*zip(*times, strict=True))


if __name__ == "__main__":
    main()
