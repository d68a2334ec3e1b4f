"""MiniGPT-4 and MiniGPT-v2 on `meta` have the published sizes, part by part, and as many tokens a picture.

Sums of the reference sheet's 1.4 and 1.5: llama_proj 5632 x 4096 + 4096, and LoRA of rank 64 on q and v; EVA-CLIP-g of
39 blocks, width 1408, 6144 within, patches of 14, 16 x 16 positions (32 x 32 at 448 pixels); a Q-Former of 12 layers.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyx.build import build
from anyx.commands import main
from anyx.config import load
from anyx.media import Image
from anyx.model import AnyX
from anyx.training.stage import select

MODELS = Path(__file__).parent.parent / "configs" / "models"
WIDE, INNER, BLOCKS = 1408, 6144, 39
BLOCK = 4 * WIDE**2 + 4 * WIDE + 2 * WIDE * INNER + INNER + WIDE + 2 * 2 * WIDE
PATCHES = 3 * 14**2 * WIDE + WIDE
NORM = 2 * WIDE
WIDTH, VICUNA_7B = 4096, 6_738_415_616


def tower(side: int, norm: int) -> int:
    """EVA-CLIP-g with a class token and positions of side x side patches."""
    return BLOCKS * BLOCK + PATCHES + WIDE + (side**2 + 1) * WIDE + norm


def qformer() -> int:
    """12 layers of width 768 and 3072 within, every other with a look at the tower, 32 queries, a norm before all."""
    dim, inner = 768, 3072
    attend = 4 * dim**2 + 4 * dim + 2 * dim
    look = 2 * dim**2 + 2 * dim * WIDE + 4 * dim + 2 * dim
    feed = 2 * dim * inner + inner + dim + 2 * dim
    return 12 * (attend + feed) + 6 * look + 32 * dim + 2 * dim


def planned(name: str, *values: str) -> AnyX:
    return build(load(MODELS / f"{name}.yaml", values), meta=True)


def counts(model: AnyX) -> dict[str, int]:
    parts = {name: part for name, part in model.parts().items() if name != "llm.body.tables"}  # they are the body's
    return {name: sum(parameter.numel() for parameter in part) for name, part in parts.items()}


def test_minigpt_v2() -> None:
    model = planned("minigpt_v2")
    found = counts(model)
    assert found == {
        "llm.lora": 33_554_432,
        "llm.body": VICUNA_7B,
        "encoders.vision": tower(32, 0),
        "inputs.image.projector": 23_072_768,
    }
    assert round(tower(16, NORM) / 1e6) == 986, "EVA-CLIP-g as BLIP-2 keeps it"
    with torch.device("meta"):
        pixels = torch.zeros(1, 3, 448, 448)
        tokens = model.encoders["vision"]({"pixels": pixels})
        assert tokens.values.shape == (1, 1024, WIDE)
        assert model.inputs["image"].projector(tokens).values.shape == (1, 256, WIDTH)
    made = model.processor.transforms["image"](Image(torch.zeros(3, 40, 90, dtype=torch.uint8)))
    assert made["pixels"].shape == (3, 448, 448), "stretched, nothing is cut off"


def test_minigpt_4_over_llama_2() -> None:
    model = planned("minigpt4_llama2")
    assert counts(model) == {
        "llm.body": VICUNA_7B,
        "encoders.vision": tower(16, 0),
        "inputs.image.projector": 23_072_768,
    }
    with torch.device("meta"):
        tokens = model.encoders["vision"]({"pixels": torch.zeros(1, 3, 224, 224)})
        assert model.inputs["image"].projector(tokens).values.shape == (1, 64, WIDTH)


@pytest.mark.parametrize(("size", "width", "body"), [("7b", 4096, VICUNA_7B), ("13b", 5120, 13_015_864_320)])
def test_minigpt_4(size: str, width: int, body: int) -> None:
    model = planned("minigpt4", f"llm.path=weights/vicuna-{size}-v0")
    assert counts(model) == {
        "llm.body": body,
        "encoders.vision": tower(16, NORM) + qformer(),
        "inputs.image.projector": 768 * width + width,
    }
    with torch.device("meta"):
        tokens = model.encoders["vision"]({"pixels": torch.zeros(1, 3, 224, 224)})
    assert tokens.values.shape == (1, 32, 768)


@pytest.mark.parametrize(("name", "learns"), [("minigpt4", 3_149_824), ("minigpt4_llama2", 23_072_768)])
def test_only_the_map_learns(name: str, learns: int) -> None:
    parts = planned(name).parts()
    for stage in load(MODELS / f"{name}.yaml").stages.values():
        assert (
            sum(parameter.numel() for part in select(parts, stage.train).names for parameter in parts[part]) == learns
        )


def test_the_plan_says_what_was_published(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(MODELS.parents[1] / "experiments" / "minigpt_v2" / "experiment.yaml")])
    assert ended.value.code == 0
    rows = {words[0]: words[1:3] for line in capsys.readouterr().out.splitlines() if len(words := line.split()) > 2}
    assert rows["llm.lora"] == ["33,554,432", "learns"]
    assert rows["inputs.image.projector"] == ["23,072,768", "learns"]
    assert rows["encoders.vision"] == [f"{tower(32, 0):,}", "frozen"]
    assert rows["all"][1] == "56.6"
