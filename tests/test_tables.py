"""Whole tables in a file: written, read, put in place; what does not fit is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from anyx import tables


def test_tables_are_copied_in_place(tmp_path: Path) -> None:
    given = {"embedding": torch.randn(5, 3).half(), "head": torch.randn(5, 3).half()}
    tables.save(given, tmp_path / "t.safetensors")
    assert all(torch.equal(table, given[name]) for name, table in tables.read(tmp_path / "t.safetensors").items())
    embedding, head = nn.Parameter(torch.zeros(5, 3)), nn.Parameter(torch.zeros(5, 3))
    tables.replace(embedding, head, tmp_path / "t.safetensors")
    assert torch.equal(embedding, given["embedding"].float())
    assert torch.equal(head, given["head"].float())
    tied = nn.Parameter(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="holds embedding, head, but the model ties its head to its embedding"):
        tables.replace(tied, tied, tmp_path / "t.safetensors")
    tables.save({"embedding": given["embedding"]}, tmp_path / "one.safetensors")
    tables.replace(tied, tied, tmp_path / "one.safetensors")
    assert torch.equal(tied, given["embedding"].float())
    with pytest.raises(ValueError, match="holds embedding, but the model has a head of its own"):
        tables.replace(embedding, head, tmp_path / "one.safetensors")
    with pytest.raises(ValueError, match=r"the embedding of .* is 5 x 3, but the model's is 6 x 3"):
        tables.replace(torch.zeros(6, 3), torch.zeros(6, 3), tmp_path / "t.safetensors")


def test_what_is_no_file_of_tables_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tables: there is no file"):
        tables.read(tmp_path / "none")
    (tmp_path / "cut").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    with pytest.raises(ValueError, match="cannot be read"):
        tables.read(tmp_path / "cut")
    save_file({"embedding": torch.ones(1, 1), "x": torch.ones(1)}, tmp_path / "more")
    with pytest.raises(ValueError, match="holds embedding, x; it may hold embedding and head"):
        tables.read(tmp_path / "more")


def test_rows_that_no_token_has_are_cut_where_a_tied_table_lacks_them(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    tables.save({"embedding": torch.randn(5, 8)}, tmp_path / "t.safetensors")
    model = LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=7, tie_word_embeddings=True))
    with pytest.raises(ValueError, match=r"is 5 x 8, but the model's is 7 x 8"):
        tables.install(model, tmp_path / "t.safetensors", tokens=4)
    tables.install(model, tmp_path / "t.safetensors", tokens=5)
    assert model(input_ids=torch.tensor([[4]])).logits.shape == (1, 1, 5)
    assert torch.equal(model.lm_head.weight, tables.read(tmp_path / "t.safetensors")["embedding"])
    with pytest.raises(IndexError):
        model(input_ids=torch.tensor([[5]]))
