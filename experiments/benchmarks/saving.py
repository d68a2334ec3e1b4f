"""What checkpoints cost: bytes beside those that learn, and the share of a run's time that saving takes.

python experiments/benchmarks/saving.py [--saves 9] [--stage 3]

The baseline's workload, a durable save after every step (written, flushed to the disk, renamed), beside the default of
one in ten minutes. Bytes are those of the weights file; the state beside it holds the optimiser of what learns.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import workload
from lightning import Callback
from ratios import goal
from stages import BATCH, stage_of

from anyx.build import build
from anyx.data.cache import FeatureCache
from anyx.training import checkpoint, run
from anyx.training.plan import settings_of
from anyx.training.report import Metrics

KEYS = {2: "image", 3: "text"}
EVERY = 600  # seconds between saves, by default


class Saving(Callback):
    """Saves after every step and keeps what it took."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds: list[float] = []
        self.bytes = self.state = self.trained = 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        start = time.perf_counter()
        checkpoint.save(self.folder, pl_module, 0.0)
        self.seconds.append(time.perf_counter() - start)
        self.bytes = (self.folder / checkpoint.WEIGHTS.format(pl_module.done)).stat().st_size
        self.state = (self.folder / checkpoint.STATE.format(pl_module.done)).stat().st_size
        self.trained = sum(tensor.nbytes for tensor in pl_module.thawed().values())


def measure(number: int, saves: int) -> Saving:
    """So many steps of a stage of the workload, each saved."""
    home, key = workload.home(), KEYS[number]
    checked = workload.config(home, lora=number == 3, media=number < 3)
    with tempfile.TemporaryDirectory() as out:
        saving = Saving(Path(out) / "saved")
        made = run.Run(
            Path(out),
            Metrics(Path(out) / "metrics.csv", ["text", "caption"]),
            FeatureCache(home / "features"),
            settings_of(checked),
            device="cpu",
            callbacks=[saving],
        )
        feed = workload.feed(number, key, (saves + 1) * BATCH[number], home)
        run.fit(build(checked), stage_of(number, key, saves + 1), [feed], [1.0], made)
    return saving


def figures(quick: bool = False) -> list[dict[str, Any]]:
    """The goals of part 6 that are figures."""
    made = []
    for number in KEYS:
        found = measure(number, 3 if quick else 9)
        seconds = found.seconds[1:]
        size = {"ratio": round(found.bytes / found.trained, 4), "quartiles": None, "pairs": 1}
        note = f"{found.trained / 2**20:.1f} MiB learn; state {found.state / found.trained:.2f} x"
        made.append(goal(f"stage {number}, checkpoint / trained bytes", size, most=1.05, note=note))
        low, middle, high = (x / EVERY for x in statistics.quantiles(seconds, n=4, method="inclusive"))
        share = {"ratio": round(middle, 6), "quartiles": [round(low, 6), round(high, 6)], "pairs": len(seconds)}
        note = f"{statistics.median(seconds):.3f} s a save, one in {EVERY // 60} minutes"
        made.append(goal(f"stage {number}, share of the time that saving takes", share, most=0.01, note=note))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saves", type=int, default=9)
    parser.add_argument("--stage", type=int, choices=KEYS)
    given = parser.parse_args()
    if given.stage is None:
        print(json.dumps(figures(), indent=1))
        return
    found = measure(given.stage, given.saves)
    sizes = {"bytes": found.bytes, "state": found.state, "trained": found.trained}
    print(json.dumps(sizes | {"seconds": [round(x, 4) for x in found.seconds]}, indent=1))


if __name__ == "__main__":
    main()
