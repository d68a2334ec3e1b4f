"""`anyx demo`: a file of requests through one model, each reply in its own folder, and one sheet of them all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from anyx.commands import options
from anyx.commands.options import console

REQUESTS = Path("experiments/emoji/demo.jsonl")


def demo(
    requests: Annotated[
        Path, typer.Argument(help='JSONL: {"id": "image->audio", "messages": [...]} a line.')
    ] = REQUESTS,
    model: options.ModelFolder = options.MODEL,
    out: options.Out = Path("out"),
    seed: options.Seed = 0,
    max_new_tokens: options.MaxTokens = 64,
    batch_size: Annotated[int, typer.Option(min=1, help="Requests answered side by side.")] = 4,
    device: options.Device = None,
) -> None:
    """Answer every request of a file; the default are sixteen, one for each pair of modalities.

    \b
    anyx demo --out out/
    anyx demo my_requests.jsonl --model runs/emoji --out out/mine
    """
    from anyx.data.sources import JSONLSource
    from anyx.evaluation.report import Shown, contact_sheet

    records = list(JSONLSource(requests))
    loaded = options.load_model(model, device)
    shown: list[Shown] = []
    began = time.perf_counter()
    for start in range(0, len(records), batch_size):
        batch = records[start : start + batch_size]
        replies = loaded.generate(
            [record["messages"] for record in batch],
            seeds=[seed + start + row for row in range(len(batch))],
            max_new_tokens=max_new_tokens,
        )
        for record, reply in zip(batch, replies, strict=True):
            files = reply.save(out / record["id"].replace("->", "_to_").replace("/", "_"))
            said = f"{record['id']:<14} {reply.text.strip()}  {' '.join(path.name for path in files)}"
            console.print(said, markup=False, highlight=False)
            shown.append(Shown(record["id"], record["messages"], files, reply.text))
    console.print(f"{len(records)} requests in {time.perf_counter() - began:.0f} s", style="dim", highlight=False)
    for path in contact_sheet(shown, out):
        console.print(str(path), style="cyan", markup=False, highlight=False)
