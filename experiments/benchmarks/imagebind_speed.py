"""ImageBind beside Meta's own: seconds an embedding, at equal weights, inputs and number types, one after the other.

python experiments/benchmarks/imagebind_speed.py [--pairs 12] [--blocks 32] [--threads 2] [--cases image audio text]

At the published widths and token counts (vision 1280 x 16 heads x 257, audio 768 x 12 x 229, text 1024 x 16 x 77);
`--blocks` is the most blocks a tower has, to shorten it where the machine is slow (vision has 32, text 24, others 12);
`--cases video --views 15` takes the views of a video, of two frames each.
Needs the optional extra `imagebind`, whose model is only run.
"""

import argparse
import json
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import imagebind_package
import torch
from ratios import compared
from torch import Tensor

from anyx.encoders.imagebind import ImageBind
from anyx.encoders.imagebind_sizes import SIZES

PUBLISHED = {name: (sizes.dim, sizes.depth, sizes.heads) for name, sizes in ((n, s()) for n, s in SIZES.items())}
SMALL = (16, 1, 2)  # of the towers that their model has beside the one measured
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
CASES = {"image": "vision", "video": "vision", "audio": "audio", "text": "text"}


def medium(case: str, words: int = 10, views: int = 15) -> Tensor:
    """One item, as its transform makes it: a video's views, a sound's three clips; or eight texts of some words."""
    if case == "text":
        ids = torch.zeros(8, 77, dtype=torch.long)
        ids[:, : words + 1], ids[:, words + 1] = torch.randint(1, 49406, (8, words + 1)), 49407
        return ids
    return torch.randn(
        {"image": (1, 3, 224, 224), "video": (1, views, 3, 2, 224, 224), "audio": (1, 3, 1, 128, 204)}[case]
    )


def measured(case: str, x: Tensor, blocks: int, pairs: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Ratios theirs / ours in both types, and theirs in fp32, as the package runs it, / ours in bf16.

    All four run in turn, round after round; the first round warms up.
    """
    tower = CASES[case]
    dim, depth, heads = PUBLISHED[tower]
    depth = min(depth, blocks)
    towers = {name: (dim, depth, heads) if name == tower else SMALL for name in SIZES}
    theirs = imagebind_package.model(towers, 1024)
    with torch.device("meta"):
        ours = ImageBind({tower: {"depth": depth}}).eval()
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if f".{tower}." in k}, assign=True)
    sides = {("theirs", "fp32"): theirs, ("ours", "fp32"): ours}
    sides |= {(whose, "bf16"): deepcopy(model).bfloat16() for (whose, _), model in sides.items()}
    seconds: dict[tuple[str, str], list[float]] = {side: [] for side in sides}
    made: dict[tuple[str, str], Tensor] = {}
    with torch.inference_mode():
        for number in range(pairs + 1):
            for side, model in sides.items():
                y = x.bfloat16() if x.is_floating_point() and side[1] == "bf16" else x
                start = clock()
                made[side] = model({tower: y})[tower] if side[0] == "theirs" else model.embed(tower, y, scaled=True)
                if number:
                    seconds[side].append(clock() - start)
    found: dict[str, Any] = {"blocks": depth}
    for kind in ("fp32", "bf16"):
        apart = (made["theirs", kind] - made["ours", kind]).abs().max() / made["theirs", kind].abs().max()
        assert apart < (1e-4 if kind == "fp32" else 5e-2), f"the two differ by {apart:.1e}"
        found[kind] = compared(seconds["theirs", kind], seconds["ours", kind])
    return found | {"their fp32 / our bf16": compared(seconds["theirs", "fp32"], seconds["ours", "bf16"])}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=12)
    options.add_argument("--blocks", type=int, default=32)
    options.add_argument("--words", type=int, default=10, help="of the text")
    options.add_argument("--views", type=int, default=15, help="of the video")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--clock", default="wall", choices=list(CLOCKS), help="cpu: of one thread on a busy machine")
    options.add_argument("--cases", nargs="+", default=["image", "audio", "text"], choices=list(CASES))
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    for case in given.cases:
        x = medium(case, given.words, given.views)
        found = measured(case, x, given.blocks, given.pairs, CLOCKS[given.clock])
        print(json.dumps({case: found | {"shape": list(x.shape), "threads": given.threads}}), flush=True)


if __name__ == "__main__":
    main()
