"""What might make ImageBind's blocks faster in bf16: each way beside the blocks as they are, one after the other.

python experiments/benchmarks/imagebind_bf16.py [--case image] [--items 1] [--compile] [--products] [--peak]

Blocks of the published width, one thread; seconds are the processor's, which other work on the machine moves least.
`packed` lays every weight out for oneDNN beforehand, by private operators of torch; `gelu` also lets oneDNN compute the
GELU at the end of its product; `scores` writes attention out as two products and a softmax, which rounds the scores to
bf16; `--compile` adds torch.compile with frozen weights and tuned templates (minutes, and a C++ compiler).
`--products` times the products alone, `--peak` the processor's bf16 instruction (gcc).
"""

import argparse
import itertools
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ratios import compared
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.encoders.imagebind_sizes import SIZES
from anyx.layers import Attention, Block, attend

CASES = {"image": ("vision", 1, 257), "video": ("vision", 15, 257), "audio": ("audio", 3, 229)}  # views, tokens
PEAK = """
#include <stdio.h>
#include <time.h>
#define ALL(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)
#define ONE(i) "vdpbf16ps %%zmm31, %%zmm31, %%zmm" #i "\\n"
#define ZERO(i) "vpxord %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\\n"
int main(void) {
  struct timespec a, b;
  asm volatile(ZERO(31) ALL(ZERO) :::);
  for (int r = 0; r < 5; r++) {
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (long k = 0; k < 10000000; k++) asm volatile(ALL(ONE) :::);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    printf("%.0f ", 12 * 64 * 1e7 / ((b.tv_sec - a.tv_sec) * 1e9 + b.tv_nsec - a.tv_nsec));
  }
}
"""


def peak() -> list[int]:
    """GFLOP/s of one core that does nothing but multiply and add twelve registers of bf16, five times."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "peak.c"
        source.write_text(PEAK)
        subprocess.run(["gcc", "-O2", str(source), "-o", str(source.with_suffix(""))], check=True)
        found = subprocess.run([str(source.with_suffix(""))], check=True, capture_output=True, text=True)
    return [int(number) for number in found.stdout.split()]


def written_out(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attention as two products and a softmax, all in the type of its inputs."""
    q, k, v = (t.reshape(*t.shape[:2], heads, -1).transpose(1, 2) for t in (q, k, v))
    shares = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1)
    return (shares @ v).transpose(1, 2).flatten(2)


class Packed(nn.Module):
    """A linear map whose weight is laid out for oneDNN and products of `rows` rows; `then` is what follows it."""

    def __init__(self, weight: Tensor, bias: Tensor, rows: int, then: str = "none"):
        super().__init__()
        self.weight, self.bias, self.then = torch.ops.mkldnn._reorder_linear_weight(weight, rows), bias, then

    def forward(self, x: Tensor) -> Tensor:
        """Map."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, self.then, [], "none")


class Way(nn.Module):
    """A block of equal weights, computed another way."""

    def __init__(self, block: Block, rows: int, *, packed: bool = False, gelu: bool = False, scores: bool = False):
        super().__init__()
        attn, mlp = block.attn, block.mlp
        self.norm_1, self.norm_2, self.attn, self.gelu = block.norm_1, block.norm_2, attn, gelu
        self.attend = written_out if scores else attend
        maps = [(attn.in_proj_weight, attn.in_proj_bias)]
        maps += [(one.weight, one.bias) for one in (attn.out_proj, mlp.fc1, mlp.fc2)]
        ends = ["none", "none", "gelu" if gelu else "none", "none"]
        self.maps: list[Callable[[Tensor], Tensor]] = [
            Packed(weight.detach(), bias.detach(), rows, then)
            if packed
            else partial(F.linear, weight=weight, bias=bias)
            for (weight, bias), then in zip(maps, ends, strict=True)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Attend, then map."""
        inward, outward, wider, narrower = self.maps
        q, k, v = with_learned_key(self.attn, *inward(self.norm_1(x)).chunk(3, dim=-1))
        x = x + outward(self.attend(q, k, v, self.attn.heads))
        hidden = wider(self.norm_2(x))
        return x + narrower(hidden if self.gelu else F.gelu(hidden))


def with_learned_key(attn: Attention, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, with the key and value that sound has beside."""
    if attn.bias_k is None or attn.bias_v is None:
        return q, k, v
    k, v = (torch.cat([t, b.expand(len(t), -1, -1)], 1) for t, b in ((k, attn.bias_k), (v, attn.bias_v)))
    return q, k, v


def compiled(blocks: nn.Module) -> Callable[[Tensor], Tensor]:
    """The blocks compiled with frozen weights and oneDNN's products tuned against torch's templates."""
    import torch._inductor.config as inductor

    inductor.freezing = True
    return torch.compile(deepcopy(blocks), options={"max_autotune": True, "max_autotune_gemm_backends": "CPP,ATEN"})


def timed(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of the processor on each side, all run in turn, round after round; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number, (name, run) in itertools.product(range(rounds + 1), sides.items()):
        start = time.process_time()
        run()
        if number:
            seconds[name].append(time.process_time() - start)
    return seconds


def ways(case: str, items: int, blocks: int, rounds: int, *, compiling: bool) -> dict[str, Any]:
    """Ratios of the blocks as they are to each other way, the largest errors, and how near the products' rate is."""
    trunk, views, tokens = CASES[case]
    sizes = SIZES[trunk]()
    batch = items * views
    exact = nn.Sequential(*(Block(sizes.dim, sizes.heads, bias_kv=sizes.bias_kv) for _ in range(blocks))).eval()
    plain, x = deepcopy(exact).bfloat16(), torch.randn(batch, tokens, sizes.dim)
    given: dict[str, dict[str, bool]] = {"packed": {"packed": True}, "scores": {"scores": True}}
    given |= {"packed gelu": {"packed": True, "gelu": True}, "packed scores": {"packed": True, "scores": True}}
    kinds: dict[str, Callable[[Tensor], Tensor]] = {"as it is": plain}
    kinds |= {name: nn.Sequential(*(Way(b, batch * tokens, **g) for b in plain)) for name, g in given.items()}  # type: ignore[arg-type]
    kinds |= {"compiled": compiled(plain)} if compiling else {}
    short, wanted = x.bfloat16(), exact(x)
    errors = {k: ((f(short).float() - wanted).abs().max() / wanted.abs().max()).item() for k, f in kinds.items()}
    assert max(errors.values()) < 5e-2, errors
    square = torch.randn(2, 2048, 2048).bfloat16()
    sides = {name: partial(run, short) for name, run in kinds.items()} | {"square": partial(F.linear, *square)}
    seconds = timed(sides, rounds)
    flops = blocks * batch * (24 * tokens * sizes.dim**2 + 4 * tokens**2 * sizes.dim)
    rate = 2 * 2048**3 / statistics.median(seconds.pop("square"))
    found = {k: compared(seconds["as it is"], s) | {"error": f"{errors[k]:.1e}"} for k, s in seconds.items()}
    bound = statistics.median(seconds["as it is"]) / (flops / rate)
    return found | {"square product, GFLOP/s": round(rate / 1e9), "all at that rate": round(bound, 3)}


def layouts(rows: int, k: int, n: int) -> dict[str, Callable[[], Any]]:
    """One product of `rows` x k by k x n in each layout; four weights take turns, so that each waits in memory."""
    weights, bias = [torch.randn(n, k).bfloat16() for _ in range(4)], torch.randn(n).bfloat16()
    turned, packed = [w.t().contiguous() for w in weights], [Packed(w, bias, rows) for w in weights]
    more = torch.randn(-(-rows // 16) * 16, k).bfloat16()
    x, fewer, turns = more[:rows], more[: rows // 16 * 16], itertools.cycle(range(4))
    single, singles, single_bias = x.float(), [w.float() for w in weights], bias.float()

    def in_bf16_mode() -> Tensor:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
        y = F.linear(single, singles[next(turns)], single_bias)
        torch.backends.mkldnn.matmul.fp32_precision = "none"  # type: ignore[attr-defined]
        return y

    return {
        "linear": lambda: F.linear(x, weights[next(turns)], bias),
        "no bias": lambda: F.linear(x, weights[next(turns)]),
        "transposed copy": lambda: torch.addmm(bias, x, turned[next(turns)]),
        "weight first": lambda: weights[next(turns)] @ x.t(),
        "rows up to 16": lambda: F.linear(more, weights[next(turns)], bias),
        "rows down to 16": lambda: F.linear(fewer, weights[next(turns)], bias),
        "fp32 in bf16 mode": in_bf16_mode,
        "packed": lambda: packed[next(turns)](x),
    }


def products(case: str, items: int, rounds: int) -> dict[str, Any]:
    """GFLOP/s of a block's four products in each layout, rows added to fill up counted as nothing."""
    trunk, views, tokens = CASES[case]
    dim, rows, found = SIZES[trunk]().dim, items * views * tokens, {}
    for name, k, n in (("qkv", dim, 3 * dim), ("out", dim, dim), ("fc1", dim, 4 * dim), ("fc2", 4 * dim, dim)):
        done = {"rows down to 16": rows // 16 * 16}
        seconds = timed(layouts(rows, k, n), rounds)
        found[name] = {
            key: round(2e-9 * done.get(key, rows) * k * n / statistics.median(s)) for key, s in seconds.items()
        }
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--case", default="image", choices=list(CASES))
    options.add_argument("--items", type=int, default=1)
    options.add_argument("--blocks", type=int, default=3)
    options.add_argument("--rounds", type=int, default=12)
    options.add_argument("--compile", action="store_true")
    options.add_argument("--products", action="store_true")
    options.add_argument("--peak", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if given.peak:
        print(json.dumps({"bf16 instruction, GFLOP/s": peak()}))
    with torch.no_grad():
        made = ways(given.case, given.items, given.blocks, given.rounds, compiling=given.compile)
        print(json.dumps({given.case: made, "items": given.items}), flush=True)
        if given.products:
            print(json.dumps({given.case: products(given.case, given.items, given.rounds)}), flush=True)


if __name__ == "__main__":
    main()
