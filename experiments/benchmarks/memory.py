"""The peak memory of a training step, each side in a fresh process: what it takes beyond its imports.

python experiments/benchmarks/memory.py [--steps 4] [--stage 1]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import workload
from stages import BATCH, Bare, stage_of

from anyx.build import build
from anyx.data.cache import FeatureCache
from anyx.training import run
from anyx.training.plan import settings_of
from anyx.training.report import Metrics

KEYS = {1: "image", 2: "image", 3: "text"}
REFERENCE = {1: 1425, 2: 2195}  # MiB beyond imports, the reference implementation's rows
SHARE = {1: 0.5, 2: 0.75, 3: 0.95}
STEPS = 4


def peak() -> float:
    """The most memory that this process has had, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def ours(number: int, folder: Path) -> None:
    """Some steps of a stage, features from the cache."""
    key = KEYS[number]
    checked = workload.config(folder, lora=number == 3, media=number < 3)
    model = build(checked, lazy=True)
    with tempfile.TemporaryDirectory() as out:
        metrics = Metrics(Path(out) / "metrics.csv", ["text", "caption"])
        made = run.Run(Path(out), metrics, FeatureCache(folder / "features"), settings_of(checked), device="cpu")
        feed = workload.feed(number, key, STEPS * BATCH[number], folder)
        run.fit(model, stage_of(number, key, STEPS), [feed], [1.0], made)


def bare(folder: Path) -> None:
    """The same steps of the bare side of stage 3: random ids of the batch's length, as the baseline measured it."""
    model = build(workload.config(folder, lora=True, media=False))
    side = Bare(model, 3, KEYS[3], copied=False)
    for _ in range(STEPS):
        ids = torch.randint(3, 32000, (BATCH[3], 66))
        mask = torch.ones_like(ids, dtype=torch.bool)
        side.step({"embeddings": model.llm.embed(ids).detach(), "mask": mask, "labels": ids}, lean=False)


def measure(number: int, side: str) -> float:
    """MiB beyond imports of one side, in a process of its own."""
    command = [sys.executable, __file__, "--stage", str(number), "--side", side]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent).stdout
    return float(json.loads(said.strip().splitlines()[-1])["MiB"])


def figures(quick: bool = False) -> list[dict[str, Any]]:
    """The memory goals of part 2."""
    made = []
    for number, share in SHARE.items():
        if number < 3:
            measure(number, "ours")  # fills the cache, so that the next process finds it
        mine = measure(number, "ours")
        other = REFERENCE[number] if number in REFERENCE else measure(number, "bare")
        whose = "reference's row" if number in REFERENCE else "bare"
        made.append(
            {
                "goal": f"stage {number}, peak memory minus import / {whose}",
                "bar": f"<= {share}",
                "value": round(mine / other, 3),
                "quartiles": None,
                "pairs": 1,
                "met": mine / other <= share,
                "note": f"{mine:.0f} of {other:.0f} MiB",
            }
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", type=int, choices=SHARE)
    parser.add_argument("--side", choices=("ours", "bare"))
    given = parser.parse_args()
    if given.side is None:
        print(json.dumps(figures(), indent=1))
        return
    torch.set_num_threads(2)
    before = peak()
    if given.side == "ours":
        ours(given.stage, workload.home())
    else:
        bare(workload.home())
    print(json.dumps({"MiB": peak() - before}))


if __name__ == "__main__":
    main()
