"""Which attention a training step of the LLM wants: forward and backward with `sdpa` and with `eager`, interleaved.

python experiments/benchmarks/attention.py [--pairs 10] [--batch 16] [--length 30] [--threads 2]
"""

import argparse
import json
import time

import torch
from ratios import compared
from torch.nn.functional import cross_entropy

from anyx.llm import LLM
from anyx.packaged import locate
from anyx.training.stage import cpu_has_bf16

LORA = {"r": 4, "alpha": 16, "targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=10)
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--length", type=int, default=30, help="tokens a row")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--llm", default="HuggingFaceTB/SmolLM2-135M-Instruct", help="a folder or Hub id")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    dtype = "bfloat16" if cpu_has_bf16() else "float32"
    bodies = {
        kind: LLM.load(locate(given.llm), lora=LORA, dtype=dtype, attention=kind).train() for kind in ("sdpa", "eager")
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in bodies}
    for number in range(given.pairs + 2):
        ids = torch.randint(1000, (given.batch, given.length))
        for kind, llm in bodies.items():
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
                states = llm.states(llm.embed(ids), torch.ones_like(ids, dtype=torch.bool))
                logits = llm.logits(states[:, -8:].flatten(0, 1))
            cross_entropy(logits.float(), ids[:, -8:].flatten()).backward()
            if number >= 2:
                seconds[kind].append(time.perf_counter() - start)
    found = {
        "sdpa / eager": compared(seconds["sdpa"], seconds["eager"]),
        "threads": given.threads,
        "dtype": dtype,
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
