"""An LLM's whole embedding and head in a file of their own, for checkpoints that changed every row of them.

A safetensors file with `embedding` and `head`, both (v, d), and no more; a model that ties the two has `embedding`
only.

Letters: v vocabulary, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, no_grad

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAMES = ("embedding", "head")


def save(tables: Mapping[str, Float[Tensor, "v d"]], file: str | Path) -> None:
    """Write tables by their names."""
    assert set(tables) in ({"embedding"}, set(NAMES)), f"tables are {NAMES}, not {sorted(tables)}"
    save_file({name: table.contiguous() for name, table in tables.items()}, file, metadata={"format": "pt"})


def read(file: str | Path) -> dict[str, Float[Tensor, "v d"]]:
    """The tables of a file, in the type they are stored in."""
    if not Path(file).is_file():
        raise ValueError(f"tables: there is no file '{file}'")
    try:
        found = load_file(file)
    except SafetensorError as error:
        raise ValueError(f"tables: {file} cannot be read: {error}") from error
    if set(found) not in ({"embedding"}, set(NAMES)):
        raise ValueError(f"tables: {file} holds {', '.join(sorted(found))}; it may hold {' and '.join(NAMES)}")
    return found


def install(model: PreTrainedModel, file: str | Path, tokens: int) -> None:
    """Give a model a file's tables; where a tied one has a row for each of the tokens alone, the model's last are cut.

    Some tables are longer than their tokenizer for speed alone (MPT's), and code that resizes them cuts those rows.
    """
    found = read(file)
    if "head" not in found and len(found["embedding"]) == tokens < len(model.get_input_embeddings().weight):
        model.resize_token_embeddings(tokens)
    replace(model.get_input_embeddings().weight, model.get_output_embeddings().weight, file)


@no_grad()
def replace(embedding: Float[Tensor, "v d"], head: Float[Tensor, "v d"], file: str | Path) -> None:
    """Copy a file's tables into a model's own; the rows must be as many and as wide."""
    own = {"embedding": embedding} | ({} if head is embedding else {"head": head})
    found = read(file)
    if set(found) != set(own):
        told = "ties its head to its embedding" if head is embedding else "has a head of its own"
        raise ValueError(f"tables: {file} holds {', '.join(sorted(found))}, but the model {told}")
    for name, table in own.items():
        if found[name].shape != table.shape:
            here, there = (" x ".join(map(str, one.shape)) for one in (found[name], table))
            raise ValueError(f"tables: the {name} of {file} is {here}, but the model's is {there}")
        table.copy_(found[name])
