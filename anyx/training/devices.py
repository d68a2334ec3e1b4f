"""Devices that a stage may run on: how fast they compute, how fast they read, what they hold.

`configs/devices.yaml` is the table, `here` measures this machine's processor in about two seconds. A rate is a curve,
as small problems attain less of it than large ones (and what fits a processor's caches is read faster): points of
(size of a call, rate), between which the logarithm of the size decides. A call takes as long as its operations or its
bytes, whichever takes longer. A processor that waits for each call (`waits`) adds the host's own time for it, a GPU
works beside its host.
"""

from __future__ import annotations

import bisect
import itertools
import math
import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaModel

from anyx import yamls
from anyx.training.rehearsal import Kind, Memory, Rehearsal, Work

HEAP = 1.85  # bytes of the resident set a byte that comes and goes, by glibc's heap: experiments/benchmarks/planner.py
RUN = 13 << 20  # bytes of Lightning's and our own objects in a run, there too
STEP = 4000  # calls' worth of host time that Lightning, the loader and AdamW's Python take a step, there too

GIB, HERE = 1 << 30, "here"
TYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
Curve = Sequence[tuple[float, float]]  # (size of a call, rate), by size


@dataclass(frozen=True)
class Device:
    """Memory and reserve in bytes, rates in operations or bytes (random numbers) a second, dispatch in seconds a call.

    `rates` by what a call is and its type; `traffic` is one for all types; `link` is what devices of a kind send each
    other. `waits`: the host's time and the device's add up. `held` bytes are taken for one that comes and goes.
    """

    name: str
    memory: float
    reserve: float
    rates: Mapping[tuple[Kind, torch.dtype], Curve]
    traffic: Curve
    dispatch: float
    link: float
    waits: bool
    held: float = 1.0

    def holds(self, memory: Memory) -> float:
        """Bytes of the device that a stage takes at its peak: what stays, what comes and goes, and the reserve."""
        stays = memory.weights + memory.optimizer
        return stays + self.held * (memory.gradients + memory.activations) + self.reserve

    @property
    def half(self) -> bool:
        """Whether it computes bfloat16 by itself."""
        return ("products", torch.bfloat16) in self.rates

    def seconds(self, works: Mapping[Work, int], calls: int) -> float:
        """How long calls take, of which the works are those that do something."""
        busy = sum(self.takes(work) * count for work, count in works.items())
        host = (calls + STEP) * self.dispatch
        return busy + host if self.waits else max(busy, host)

    def takes(self, work: Work) -> float:
        """How long one call keeps the device busy, in seconds."""
        drawn = self.rates.get((work.kind, work.dtype)) if work.kind == "random" else None
        moving = work.moved / at(drawn or self.traffic, work.moved) if work.moved else 0.0
        if not work.operations:
            return moving
        curve = self.rates.get((work.kind, work.dtype)) or self.rates[work.kind, torch.float32]
        return max(moving, work.operations / at(curve, work.operations))


def at(curve: Curve, size: float) -> float:
    """The rate for a call of a size; past its ends a curve is flat."""
    place = bisect.bisect_left([point[0] for point in curve], size)
    if place in (0, len(curve)):
        return curve[min(place, len(curve) - 1)][1]
    (small, slow), (large, fast) = curve[place - 1], curve[place]
    share = math.log(size / small) / math.log(large / small)
    return float(slow ** (1 - share) * fast**share)


def device(name: str) -> Device:
    """A device of the table, or this machine's processor as `here`; `ValueError` for others."""
    if name == HERE:
        return here()
    table = yamls.read(Path(str(files("anyx.configs"))) / "devices.yaml")["devices"]
    if name not in table:
        raise ValueError(f"--on: {name!r} is not one of {', '.join((*table, HERE))}")
    given = table[name]
    attained = given["attained"]
    kinds: tuple[Kind, ...] = ("products", "attention")
    return Device(
        name,
        memory=given["memory"] * GIB,
        reserve=given["reserve"] * GIB,
        rates={
            (kind, TYPES[dtype]): [(1.0, peak * 1e12 * attained[kind])]
            for kind in kinds
            for dtype, peak in given["peak"].items()
        },
        traffic=[(1.0, given["bandwidth"] * 1e9 * attained["traffic"])],
        dispatch=given["dispatch"] * 1e-6,
        link=given["link"] * 1e9,
        waits=given.get("waits", False),
        held=given["held"],
    )


PRODUCTS = ((16, 128, 128), (64, 512, 512), (256, 512, 1408), (512, 1024, 4096))  # rows, width read, width made
ATTENTION = ((8, 8, 52, 64), (2, 8, 512, 64))  # rows, heads, positions, features of a head
DRAWN = 1 << 18  # random numbers of a call
NUMBERS = (1 << 12, 1 << 16, 1 << 20, 1 << 22, 1 << 24)  # of three tensors of float32
COLD = 64 << 20  # bytes that are gone through before the same come again: more than caches hold
TINY = {"vocab_size": 8, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16}
SLICE = 0.1  # seconds that each point of a curve is measured for, at least three times


def here() -> Device:
    """This machine's processor, with as many threads as torch has now: measured, in about two seconds."""
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    rates: dict[tuple[Kind, torch.dtype], Curve] = {}
    for dtype in (torch.float32, torch.bfloat16) if native else (torch.float32,):
        rates["products", dtype] = [products(*shape, dtype) for shape in PRODUCTS]
        rates["attention", dtype] = [attention(*shape, dtype) for shape in ATTENTION]
        rates["random", dtype] = [drawing(DRAWN, dtype)]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    traffic = [moving(count) for count in NUMBERS]
    return Device(HERE, pages, RUN, rates, traffic, dispatched(), link=1e9, waits=True, held=HEAP)


def timed(run: Callable[[], object]) -> float:
    """Median seconds of a call, after one that is not counted."""
    run()
    times: list[float] = []
    end = time.perf_counter() + SLICE
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def products(rows: int, read: int, made: int, dtype: torch.dtype) -> tuple[float, float]:
    """(operations of a product, operations a second): through frozen maps and back, one after the other.

    They are so many that none is still in a cache when its turn comes again, as in a step through all layers.
    """
    like = torch.randn(made, read, dtype=dtype)
    weights = itertools.cycle([like.clone() for _ in range(max(1, COLD // like.nbytes))])
    x = torch.randn(rows, read, dtype=dtype, requires_grad=True)
    gradient = torch.ones(rows, made, dtype=dtype)
    seconds = timed(lambda: torch.autograd.grad(F.linear(x, next(weights)), x, gradient))
    operations = 2.0 * rows * read * made
    return operations, 2 * operations / seconds


def attention(rows: int, heads: int, positions: int, features: int, dtype: torch.dtype) -> tuple[float, float]:
    """(operations of a call, operations a second): masked attention and back."""
    q, k, v = (torch.randn(rows, heads, positions, features, dtype=dtype, requires_grad=True) for _ in range(3))
    mask = torch.ones(rows, 1, positions, positions, dtype=torch.bool).tril()
    gradient = torch.ones(rows, heads, positions, features, dtype=dtype)

    def run() -> object:
        return torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, mask), (q, k, v), gradient)

    operations = 2.0 * rows * heads * positions * positions * features
    return 3.5 * operations, 7 * operations / timed(run)


def moving(count: int) -> tuple[float, float]:
    """(bytes of a call, bytes a second) of a sum of tensors not met for a while, which is kept for a while."""
    many = max(2, COLD // (4 * count))
    given, kept = itertools.cycle(torch.ones(many, count).unbind()), deque[Tensor](maxlen=many)
    moved = 3.0 * 4 * count
    return moved, moved / timed(lambda: kept.append(next(given) + next(given)))


def drawing(count: int, dtype: torch.dtype) -> tuple[float, float]:
    """(bytes of a call, bytes a second) of random numbers, which a processor draws one by one."""
    numbers = torch.empty(count, dtype=dtype)
    moved = 2.0 * numbers.nbytes
    return moved, moved / timed(lambda: numbers.bernoulli_(0.9))


def dispatched() -> float:
    """Seconds that a call takes before anything is computed: a tiny LLM, there and back."""
    body = LlamaModel(LlamaConfig(**TINY)).requires_grad_(False)
    x = torch.ones(1, 4, TINY["hidden_size"], requires_grad=True)

    def run() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = body(inputs_embeds=x, use_cache=False).last_hidden_state
        return torch.autograd.grad(y.sum(), x)[0]

    with Rehearsal() as seen:
        run()
    calls: int = seen.calls
    return timed(run) / calls
