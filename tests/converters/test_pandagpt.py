"""PandaGPT's delta checkpoints -> a model folder -> the same file; 7B and 13B on `meta`.

Counts: LoRA of rank 32 on four projections of 32 layers of width 4096 (40 of 5120), and one linear map of 1024.
"""

from __future__ import annotations

from pathlib import Path

import checkpoints
import pytest
import torch
from small import Bases, bases, llama, merged
from torch.nn import functional as F

from anyx import AnyX, Image
from anyx.converters.keys import best
from anyx.converters.pandagpt import PandaGPT
from anyx.converters.systems import check_sizes, convert, export
from anyx.interfaces import Tokens

TRUE = {
    "7b": (checkpoints.TRUE, 258, 33_554_432 + 4_198_400),
    "13b": (checkpoints.TRUE | {"width": 5120, "layers": 40}, 322, 52_428_800 + 5_248_000),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    torch.manual_seed(0)
    return bases(tmp_path_factory.mktemp("pandagpt"))


@pytest.mark.parametrize("adapter", [".default", ""])
@pytest.mark.parametrize("variant", list(TRUE))
def test_the_true_files_are_known(variant: str, adapter: str) -> None:
    sizes, tensors, parameters = TRUE[variant]
    shapes = checkpoints.pandagpt(sizes, adapter)
    assert len(shapes) == tensors
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == parameters
    made = PandaGPT()
    layout, match = best(made.layouts, shapes, "x")
    assert (layout == "peft 0.3", match.faults) == (adapter == ".default", 0)
    check_sizes("x", made, match.sizes)


def test_sizes_of_two_variants_are_none() -> None:
    made = PandaGPT()
    match = best(made.layouts, checkpoints.pandagpt(checkpoints.TRUE | {"width": 5120}), "x")[1]
    with pytest.raises(ValueError, match=r"not of the published sizes \((7b|13b)\): (width 5120|layer 32) instead of"):
        check_sizes("x", made, match.sizes)


@pytest.mark.parametrize("adapter", [".default", ""])
def test_a_small_one_there_and_back(small: Bases, tmp_path: Path, adapter: str) -> None:
    state = checkpoints.random(checkpoints.pandagpt(checkpoints.SMALL, adapter))
    torch.save(state, tmp_path / "pytorch_model.pt")
    convert("pandagpt", tmp_path, tmp_path / "out", bases=small.paths, overrides=small.inputs, any_size=True)
    model = AnyX.from_pretrained(tmp_path / "out")
    assert not model.outputs
    assert model.llm.rows == 0
    ids = torch.randint(0, 330, (2, 7))
    direct = llama()
    direct.load_state_dict(type(direct).from_pretrained(small.paths["llm"]).state_dict())
    named = {name.replace("_A.weight", "_A.default.weight").replace("_B.weight", "_B.default.weight"): tensor.detach()
             for name, tensor in state.items()}  # fmt: skip
    with torch.no_grad():
        states = model.llm.states(model.llm.embed(ids), torch.ones_like(ids, dtype=torch.bool))
        expected = merged(direct, named, checkpoints.SMALL["rank"])(input_ids=ids).logits
    torch.testing.assert_close(model.llm.logits(states), expected, atol=1e-4, rtol=1e-4)
    x = torch.randn(2, 1, 12)
    weight, bias = (state[f"llama_proj.{leaf}"].float() for leaf in ("weight", "bias"))
    for port in model.inputs.values():
        torch.testing.assert_close(port.projector(Tokens.full(x)).values, F.linear(x, weight, bias))
    picture = Image(torch.randint(0, 255, (3, 16, 16), dtype=torch.uint8))
    content = [{"type": "image", "media": picture}, {"type": "text", "text": "What?"}]
    assert model.chat([{"role": "user", "content": content}], max_new_tokens=3).keys in (["text"], [])
    export("pandagpt", tmp_path / "out", tmp_path / "back.pt")
    found = torch.load(tmp_path / "back.pt", weights_only=True)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    with pytest.raises(ValueError, match="was converted from pandagpt, not from nextgpt"):
        export("nextgpt", tmp_path / "out", tmp_path / "x.pt")
    (tmp_path / "out" / "conversion.json").unlink()
    with pytest.raises(ValueError, match=r"outputs: the model has signal tokens \{\}, in this order; \{'image': 4"):
        export("nextgpt", tmp_path / "out", tmp_path / "x.pt")
