"""ImageBind beside Meta's own: seconds an embedding, at equal weights, inputs and number types, one after the other.

python experiments/benchmarks/imagebind_speed.py [--pairs 12] [--blocks 32] [--threads 2] [--cases image audio text]

At the published widths and token counts (vision 1280 x 16 heads x 257, audio 768 x 12 x 229, text 1024 x 16 x 77);
`--blocks` is the most blocks a tower has, to shorten it where the machine is slow (vision has 32, text 24, others 12).
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
CASES = {"image": "vision", "video": "vision", "audio": "audio", "text": "text"}
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def medium(case: str, words: int) -> Tensor:
    """One item, as its transform makes it: a video's fifteen views, a sound's three clips, a text of some words."""
    if case == "text":
        ids = torch.zeros(8, 77, dtype=torch.long)
        ids[:, : words + 1], ids[:, words + 1] = torch.randint(1, 49406, (8, words + 1)), 49407
        return ids
    return torch.randn(
        {"image": (1, 3, 224, 224), "video": (1, 15, 3, 2, 224, 224), "audio": (1, 3, 1, 128, 204)}[case]
    )


def interleaved(pairs: int, *sides: Callable[[], Any]) -> list[list[float]]:
    """Seconds of each side, in turn; the first two rounds warm up."""
    seconds: list[list[float]] = [[] for _ in sides]
    for number in range(pairs + 2):
        for side, run in zip(seconds, sides, strict=True):
            start = time.perf_counter()
            run()
            if number >= 2:
                side.append(time.perf_counter() - start)
    return seconds


def measured(case: str, blocks: int, pairs: int, words: int) -> dict[str, Any]:
    """Theirs / ours in both types, and theirs in fp32, as its package runs it, / ours in bf16."""
    torch.manual_seed(0)
    tower = CASES[case]
    dim, depth, heads = PUBLISHED[tower]
    depth = min(depth, blocks)
    towers = {name: (dim, depth, heads) if name == tower else SMALL for name in SIZES}
    theirs, ours = imagebind_package.model(towers, 1024), ImageBind({tower: {"depth": depth}}).eval()
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if f".{tower}." in key})
    x = medium(case, words)
    found: dict[str, Any] = {"blocks": depth}
    kept: dict[str, Callable[[], Tensor]] = {}
    with torch.inference_mode():
        for name, dtype in TYPES.items():
            twins = [model if dtype == torch.float32 else deepcopy(model).to(dtype) for model in (theirs, ours)]
            y = x.to(dtype) if x.is_floating_point() else x
            their_run = lambda model=twins[0], y=y: model({tower: y})[tower]  # noqa: E731
            our_run = lambda model=twins[1], y=y: model.embed(tower, y, scaled=True)  # noqa: E731
            apart = (their_run() - our_run()).abs().max() / their_run().abs().max()
            assert apart < (1e-4 if dtype == torch.float32 else 5e-2), f"the two differ by {apart:.1e}"
            found[name] = compared(*interleaved(pairs, their_run, our_run))
            kept[name] = their_run if name == "fp32" else our_run
        found["their fp32 / our bf16"] = compared(*interleaved(pairs, kept["fp32"], kept["bf16"]))
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=12)
    options.add_argument("--blocks", type=int, default=32)
    options.add_argument("--words", type=int, default=10, help="of the text")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--cases", nargs="+", default=["image", "audio", "text"], choices=list(CASES))
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    found = {case: measured(case, given.blocks, given.pairs, given.words) for case in given.cases}
    print(json.dumps(found | {"threads": given.threads}, indent=1))


if __name__ == "__main__":
    main()
