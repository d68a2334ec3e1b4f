"""`anyx convert`: a published checkpoint as a model folder, and a folder as a published checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from anyx.commands.options import console
from anyx.converters import SYSTEMS


def named_bases(given: Sequence[str]) -> dict[str, str]:
    """`--base llm=weights/vicuna-7b-v0` -> {"llm": "weights/vicuna-7b-v0"}."""
    bases = {}
    for text in given:
        name, sign, path = text.partition("=")
        if not (name and sign and path):
            raise ValueError(f"--base {text!r} is not of the form name=path")
        bases[name] = path
    return bases


def convert(
    system: Annotated[str, typer.Argument(help=f"Whose checkpoint it is: {', '.join(SYSTEMS)}.")],
    source: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="The published file, or the folder it or they lie in; see --export."),
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="The new model folder; with --export the new file, or folder of files."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[a.b=c]...", help="Values of the new config.yaml, e.g. llm.dtype=bfloat16."),
    ] = None,
    base: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="What the model stands on: llm= its LLM, imagebind= ImageBind's, vision= CLIP's, eva= EVA-CLIP-g, "
            "bert= BERT's tokenizer; a system that lacks one says which. A folder, file or Hub id: it is named in the "
            "config.yaml, not copied, and need not be here yet.",
        ),
    ] = None,
    delimiters: Annotated[
        str | None,
        typer.Option(
            help="nextgpt: <Img> and </Img> as text or as token. Default: what the added tokens say, which is text for "
            "the published checkpoint, whose two delimiter tokens were never trained."
        ),
    ] = None,
    added_tokens: Annotated[
        Path | None,
        typer.Option(
            help="nextgpt: the checkpoint's own added_tokens.json, where its tables have not 32,038 rows. "
            "openflamingo: the tokens of its last rows, where they are not <|endofchunk|>, <image>, <PAD>."
        ),
    ] = None,
    any_size: Annotated[
        bool, typer.Option("--any-size", help="Take widths and depths that were not published.")
    ] = False,
    export: Annotated[
        bool, typer.Option("--export", help="The way back: CHECKPOINT is a model folder, OUT a file to be written.")
    ] = False,
    dtype: Annotated[
        str | None, typer.Option(help="With --export: float16, bfloat16 or float32; default: as in the folder.")
    ] = None,
) -> None:
    """Make a model folder of a published checkpoint, or the way back; every key is held against the system's table.

    No code in a checkpoint is run. What is unknown, missing or of another shape is named, and nothing is written then.

    \b
    anyx convert nextgpt nextgpt_7b_tiva_v0/pytorch_model.pt models/nextgpt \\
        --base llm=weights/vicuna-7b-v0 --base imagebind=weights/imagebind_huge.pth
    anyx chat --model models/nextgpt
    anyx convert llava llava-v1.6-mistral-7b models/llava_next --base llm=... --base vision=...
    anyx convert pandagpt pandagpt_7b.pt models/pandagpt --base llm=... --base imagebind=...
    anyx convert instructblip instruct_blip_vicuna7b_trimmed.pth models/instructblip \\
        --base llm=... --base eva=Salesforce/instructblip-vicuna-7b --base bert=google-bert/bert-base-uncased
    anyx convert cogvlm cogvlm-chat-hf models/cogvlm --base llm=weights/vicuna-7b-v1.5
    anyx convert nextgpt models/nextgpt pytorch_model.pt --export
    """
    from anyx.converters import systems
    from anyx.converters.vocabulary import read_added_tokens

    options: dict[str, Any] = {"delimiters": delimiters} if delimiters else {}
    options |= {"added_tokens": read_added_tokens(added_tokens)} if added_tokens else {}
    if export:
        import torch

        kinds = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
        if base or overrides or any_size:
            raise ValueError("--base, --any-size and a.b=c are for making a folder; --export reads one")
        if dtype is not None and dtype not in kinds:
            raise ValueError(f"--dtype: {dtype!r} is not one of {', '.join(kinds)}")
        kind = kinds[dtype] if dtype else None
        more = ""
        tensors, parameters = systems.export(system, source, out, options=options, dtype=kind)
    else:
        if dtype is not None:
            raise ValueError("--dtype is for --export; a folder keeps the checkpoint's own")
        folder = systems.convert(
            system,
            source,
            out,
            bases=named_bases(base or ()),
            options=options,
            overrides=overrides or (),
            any_size=any_size,
        )
        tensors, parameters = folder.origin.tensors, folder.origin.parameters
        more = "".join(f"; {count} {kind} left out" for kind, count in folder.origin.left_out.items())
    line = f"{out}: {tensors} tensors, {parameters:,} parameters{more}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
