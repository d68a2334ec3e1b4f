"""LLaVA-1.5, BakLLaVA and LLaVA-NeXT on `meta` have the published counts, part by part.

Sums: the safetensors indices of llava-hf's checkpoints, less the 64 rows that they add to both tables of the LLM
(2 x 64 x width): 7,063,427,072 for llava-1.5-7b-hf, 7,566,747,648 for llava-v1.6-mistral-7b-hf.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from anyx.build import build
from anyx.commands import main
from anyx.config import load
from anyx.media import Image
from anyx.model import AnyX
from anyx.processor import stack

MODELS = Path(__file__).parent.parent / "configs" / "models"
TOWER, ROWS = 303_507_456, 64
MISTRAL = "llm.path=mistralai/Mistral-7B-Instruct-v0.2"
SYSTEMS: list[tuple[str, list[str], dict[str, int]]] = [
    ("llava15", [], {"llm.body": 6_738_415_616, "inputs.image.projector": 20_979_712}),
    (
        "llava15",
        ["llm.path=weights/vicuna-13b-v1.5"],
        {"llm.body": 13_015_864_320, "inputs.image.projector": 31_467_520},
    ),
    ("bakllava", [], {"llm.body": 7_241_732_096, "inputs.image.projector": 20_979_712}),
    ("llava_next", [], {"llm.body": 6_738_415_616, "inputs.image.projector": 20_979_712 + 4096}),
    ("llava_next", [MISTRAL], {"llm.body": 7_241_732_096, "inputs.image.projector": 20_979_712 + 4096}),
    (
        "llava_next",
        ["llm.path=NousResearch/Nous-Hermes-2-Yi-34B"],
        {"llm.body": 34_388_917_248, "inputs.image.projector": 1024 * 7168 + 7168**2 + 3 * 7168},
    ),
]
WHOLE = {0: 7_063_427_072 - 2 * ROWS * 4096, 4: 7_566_747_648 - 2 * ROWS * 4096}


def planned(name: str, values: list[str]) -> AnyX:
    return build(load(MODELS / f"{name}.yaml", values), meta=True)


@pytest.mark.parametrize("index", range(len(SYSTEMS)))
def test_the_published_counts(index: int) -> None:
    name, values, counts = SYSTEMS[index]
    parts = planned(name, values).parts()
    parts.pop("llm.body.tables")  # the body holds them
    found = {part: sum(parameter.numel() for parameter in parts[part]) for part in parts}
    assert found == {"encoders.vision": TOWER, **counts}
    if index in WHOLE:
        assert sum(found.values()) == WHOLE[index]


def tokens_of(model: AnyX, size: tuple[int, int]) -> int:
    made: dict[str, Any] = model.processor.transforms["image"](Image(torch.zeros(3, *size, dtype=torch.uint8)))
    inputs = {name: x.to("meta") if x.is_floating_point() else x for name, x in stack([made]).items()}
    with torch.no_grad(), torch.device("meta"):
        tokens = model.encode("image", inputs)
    assert tokens.layout is None or len(tokens.layout) == 1
    return int(tokens.values.shape[1]) + sum(rows for rows, _ in tokens.layout or ())


@pytest.mark.parametrize(("size", "count"), [((480, 640), 2340), ((336, 336), 1176), ((1000, 1000), 2928)])
def test_tokens_of_a_picture(size: tuple[int, int], count: int) -> None:
    """576 of LLaVA-1.5; of LLaVA-NeXT as the golden `07_llava/anyres_tokens` counts them at 24 patches a side."""
    assert tokens_of(planned("llava15", []), size) == 576
    assert tokens_of(planned("llava_next", []), size) == count


@pytest.mark.parametrize("name", ["llava15", "bakllava", "llava_next"])
def test_plan_prints_the_sizes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(MODELS / f"{name}.yaml")])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    for size in ("303,507,456", "20,979,712" if name != "llava_next" else "20,983,808"):
        assert size in printed.out
