"""Integrate-and-fire, forward and backward: a walk over frames against the parallel form, on the same frames.

The walk (`tests/firing_loop.py`) goes over frames with all items of the batch side by side. Both make the same tokens
and gradients, which every run checks. One follows the other, in one process.

    python experiments/benchmarks/integrate_and_fire.py [--shape 8 500 512] [--pairs 10] [--threads 1]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ratios import compared
from torch import Tensor

from anyx.integrate import integrate_and_fire

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from firing_loop import walk

Made = tuple[Tensor, Tensor]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shape", type=int, nargs=3, default=(8, 500, 512), help="items, frames, width")
    options.add_argument("--rate", type=float, default=0.25, help="tokens a frame")
    options.add_argument("--pairs", type=int, default=10)
    options.add_argument("--threads", type=int, default=1)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    items, frames, dim = given.shape
    random = torch.Generator().manual_seed(0)
    values = torch.randn(items, frames, dim, generator=random).requires_grad_()
    weights = (2 * given.rate * torch.rand(items, frames, generator=random)).requires_grad_()
    mask = torch.arange(frames) < torch.randint(frames // 2, frames, (items, 1), generator=random)

    def timed(form: Callable[..., Made]) -> tuple[float, float, list[Tensor]]:
        start = time.perf_counter()
        tokens, _ = form(values, weights, mask)
        middle = time.perf_counter()
        gradients = torch.autograd.grad(tokens.square().sum(), (values, weights))
        return middle - start, time.perf_counter() - start, [tokens.detach(), *gradients]

    def loop(*tensors: Tensor) -> Made:
        return walk(*tensors, published=True)  # no item is as long as the batch: the same tokens, and fewer questions

    forward: list[tuple[float, float]] = []
    both: list[tuple[float, float]] = []
    for _ in range(given.pairs + 1):
        walked, ours = timed(loop), timed(integrate_and_fire)
        for theirs, mine in zip(walked[2], ours[2], strict=True):
            assert (mine - theirs).norm() < 1e-3 * theirs.norm()
        forward.append((walked[0], ours[0]))
        both.append((walked[1], ours[1]))
    found: dict[str, Any] = {
        "shape": list(given.shape),
        "tokens": walked[2][0].shape[1],
        "threads": given.threads,
        "forward: walk / parallel": compared(*zip(*forward[1:], strict=True)),
        "forward and backward: walk / parallel": compared(*zip(*both[1:], strict=True)),
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
