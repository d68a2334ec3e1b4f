"""`anyx gallery`: a file of requests through one model, each reply in its own folder, and one sheet of them all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyx.commands import loading, options
from anyx.commands.options import console

if TYPE_CHECKING:
    from anyx.evaluation import gallery as sheets
    from anyx.processor import Processor
    from anyx.reply import Reply

REQUESTS = Path("experiments/emoji/demo.jsonl")


def gallery(
    requests: Annotated[  # no Path, which would write an override's value otherwise
        str, typer.Argument(help='A file of JSONL, a line {"id": "image->audio", "messages": [...]}.')
    ] = str(REQUESTS),
    overrides: options.ModelOverrides = None,
    model: options.ModelFolder = options.MODEL,
    out: options.Out = Path("out"),
    seed: options.Seed = 0,
    max_new_tokens: options.MaxTokens = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Requests answered side by side.")] = 8,
    device: options.Device = None,
) -> None:
    """Answer every request of a file; the default are sixteen, one for each pair of modalities.

    Ends with 1 where an id says what is asked for ("->image") and the reply holds none.

    \b
    anyx gallery --out out/
    anyx gallery my_requests.jsonl --model runs/emoji --out out/mine
    anyx gallery outputs.image.decoder.steps=5
    """
    from anyx.data.sources import JSONLSource
    from anyx.evaluation import gallery as sheets

    began = time.perf_counter()
    place, values = options.first_word(requests, str(REQUESTS), overrides)
    records = list(JSONLSource(place))
    loaded = loading.load_model(model, loading.Loading(device), values)
    exchanges: list[sheets.Exchange] = []
    missed: list[str] = []
    for start in range(0, len(records), batch_size):
        batch = records[start : start + batch_size]
        with loaded.merged():
            replies = loaded.generate(
                [record["messages"] for record in batch],
                seeds=[seed + start + row for row in range(len(batch))],
                max_new_tokens=max_new_tokens,
            )
        for record, reply in zip(batch, replies, strict=True):
            exchanges.append(exchange(loaded.processor, record, reply, out))
            wanted = str(record["id"]).partition("->")[2]
            if wanted and wanted not in reply.keys:
                missed.append(str(record["id"]))
            files = " ".join(str(file) for file in exchanges[-1].answered_files if file.suffix != ".txt")
            line = f"{record['id']:<14}  {reply.text.strip()}  {files}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for path in sheets.write(exchanges, out):
        console.print(str(path), style="cyan", markup=False, highlight=False)
    console.print(f"{len(records)} requests in {time.perf_counter() - began:.0f} s", style="dim", highlight=False)
    if missed:
        console.print(f"without what was asked for: {', '.join(missed)}", style="red", markup=False, highlight=False)
        raise typer.Exit(1)


def exchange(processor: Processor, record: Mapping[str, Any], reply: Reply, out: Path) -> sheets.Exchange:
    """What was asked and answered, both written into a folder named after the record."""
    from anyx.evaluation.gallery import Exchange
    from anyx.reply import Reply

    asked: list[Any] = []
    for message in record["messages"]:
        parts = (
            [{"type": "text", "text": message["content"]}]
            if isinstance(message["content"], str)
            else message["content"]
        )
        asked += [part["text"] if part["type"] == "text" else processor.read(part["type"], part) for part in parts]
    folder = out / str(record["id"]).replace("->", "_to_").replace("/", "_")
    given = Reply([part for part in asked if not isinstance(part, str)]).save(folder / "asked")
    return Exchange(str(record["id"]), asked, reply.parts, given, reply.save(folder))
