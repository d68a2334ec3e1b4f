"""LAMM's file for pictures, of the true keys -> a model folder -> the same file; 13B on `meta`.

Facts: reference sheet 1.18 and the converters' table: `llama_proj` and LoRA of rank 32, alpha 32, on four projections.
"""

from __future__ import annotations

from pathlib import Path

import checkpoints
import pytest
import tiny
import torch
from small import llama, merged
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel

from anyx import AnyX, Image
from anyx.converters.keys import KeysError, best
from anyx.converters.lamm import LAMM
from anyx.converters.systems import check_sizes, convert, export
from anyx.interfaces import Tokens

TRUE = checkpoints.TRUE | {"width": 5120, "layers": 40}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bases")
    llama().save_pretrained(folder / "llm")
    tiny.tokenizer().save_pretrained(folder / "llm")
    eye = {"hidden_size": 12, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    CLIPVisionModel(CLIPVisionConfig(**eye, image_size=28, patch_size=14)).save_pretrained(folder / "vision")
    return {"llm": str(folder / "llm"), "vision": str(folder / "vision")}


@pytest.mark.parametrize("adapter", [".default", ""])
def test_the_true_file_is_known(adapter: str) -> None:
    shapes = checkpoints.pandagpt(TRUE, adapter)
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 52_428_800 + 5_248_000
    made = LAMM()
    layout, match = best(made.layouts, shapes, "x")
    assert (layout, match.faults) == ("peft 0.3" if adapter else "peft before 0.3", 0)
    check_sizes("x", made, match.sizes)
    with pytest.raises(KeysError, match=r"unknown \(1\): te_encoder.embedding.weight"):
        best(made.layouts, shapes | {"te_encoder.embedding.weight": (19, 1024)}, "x")


@pytest.mark.parametrize("adapter", [".default", ""])
def test_a_small_one_there_and_back(bases: dict[str, str], tmp_path: Path, adapter: str) -> None:
    state = {n: x.detach() for n, x in checkpoints.random(checkpoints.pandagpt(checkpoints.SMALL, adapter)).items()}
    torch.save(state, tmp_path / "pytorch_model.pt")
    out = tmp_path / "out"
    convert("lamm", tmp_path, out, bases=bases, overrides=["llm.dtype=float32"], any_size=True)
    model = AnyX.from_pretrained(out)
    assert list(model.inputs) == ["image"]
    direct = llama()
    direct.load_state_dict(type(direct).from_pretrained(bases["llm"]).state_dict())
    named = {name if adapter else name.replace(".weight", ".default.weight"): x for name, x in state.items()}
    ids, pixels = torch.randint(0, 330, (2, 7)), torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        states = model.llm.states(model.llm.embed(ids), torch.ones_like(ids, dtype=torch.bool))
        expected = merged(direct, named, checkpoints.SMALL["rank"])(input_ids=ids).logits
        tower = CLIPVisionModel.from_pretrained(bases["vision"])
        patches = tower(pixels, output_hidden_states=True).hidden_states[-1][:, 1:]
        tokens = model.encoders["vision"]({"pixels": pixels})
        projected = model.inputs["image"].projector(Tokens.full(patches)).values
    torch.testing.assert_close(model.llm.logits(states), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tokens.values, patches)
    weight, bias = (state[f"llama_proj.{leaf}"].float() for leaf in ("weight", "bias"))
    torch.testing.assert_close(projected, F.linear(patches, weight, bias))
    picture = Image(torch.randint(0, 255, (3, 30, 20), dtype=torch.uint8))
    content = [{"type": "image", "media": picture}, {"type": "text", "text": "What?"}]
    assert model.chat([{"role": "user", "content": content}], max_new_tokens=3).keys in (["text"], [])
    assert "CC-BY-NC-4.0" in (out / "README.md").read_text()
    export("lamm", out, tmp_path / "back.pt")
    found = torch.load(tmp_path / "back.pt", weights_only=True)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
