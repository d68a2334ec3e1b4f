"""NExT-GPT's file at its true size, on `meta`: 647 tensors, 396,045,568 parameters, every one of them known and placed.

The counts: reference sheet A6, measured from the size of the published file. Other sizes are refused.
"""

from __future__ import annotations

import checkpoints
import pytest
import torch
from components import TINY

from anyx.build import build
from anyx.config import check
from anyx.converters.keys import best
from anyx.converters.nextgpt import ADDED, NextGPT
from anyx.converters.systems import check_sizes


def test_all_of_the_true_file_is_known() -> None:
    shapes = checkpoints.nextgpt(checkpoints.TRUE)
    assert len(shapes) == 647
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    assert sum(tensor.numel() for tensor in tensors.values()) == 396_045_568
    made = NextGPT()
    layout, match = best(made.layouts, shapes, "the true file")
    assert (layout, match.faults, len(match.names)) == ("stage 3", 0, 647)
    check_sizes("the true file", made, match.sizes)
    own, tables = made.ours({match.names[name]: tensor for name, tensor in tensors.items()})
    assert {name: tuple(table.shape) for name, table in tables.items()} == dict.fromkeys(
        ("embedding", "head"), (32000, 4096)
    )
    assert sum(t.numel() for t in (*own.values(), *tables.values())) == 396_045_568


def test_the_true_file_fits_the_true_model(tiny_llm_folder: str) -> None:
    """Names and shapes of a full-size model on `meta`; decoders of the published widths stand for the checkpoints."""
    shapes = checkpoints.nextgpt(checkpoints.TRUE)
    made = NextGPT()
    _, match = best(made.layouts, shapes, "the true file")
    own, _ = made.ours({match.names[name]: torch.empty(shape, device="meta") for name, shape in shapes.items()})
    raw = made.config(match.sizes, {"llm": "llm", "imagebind": "imagebind_huge.pth"})
    sizes = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
    raw["llm"] |= {"path": {"model_type": "llama", "vocab_size": 32000} | sizes, "tokenizer": tiny_llm_folder}
    widths = {
        "image": {"cross_attention_dim": 768},
        "video": {"cross_attention_dim": 1024},
        "audio": {"projection_class_embeddings_input_dim": 512},
    }
    for key, width in widths.items():
        decoder = raw["outputs"][key]["decoder"]
        small = dict(TINY["decoders"][decoder["type"]][0])
        given = {"type": decoder["type"], "vae": small["vae"], "unet": small["unet"] | width}
        raw["outputs"][key]["decoder"] = given | ({"length": 77} if "length" in small else {})
    model = build(check(raw), meta=True, encoders=False)
    state = {n: tuple(t.shape) for n, t in model.own_state().items() if not n.startswith(("inputs.video", "inputs.au"))}
    assert state == {name: tuple(tensor.shape) for name, tensor in own.items()}
    assert len(state) == 647
    assert model.llm.signal_tokens.embedding.shape == (38, 4096)
    assert model.inputs["image"].projector is model.inputs["video"].projector is model.inputs["audio"].projector
    assert model.llm.groups == {
        "image": tuple(range(32002, 32006)),
        "video": tuple(range(32006, 32030)),
        "audio": tuple(range(32030, 32038)),
    }
    sizes = {name: sum(p.numel() for p in parameters) for name, parameters in model.parts().items()}
    assert sizes["llm.lora"] == 33_554_432
    assert sizes["inputs.image.projector"] == 4_198_400


def refusal(shapes: dict[str, tuple[int, ...]]) -> str:
    made = NextGPT()
    with pytest.raises(ValueError, match=r"^x\.pt is ") as raised:
        check_sizes("x.pt", made, best(made.layouts, shapes, "x.pt is no checkpoint of nextgpt")[1].sizes)
    return str(raised.value)


@pytest.mark.parametrize("rows", [32042, 32039, 32001, 32000])
def test_other_rows_are_refused(rows: int) -> None:
    told = refusal(checkpoints.nextgpt(checkpoints.TRUE | {"rows": rows}))
    assert f"rows {rows} instead of 32038; if its tokenizer added other tokens than v1's 38" in told
    assert "--added-tokens" in told
    tokens = {32042: [*ADDED, "<Vid>", "</Vid>", "<Aud>", "</Aud>"], 32039: ["[PAD]", *ADDED]}
    if rows in tokens:
        made = NextGPT(added_tokens=tokens[rows])
        match = best(made.layouts, checkpoints.nextgpt(checkpoints.TRUE | {"rows": rows}), "x")[1]
        check_sizes("x.pt", made, match.sizes)


def test_other_sizes_are_refused() -> None:
    told = refusal(checkpoints.nextgpt(checkpoints.TRUE | {"rank": 8, "layers": 31}))
    assert "rank 8 instead of 32, layer 31 instead of 32; if that is meant, give --any-size" in told
