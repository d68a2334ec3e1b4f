"""Stages learn at the published rates, in the published batches and for as long as published.

The numbers are the reference's: understanding_systems.md, sheets 1.1-1.21 and the presets of 5; nextgpt_xllm.md for
NExT-GPT, PandaGPT and X-LLM. Where it names no batch or length for a stage (a hole that the YAML fills with a number of
ours), None stands here. A batch is over all machines.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from anyx.config import load

ROOT = Path(__file__).parent.parent
EPOCHS = 150  # the longest of the published trainings that are told in epochs; those in steps are longer
IMAGE, ALL = "inputs.image.projector", "inputs.*.projector"


class Recipe(NamedTuple):
    """A stage: what learns at which rate, samples a step, epochs (up to EPOCHS) or steps."""

    rates: dict[str, float]
    batch: int | None
    length: int | None


def alike(rate: float, *names: str) -> dict[str, float]:
    return dict.fromkeys(names, rate)


TEMPORAL = (
    "encoders.vision.temporal",
    *(f"inputs.video.projector.{part}" for part in ("extra_query_tokens", "proj", "norm")),
)
LLAVA = {"align": Recipe({ALL: 1e-3}, 256, 1), "instruct": Recipe(alike(2e-5, ALL, "llm.body"), 128, 1)}
MINIGPT4 = {"captions": Recipe({ALL: 1e-4}, 256, 20_000), "align": Recipe({ALL: 3e-5}, 12, 1000)}
RECIPES: dict[str, dict[str, Recipe]] = {
    "models/nextgpt": {  # the scheduler's 5e-4 overrules the 4e-4 of its JSON
        "encode": Recipe({ALL: 5e-4}, None, 1),
        "decode": Recipe(alike(5e-4, "outputs.*.projector", "llm.signal_tokens"), None, 1),
        "instruct": Recipe(alike(5e-4, "llm.lora", "llm.signal_tokens", ALL, "outputs.*.projector"), None, 1),
    },
    "models/nextgpt_v15": {
        "encode": Recipe({ALL: 1e-3}, 8, None),
        "decode": Recipe(alike(2e-4, "outputs.*.projector", "llm.signal_tokens"), 2, None),
        "instruct": Recipe(
            alike(2e-4, "llm.lora", "llm.signal_tokens") | alike(2e-5, ALL, "outputs.*.projector"), 56, None
        ),
    },
    "models/pandagpt": {"instruct": Recipe(alike(5e-4, ALL, "llm.lora"), 64, 2)},
    "xllm/experiment": {
        "image": Recipe({IMAGE: 3e-5}, 32, 2),
        "video": Recipe(alike(1e-5, *(f"inputs.video.projector.{part}" for part in ("query_tokens", "proj"))), 8, 5),
        "speech": Recipe({"inputs.speech.projector": 1e-4}, 128, 30),
        "integrate": Recipe(alike(1e-6, f"{ALL}.proj", f"{ALL}.query_tokens", "inputs.speech.projector.post"), 16, 2),
    },
    "models/llava15": LLAVA,
    "models/bakllava": LLAVA,
    "llava/lora": {
        "align": LLAVA["align"],
        "adapt": Recipe({ALL: 2e-5, "llm.lora": 2e-4}, 128, 1),
    },
    "models/llava_next": {
        **LLAVA,
        "instruct": Recipe(alike(1e-5, ALL, "llm.body") | {"encoders.vision": 2e-6}, 128, 1),
    },
    "models/minigpt4": MINIGPT4,
    "models/minigpt4_llama2": MINIGPT4,
    "minigpt_v2/experiment": {"stage3": Recipe(alike(1e-5, "llm.lora", ALL), 24, 50_000)},
    "models/blip2": {"generate": Recipe({ALL: 1e-4}, None, None)},  # 64 on each GPU
    "models/instructblip": {"instruct": Recipe({ALL: 1e-5}, 128, 60_000)},
    "models/xinstructblip": {
        "image": Recipe({IMAGE: 1e-5}, 8, 65_000),
        "video": Recipe({"inputs.video.projector": 1e-5}, 4, 15_000),
        "audio": Recipe({"inputs.audio.projector": 1e-5}, 8, 65_000),
        "cloud": Recipe({"inputs.cloud.projector": 1e-5}, 16, 65_000),
    },
    "models/qwen_vl": {
        "pretrain": Recipe(alike(2e-4, "encoders.*", ALL), 30_720, 50_000),
        "tasks": Recipe(alike(5e-5, "encoders.*", ALL, "llm.body"), 4096, 19_000),
        "instruct": Recipe(alike(1e-5, ALL, "llm.body"), 128, 8000),
    },
    "models/cogvlm": {
        "pretrain": Recipe(alike(1e-4, ALL, "llm.adapters.expert"), 8192, 120_000),
        "instruct": Recipe(alike(1e-5, ALL, "llm.adapters.expert", "llm.body"), 32, 800),
    },
    "models/mplug_owl": {
        "pretrain": Recipe(alike(1e-4, "encoders.*", ALL), None, 50_000),
        "instruct": Recipe({"llm.lora": 2e-5}, 256, 3),
    },
    "models/mplug_owl2": {"instruct": Recipe(alike(2e-5, ALL, "llm.adapters.adaptive", "llm.body"), 128, 1)},
    "models/openflamingo": {
        "pretrain": Recipe(alike(1e-4, ALL, "llm.adapters.cross", "llm.signal_tokens"), None, None),
    },
    "models/otter": {"instruct": Recipe(alike(2e-5, ALL, "llm.adapters.cross", "llm.signal_tokens"), 64, 3)},
    "models/llama_adapter_v2": {  # published for 256 samples: 1e-4 and 1e-3
        "pretrain": Recipe(alike(1e-4 * 32 / 256, ALL, "llm.adapters.prompts"), 32, 150),
        "instruct": Recipe(alike(1e-3 * 32 / 256, "llm.adapters.tuned", "llm.lora"), 32, 4),
    },
    "models/lamm": {"instruct": Recipe(alike(5e-4, IMAGE, "llm.lora"), 64, 2)},
    "models/macaw": {"instruct": Recipe(alike(3e-5, "encoders.*", ALL, "llm.body", "llm.signal_tokens"), 96, 3)},
    "models/videochat": {
        "align": Recipe(alike(1e-4, *TEMPORAL), 32, 1),
        "instruct": Recipe(alike(2e-5, *TEMPORAL), None, 3),
    },
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_published_numbers(name: str) -> None:
    config = load(ROOT / ("configs" if name.startswith("models") else "experiments") / f"{name}.yaml")
    assert list(config.stages) == list(RECIPES[name])
    for key, recipe in RECIPES[name].items():
        stage = config.stages[key]
        assert {part: rate for part, rate in stage.train.items() if rate} == pytest.approx(recipe.rates), key
        if recipe.batch:
            assert stage.batch_size * stage.accumulate == recipe.batch, key
        if recipe.length:
            assert (stage.epochs, stage.steps) == (
                (recipe.length, None) if recipe.length <= EPOCHS else (None, recipe.length)
            )
