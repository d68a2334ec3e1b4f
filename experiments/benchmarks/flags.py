"""What each switch of a stage is worth here: seconds of a step with it over without it, in interleaved pairs.

The LLM is that of the reference's baseline (hidden 512, 8 layers, ffn 1408, 32000 rows) with LoRA on its attention, 8
rows of 64 positions, half of them supervised; each side steps once in turn on the same weights. `channels_last` steps
Stable Diffusion's denoiser at an eighth of its width instead; memory is rehearsed, as `anyx plan` says it.

    python experiments/benchmarks/flags.py [--pairs 12]
"""

import argparse
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from ratios import compared
from torch.optim import AdamW
from transformers import AutoModelForCausalLM, LlamaConfig

from anyx.bodies import layers_of
from anyx.llm import LLM
from anyx.model import AnyX
from anyx.schema import Stage
from anyx.training import forecast, speed
from anyx.training.chunked import cross_entropy
from anyx.training.stage import cpu_has_bf16, select, thaw

SIZES = {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "intermediate_size": 1408}
LORA = {"r": 32, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"]}
STAGE = Stage("s", train={"llm.lora": 1e-4}, losses={"text": 1}, data={"some": 1}, precision="fp32")
ROWS, LENGTH = 8, 64
Run = Callable[[], object]


def model(attention: str = "sdpa") -> AnyX:
    """The LLM alone, its LoRA learning."""
    import tempfile
    from pathlib import Path

    from stage1_overhead import tokenizer
    from transformers import AutoTokenizer

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        words = AutoTokenizer.from_pretrained(tokenizer(Path(name)))
    config = LlamaConfig(vocab_size=32000, tie_word_embeddings=False, **SIZES)
    made = AnyX(LLM(AutoModelForCausalLM.from_config(config, attn_implementation=attention), words, lora=LORA))
    thaw(made, select(made.parts(), STAGE.train))
    return made


def stepper(
    made: AnyX, *, half: bool = False, switched: AbstractContextManager[None] | None = None, **adam: Any
) -> Run:
    """One training step of a model, with its switches on."""
    optimizer = AdamW([p for p in made.parameters() if p.requires_grad], lr=1e-5, **(adam or {"fused": True}))
    llm, mask = made.llm, torch.ones(ROWS, LENGTH, dtype=torch.bool)
    ids = torch.randint(0, 32000, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    labels = ids[:, LENGTH // 2 :].flatten()

    def run() -> None:
        with switched or nullcontext(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            states = llm.states(llm.embed(ids), mask)[:, LENGTH // 2 - 1 : -1].flatten(0, 1)
            loss = cross_entropy(states, labels, llm.logits, llm.head, llm.vocabulary) / len(labels)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def interleaved(first: Run, second: Run, pairs: int) -> dict[str, Any]:
    """Seconds of both, in turn, after one of each that is not counted."""
    first(), second()
    times: list[tuple[float, float]] = []
    for _ in range(pairs):
        start = time.perf_counter()
        first()
        middle = time.perf_counter()
        second()
        times.append((middle - start, time.perf_counter() - middle))
    return compared(*zip(*times, strict=True))


def lasting(context: AbstractContextManager[None]) -> None:
    """Switch something on until this process ends."""
    context.__enter__()


def denoiser(pairs: int) -> dict[str, Any]:
    """A denoiser by pixel over the same by channel."""
    from diffusers import UNet2DConditionModel

    sides = []
    for last in (True, False):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            block_out_channels=[40, 80, 160, 160], attention_head_dim=5, cross_attention_dim=96, norm_num_groups=8
        ).requires_grad_(False)
        if last:
            lasting(speed.by_pixel([unet]))
        noisy, words = torch.randn(2, 4, 32, 32), torch.randn(2, 77, 96, requires_grad=True)
        sides.append(lambda unet=unet, noisy=noisy, words=words: unet(noisy, 500, words).sample.sum().backward())
    return interleaved(*sides, pairs)


def measured(quick: bool, pairs: int | None = None) -> dict[str, dict[str, Any]]:
    """Each switch: on / off."""
    count = pairs or (3 if quick else 7)
    plain = model()
    off = stepper(plain)
    found = {}
    layers = layers_of(plain.llm.model)
    found["gradient_checkpointing"] = interleaved(stepper(plain, switched=Again(layers)), off, count)
    found["fused AdamW"] = interleaved(off, stepper(plain, foreach=False), count)
    found["attention: sdpa / eager"] = interleaved(off, stepper(model("eager")), count)
    if cpu_has_bf16():
        found["precision: bf16 / fp32"] = interleaved(stepper(plain, half=True), off, count)
    found["channels_last"] = denoiser(count)
    if not quick and speed.able(torch.device("cpu")):  # compiling takes a minute or two
        other = model()
        lasting(speed.compiled(layers_of(other.llm.model)))
        found["compile"] = interleaved(stepper(other), off, count)
    return found


class Again(AbstractContextManager[None]):
    """`recomputed`, entered at every step."""

    def __init__(self, layers: list[torch.nn.Module]) -> None:
        self.layers = layers

    def __enter__(self) -> None:
        self.on = speed.recomputed(self.layers)
        self.on.__enter__()

    def __exit__(self, *_: object) -> None:
        self.on.__exit__(None, None, None)


def kept() -> float:
    """Activations with gradient checkpointing over those without, as rehearsed."""
    with torch.device("meta"):
        made = model()
    sides = (replace(STAGE, gradient_checkpointing=on) for on in (True, False))
    with_it, without = (forecast.rehearse(made, stage, LENGTH).memory.activations for stage in sides)
    return round(with_it / without, 3)


def figures(quick: bool) -> list[dict[str, Any]]:
    """Each switch's ratio, for `make bench`; the bar is that it has one, and what is on by default costs nothing."""
    usual = ("fused AdamW", "precision: bf16 / fp32", "attention: sdpa / eager")
    rows = []
    for name, ratio in measured(quick).items():
        rows.append(
            {
                "goal": f"flags: step with {name}",
                "bar": "<= 1.05 (on by default)" if name in usual else "none (off by default)",
                "value": ratio["ratio"],
                "quartiles": ratio["quartiles"],
                "pairs": ratio["pairs"],
                "met": ratio["ratio"] <= 1.05 if name in usual else None,
                "note": f"activations {kept()}" if name == "gradient_checkpointing" else "",
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="without compile")
    given = parser.parse_args()
    print(json.dumps(measured(given.quick, given.pairs) | {"activations, checkpointed / not": kept()}, indent=1))


if __name__ == "__main__":
    main()
