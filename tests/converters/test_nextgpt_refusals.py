"""What NExT-GPT's converter refuses, by name, with nothing written."""

from __future__ import annotations

from pathlib import Path

import checkpoints
import pytest
import torch
from small import Converted, again, llama

from anyx import AnyX
from anyx.converters.keys import KeysError, best
from anyx.converters.nextgpt import NextGPT
from anyx.converters.systems import convert, export

SIZES = checkpoints.SMALL


def test_what_misfits_is_named_and_nothing_is_written(converted: Converted, tmp_path: Path) -> None:
    state = dict(checkpoints.random(checkpoints.nextgpt(SIZES)))
    del state["llama_proj.bias"]
    state |= {"gen_text_hidden_fcs.1.fc.bias": torch.ones(8), "llama_proj.weight": torch.ones(32, 13)}
    with pytest.raises(KeysError) as raised:
        again(converted, tmp_path / "out", state)
    assert raised.value.match.unknown == ("gen_text_hidden_fcs.1.fc.bias",)
    assert raised.value.match.missing == ("llama_proj.bias",)
    assert not (tmp_path / "out").exists()
    whole = checkpoints.nextgpt(SIZES)
    half = {name: shape for name, shape in whole.items() if "lora_B" not in name}
    with pytest.raises(KeysError, match=r"lora_B\.default\.weight"):  # LoRA is absent in the shorter spelling only
        best(NextGPT().layouts, half, "x")


def test_other_rows_need_their_names_whatever_the_size(converted: Converted, tmp_path: Path) -> None:
    """Four tokens more: the base that is here disagrees; without it, the published number of rows is held."""
    state = checkpoints.random(checkpoints.nextgpt(SIZES | {"rows": 330 + 42}))
    with pytest.raises(ValueError, match=r"has 330 rows .* trained over 334"):
        again(converted, tmp_path / "out", state)
    elsewhere = converted.bases.paths | {"llm": "some/vicuna"}
    with pytest.raises(ValueError, match=r"rows 372 instead of 32038; .* --added-tokens"):
        again(converted, tmp_path / "out", state, bases=elsewhere)
    assert not (tmp_path / "out").exists()


def test_a_base_with_a_token_too_many_is_refused(converted: Converted, tmp_path: Path) -> None:
    base = Path(converted.bases.paths["llm"])
    llama(331).save_pretrained(tmp_path / "llm")
    for file in base.glob("token*"):
        (tmp_path / "llm" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match=r"331 rows .* trained over 330; .*delete added_tokens\.json"):
        again(converted, tmp_path / "out", bases=converted.bases.paths | {"llm": str(tmp_path / "llm")})
    assert not (tmp_path / "out").exists()
    raw = (converted.folder / "config.yaml").read_text()
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in ("model.safetensors", "tables.safetensors"):
        (moved / file).write_bytes((converted.folder / file).read_bytes())
    (moved / "config.yaml").write_text(raw.replace("path: ../llm", f"path: {tmp_path / 'llm'}"))
    with pytest.raises(ValueError, match=r"llm: tables: the embedding of .* is 330 x 32, but the model's is 331 x 32"):
        AnyX.from_pretrained(moved)


def test_what_is_not_asked_rightly_is_named(converted: Converted, tmp_path: Path) -> None:
    for settings, told in (
        ({"bases": {}}, r"base: llm and imagebind missing; nextgpt stands on llm: Vicuna-7B v0"),
        ({"bases": converted.bases.paths | {"clip": "x"}}, r"base: 'clip' is none of what nextgpt stands on"),
        ({"options": {"delimiters": "both"}}, r"'both' is not one of text, token"),
        ({"options": {"delimiter": "text"}}, r"Key 'delimiter' not in 'NextGPT'. Did you mean: 'delimiters'"),
        ({"overrides": ["llm.dtyp=float16"]}, r"Did you mean: 'dtype'"),
        ({"any_size": False}, r"is not of the published sizes \(7b_tiva_v0\)"),
    ):
        with pytest.raises(ValueError, match=told):
            again(converted, tmp_path / "out", **settings)  # type: ignore[arg-type]
        assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="is there already; name a new folder"):
        again(converted, converted.folder)
    with pytest.raises(ValueError, match="system: 'gill' is not one of nextgpt, "):
        convert("gill", converted.file, tmp_path / "out", bases={})
    with pytest.raises(ValueError, match="was converted from nextgpt, not from pandagpt"):
        export("pandagpt", converted.folder, tmp_path / "x.pt")
