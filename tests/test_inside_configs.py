"""Systems inside the LLM's layers have the sizes that their layouts give at the published widths."""

from __future__ import annotations

import pytest
from test_configs import ROOT, built

from anyx.config import load

D, F, V = 4096, 11008, 32000  # of LLaMA-7B: width, MLP, vocabulary
LLAMA = 2 * V * D + D + 32 * (4 * D * D + 3 * D * F + 2 * D)


def perceiver(dim: int = 1024, inner: int = 512) -> int:
    """64 latents, 6 blocks of three norms, q, kv, out and an MLP of four times the width, no biases, a norm."""
    block = 4 * dim + dim * inner + dim * 2 * inner + inner * dim + 2 * dim + 8 * dim * dim
    return 64 * dim + 6 * block + 2 * dim


def gated(dim: int = D, media: int = 1024, inner: int = 512) -> int:
    return 2 + 2 * dim + dim * inner + media * 2 * inner + inner * dim + 2 * dim + 8 * dim * dim


TUNED = 32 * (2 * D + 2 * F + D + 2 * D) + D  # biases of q, o, gate, up, down; norms
LORA = 16 * 32 * (4 * 2 * D + 3 * (D + F))
SIZES = {
    "openflamingo": {
        "llm.body": 50432 * D + 32 * (12 * D * D + 2 * D) + D,
        "llm.adapters.cross": 8 * gated(),
        "inputs.image.projector": perceiver(),
        "llm.signal_tokens": 2 * D,
    },
    "otter": {"llm.adapters.cross": 8 * gated(), "inputs.image.projector": perceiver(), "llm.signal_tokens": 3 * D},
    "cogvlm": {
        "llm.body": LLAMA,
        "llm.adapters.expert": 32 * (4 * D * D + 3 * D * F),
        "inputs.image.projector": 1792 * D + 2 * D + 3 * D * F + 2 * D,
    },
    "mplug_owl2": {"llm.body": LLAMA, "llm.adapters.adaptive": 32 * (2 * D * D + 2 * D)},
    "llama_adapter_v2": {
        "llm.body": LLAMA,
        "llm.adapters.prompts": 31 * (10 * D + 32),
        "llm.adapters.tuned": TUNED,
        "llm.lora": LORA,
        "inputs.image.projector": (768 + 3) * 768 + 10 * 768 + 8 * (12 * 768**2 + 13 * 768) + (768 + 3) * D,
    },
    "imagebind_llm": {
        "llm.adapters.prompts": 32 * (D + 32),
        "llm.adapters.tuned": TUNED,
        "inputs.image.projector": 1025 * D + 3 * (D + 3 * D * 4 * D),
    },
    "octavius": {"llm.adapters.mixture": 4 * 5120 + 40 * 4 * 4 * 2 * 32 * 5120},  # a gate, 4 experts of rank 32
}


@pytest.mark.parametrize("name", list(SIZES))
def test_sizes(name: str) -> None:
    found = built(load(ROOT / f"configs/models/{name}.yaml"))
    for part, count in SIZES[name].items():
        assert found[part] == count, part


def test_published_totals() -> None:
    """CogVLM's paper: 17 B, 6.5 B of them experts. OpenFlamingo's: 9 B with CLIP's tower."""
    cogvlm = built(load(ROOT / "configs/models/cogvlm.yaml"))
    assert round(cogvlm["llm.adapters.expert"] / 1e8) == 65
    assert 17e9 < sum(cogvlm.values()) < 18.5e9
    flamingo = built(load(ROOT / "configs/models/openflamingo.yaml"))
    assert 8e9 < sum(flamingo.values()) < 9e9


def test_rates_that_shrink_with_the_batch() -> None:
    """Sheet 1.16: 1e-4 and 1e-3 are for batches of 256; 4 records on each of 8 GPUs are 32."""
    stages = load(ROOT / "configs/models/llama_adapter_v2.yaml").stages
    for stage, base in zip(stages.values(), (1e-4, 1e-3), strict=True):
        assert set(stage.train.values()) == {base * stage.batch_size * stage.accumulate / 256}
