"""What it costs that a process takes part in the gradients of what it has nothing for: a step of plain text.

In a stage that teaches projectors and LoRA, a batch without media reaches no projector. Compared are the training step
and its backward pass as a process among many makes it (everything that learns is on the way back) and without that,
one after the other in one process, on the same batch. The projectors are LLaVA's kind for three inputs and outputs.

    python experiments/benchmarks/dummy_branch.py [--pairs 40] [--threads 2]
"""

import argparse
import json
import time
from typing import Any

import torch
from peft import inject_adapter_in_model
from ratios import compared, goal
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from anyx.lora import lora_config
from anyx.ranks import ALONE
from anyx.training.together import Together

DIM, WIDE = 512, 1024
GOAL, BAR = "dummy branch on a step of plain text", 1.02


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=40)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    print(json.dumps(measure(given.pairs) | {"threads": given.threads}, indent=1))


def figures(quick: bool = False) -> list[dict[str, Any]]:
    """What `make bench` shows."""
    note = "with / without, forward and backward, 4 rows of 64 tokens, random Llama 512 x 8, six projectors"
    return [goal(GOAL, measure(12 if quick else 40), most=BAR, note=note)]


def measure(pairs: int) -> dict[str, Any]:
    """Seconds of a step with and without."""
    torch.manual_seed(0)
    sizes = {"hidden_size": DIM, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8}
    llm = LlamaForCausalLM(LlamaConfig(vocab_size=32000, **sizes)).requires_grad_(False)
    inject_adapter_in_model(lora_config({"r": 8, "targets": ["q_proj", "v_proj"]}), llm)
    learning = [parameter for name, parameter in llm.named_parameters() if ".lora_" in name]
    for _ in range(6):
        projector = nn.Sequential(nn.Linear(WIDE, DIM), nn.GELU(), nn.Linear(DIM, WIDE))
        learning += list(projector.parameters())
    for parameter in learning:
        parameter.requires_grad_(True)
    ids = torch.randint(0, 32000, (4, 64))
    together = Together(ALONE, learning, [])

    def step(joined: bool) -> float:
        for parameter in learning:
            parameter.grad = None
        began = time.perf_counter()
        loss = llm(input_ids=ids, labels=ids).loss
        (together.joined(loss) if joined else loss).backward()
        return time.perf_counter() - began

    def pair(number: int) -> tuple[float, float]:
        seconds = {joined: step(joined) for joined in ((True, False) if number % 2 else (False, True))}
        return seconds[True], seconds[False]

    found = [pair(number) for number in range(pairs + 3)][3:]
    return compared([a for a, _ in found], [b for _, b in found])


if __name__ == "__main__":
    main()
