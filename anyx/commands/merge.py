"""`anyx merge`: LoRA becomes part of the LLM's own weights."""

from pathlib import Path
from typing import Annotated

import typer

from anyx.commands.options import console


def merge(
    model: Annotated[Path, typer.Argument(help="A model folder with LoRA, or a Hub id.")],
    out: Annotated[Path, typer.Argument(help="The new model folder; the LLM is in its folder `llm`.")],
    dtype: Annotated[
        str | None, typer.Option(help="Stores the LLM in float32, bfloat16 or float16; default: as the model runs it.")
    ] = None,
    shard: Annotated[str, typer.Option(help="The largest file of the LLM, e.g. 500MB.")] = "5GB",
) -> None:
    """Merge LoRA into the LLM: an ordinary transformers folder, and a model folder that stands on it.

    Replies are those of MODEL but for rounding. With `llm.quantize` the LLM's files, in 16 bits, are what is merged; an
    LLM whose files are quantised is refused: it cannot hold the sum.

    \b
    anyx merge runs/emoji models/emoji-merged
    anyx merge runs/emoji models/emoji-merged --dtype bfloat16 --shard 2GB
    """
    from anyx.merging import merge as merge_folder

    folder = merge_folder(model, out, dtype=dtype, shard=shard)  # type: ignore[arg-type]  # it checks the dtype
    size = sum(file.stat().st_size for file in (folder / "llm").glob("*.safetensors")) / 1e6
    console.print(f"{folder}: LLM of {size:.1f} MB in {folder / 'llm'}", markup=False, highlight=False, soft_wrap=True)
