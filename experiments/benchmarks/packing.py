"""What leaving padding out saves: samples a second and peak memory of training steps, packed against padded.

The LLM is the workload's Llama with LoRA; a step is forward, loss of the second half of each row, backward, clip and
AdamW. Padded: 8 rows as they are drawn, as long as the longest. Packed: the same rows within a budget of positions. The
sets are captions of 24 to 36 tokens, and mixed lengths of 16 to 1024, log-uniform, seed 0. Times come from interleaved
pairs, memory from processes of their own: the peak minus what importing took.

    python experiments/benchmarks/packing.py [--quick] [--threads 2]
"""

import argparse
import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import workload
from memory import peak
from ratios import compared

from anyx.build import build
from anyx.data.mixture import Draw, filled
from anyx.model import AnyX
from anyx.processor import Batch
from anyx.prompt import IGNORE
from anyx.training.chunked import cross_entropy
from anyx.training.stage import select, thaw

ROWS = 8  # of a padded batch
WORDS: int = workload.LLAMA["vocab_size"]
CHUNK = 16  # rows that both sides of a pair train on
BUDGETS = {"captions": 256, "mixed": 2048}  # positions: about what 8 rows hold
SHARE, FASTER, SMALLER = 0.85, 2.0, 0.75


def lengths(name: str, count: int) -> list[int]:
    """How long the first rows of a set are."""
    chance = random.Random(0)
    if name == "captions":
        return [chance.randint(24, 36) for _ in range(count)]
    return [round(math.exp(chance.uniform(math.log(16), math.log(1024)))) for _ in range(count)]


def batch(rows: Sequence[int]) -> Batch:
    """Random words, of which the second half is learnt from."""
    longest = max(rows)
    ids = torch.randint(
        0, workload.LLAMA["vocab_size"], (len(rows), longest), generator=torch.Generator().manual_seed(sum(rows))
    )
    places, ends = torch.arange(longest), torch.tensor(rows)[:, None]
    learnt = (places >= ends // 2) & (places < ends)
    return Batch(ids, places < ends, ids.masked_fill(~learnt, IGNORE), {}, {})


def padded(rows: Sequence[int]) -> list[Batch]:
    """Batches in the order drawn."""
    return [batch(rows[i : i + ROWS]) for i in range(0, len(rows), ROWS)]


def packed(rows: Sequence[int], tokens: int) -> list[Batch]:
    """Batches within a budget of real positions."""
    drawn = [(length, Draw(0, number, 0)) for number, length in enumerate(rows)]
    return [batch([rows[draw.record] for draw in some]) for some in filled(drawn, tokens, len(rows), padded=False)]


def trainer() -> Callable[[Sequence[Batch], bool], float]:
    """Seconds of a step a batch."""
    torch.manual_seed(0)
    model = build(workload.config(workload.home(), lora=True, media=False))
    assert isinstance(model, AnyX)
    llm = model.llm
    selection = select(model.parts(), {"llm.lora": 1e-4})
    thaw(model, selection)
    optimizer = torch.optim.AdamW(selection.parameters(), lr=1e-4, fused=True)

    def train(batches: Sequence[Batch], pack: bool) -> float:
        start = time.perf_counter()
        for some in batches:
            out = model(some, pack=pack)
            loss = cross_entropy(out.states, out.labels, llm.logits, llm.head, llm.vocabulary + llm.rows)
            (loss / len(out.labels)).backward()
            torch.nn.utils.clip_grad_norm_(selection.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return time.perf_counter() - start

    return train


def timed(train: Callable[[Sequence[Batch], bool], float], name: str, pairs: int) -> dict[str, Any]:
    """How much longer the padded side takes, and how many more positions it has."""
    rows = lengths(name, CHUNK * pairs)
    sides: tuple[list[float], list[float]] = ([], [])
    filled_up = 0
    train(padded(rows[:2]), False)
    for pair in range(pairs):
        some = rows[pair * CHUNK : (pair + 1) * CHUNK]
        plain = padded(some)
        filled_up += sum(one.mask.numel() for one in plain)
        sides[0].append(train(plain, False))
        sides[1].append(train(packed(some, BUDGETS[name]), True))
    return compared(*sides) | {"padded / real": round(filled_up / sum(rows), 3)}


def measured(name: str, pack: bool, pairs: int) -> float:
    """MiB beyond imports of one side, in a process of its own."""
    told = ["--memory", name, "--pairs", str(pairs), "--threads", str(torch.get_num_threads())]
    told += ["--packed"] if pack else []
    run = subprocess.run(
        [sys.executable, __file__, *told], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    return float(run.stdout.split()[-1])


def take(name: str, pack: bool, pairs: int) -> float:
    """The same, of this process."""
    imported = peak()
    train, rows = trainer(), lengths(name, CHUNK * pairs)
    for pair in range(pairs):
        some = rows[pair * CHUNK : (pair + 1) * CHUNK]
        train(packed(some, BUDGETS[name]) if pack else padded(some), pack)
    return peak() - imported


def figures(quick: bool = False) -> list[dict[str, Any]]:
    """The goals of packing and what was measured."""
    train, found = trainer(), []
    for name, pairs in (("captions", 2 if quick else 8), ("mixed", 2 if quick else 4)):
        times = timed(train, name, pairs)
        ratio = times["padded / real"]
        note = f"{times['ratio']} x samples/s, padded / real positions {ratio}"
        share, spread = times["ratio"] / ratio, [round(x / ratio, 3) for x in times["quartiles"]]
        found.append(row(f"share of padded/real, {name}", share, SHARE, spread, pairs, note))
        if name == "mixed":
            found.append(row("samples/s, mixed set", times["ratio"], FASTER, times["quartiles"], pairs, note))
    mine, other = (measured("mixed", pack, 1) for pack in (True, False))
    note = f"{mine:.0f} of {other:.0f} MiB beyond imports"
    found.append(row("peak memory minus import, mixed set", mine / other, SMALLER, None, 1, note, most=True))
    return found


def row(
    goal: str, value: float, bar: float, spread: list[float] | None, pairs: int, note: str, *, most: bool = False
) -> dict[str, Any]:
    """One figure beside its bar."""
    said, met = ("<=", value <= bar) if most else (">=", value >= bar)
    return {
        "goal": goal,
        "bar": f"{said} {bar}",
        "value": round(value, 3),
        "quartiles": spread,
        "pairs": pairs,
        "met": met,
        "note": note,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few pairs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory", choices=BUDGETS, help="only train, and print this process's peak in MiB")
    parser.add_argument("--packed", action="store_true", help="with --memory: packed batches")
    parser.add_argument("--pairs", type=int, default=1, help="with --memory: 16 rows each")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(take(given.memory, given.packed, given.pairs) if given.memory else json.dumps(figures(given.quick), indent=1))


if __name__ == "__main__":
    main()
