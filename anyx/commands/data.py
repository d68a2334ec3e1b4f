"""`anyx data`: other people's files to native JSON lines or shards, what they hold and lack, dialogues of captions."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, track
from rich.table import Table

from anyx.commands import options
from anyx.commands.options import console

if TYPE_CHECKING:
    from anyx.data.native import Tally

Options = Annotated[
    list[str] | None,
    typer.Argument(metavar="[option=value]...", help="What the format's reader takes, as in a YAML's `data`."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first bad record instead of counting it.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Read only so many records.")]
NoCheck = Annotated[bool, typer.Option("--no-check", help="Do not look whether the media are there.")]
Output = Annotated[Path, typer.Argument(metavar="OUT", help="A .jsonl, or .jsonl.gz to have it packed.")]


def group() -> typer.Typer:
    """The commands under `anyx data`."""
    app = typer.Typer(
        no_args_is_help=True,
        help="Read, convert, look at and make data. COMMAND --help shows the formats and examples.",
    )
    for command in (convert, info, check, pack, dialogues):
        app.command()(command)
    return app


def convert(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help="A type of source: llava, t2m, mosit, ...")],
    given: Annotated[Path, typer.Argument(metavar="IN", help="The file in that format; .gz is unpacked.")],
    out: Output,
    options: Options = None,
    strict: Strict = False,
    limit: Limit = None,
    no_check: NoCheck = False,
) -> None:
    """Convert a data set into native JSON lines, one record of chat messages a line.

    Formats: nextgpt_pairs (CC3M, WebVid, AudioCaps), t2m, mosit, nextgpt_v2, llava, alpaca, videochat, captions, jsonl,
    mimic_it, mmc4, mplug_owl, cogvlm, qwen_vl, lamm, macaw, or your own as module:Class. Bad records are counted and
    skipped. Where a medium that the assistant shows is missing, its caption is kept. What holds media instead of paths
    to them (webdataset, huggingface, litdata) is for `pack`.

    \b
    anyx data convert nextgpt_pairs cc3m.json cc3m.jsonl root=images direction=in
    anyx data convert llava llava_instruct_150k.json llava.jsonl.gz root=coco/train2017 --limit 1000
    anyx data convert mosit mosit.json mosit.jsonl root.image=images root.audio=audios --strict
    anyx data convert videochat videochat_instruct_11k.json chat.jsonl root=webvid flat=true
    """
    from anyx.data.native import Tally, open_source, records_of, write
    from anyx.yamls import parse

    tally, source = Tally(), open_source(format, given, parse(options or ()))
    records = records_of(source, tally, check=not no_check, strict=strict, limit=limit)
    tally.written = write(watched(records, min(len(source), limit or len(source)), str(given)), out)
    summary(tally, out)


def info(
    given: Annotated[Path, typer.Argument(metavar="FILE", help="Native JSON lines, or a file in another --format.")],
    options: Options = None,
    format: Annotated[str, typer.Option(help="A type of source, as `convert` takes it.")] = "jsonl",
    limit: Limit = None,
    read: Annotated[bool, typer.Option("--read", help="Open every medium, not only look for its file.")] = False,
) -> None:
    """Count the routes and media of a data set, and what is missing or broken.

    \b
    anyx data info cc3m.jsonl
    anyx data info mosit.json root=media --format mosit --read
    """
    from anyx.data.native import Tally, media_of, open_source, records_of, route_of
    from anyx.media import MEDIA
    from anyx.media import read as read_media
    from anyx.yamls import parse

    tally, source = Tally(), open_source(format, given, parse(options or ()))
    routes: Counter[str] = Counter()
    media: Counter[str] = Counter()
    broken: dict[str, dict[str, str]] = {}
    seen: set[tuple[str, str]] = set()
    records = records_of(source, tally, check=False, limit=limit)
    for record in watched(records, min(len(source), limit or len(source)), str(given)):
        routes[route_of(record)] += 1
        for key, path in media_of(record):
            media[key] += 1
            if (key, path) in seen:
                continue
            seen.add((key, path))
            try:
                if read and key in MEDIA:
                    read_media(key, path)
                elif not Path(path).is_file():
                    raise ValueError("there is no such file")
            except ValueError as error:
                broken.setdefault(key, {})[path] = str(error)
    table = Table(box=None, header_style="bold")
    table.add_column("route")
    table.add_column("records", justify="right")
    for route, count in routes.most_common():
        table.add_row(route, f"{count:,}")
    console.print(table)
    for key, count in media.most_common():
        files = len([one for one, _ in seen if one == key])
        say(f"{key}: {count:,} in {files:,} files, {len(broken.get(key, {})):,} of them missing or broken")
    for paths in broken.values():
        for path, why in list(paths.items())[:3]:
            say(f"  {path}: {why}")
    summary(tally, given)


def check(
    config: Annotated[Path, typer.Argument(help="A YAML with `data`.")],
    overrides: options.Overrides = None,
    source: Annotated[list[str] | None, typer.Option("--source", "-s", help="Only this source; repeatable.")] = None,
    limit: Limit = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read; 0: this one.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A .jsonl for what is bad, a line a record.")] = None,
    strict: Strict = False,
) -> None:
    """Read every record of a YAML's sources, decode every medium, and count what a run would skip, by its fault.

    Faults: corrupt, missing, truncated, oversized (over the source's `limits`), zero-length, unfit (no record).

    \b
    anyx data check experiments/emoji/experiment.yaml --workers 2
    anyx data check my.yaml --source captions --limit 1000 --out bad.jsonl
    """
    from anyx.config import load
    from anyx.data.inspection import inspect
    from anyx.data.skipped import Report
    from anyx.data.sources import feed
    from anyx.faults import FAULTS
    from anyx.media import MEDIA
    from anyx.registry import resolve

    checked = load(config, overrides or ())
    nodes = {name: dict(node) for name, node in checked.data.items()}
    for stage in checked.stages.values():
        nodes |= {f"{stage.name}.{name}": dict(node) for name, node in stage.data.items() if isinstance(node, dict)}
    for name in source or ():
        if name not in nodes:
            raise ValueError(f"--source {name!r} is not one of {', '.join(nodes) or 'none'}")
    chosen = {name: nodes[name] for name in source or nodes}
    if not chosen:
        raise ValueError(f"{config}: it has no data to check")
    feeds = [
        feed(name, {key: value for key, value in node.items() if key != "weight"}) for name, node in chosen.items()
    ]
    named = {key: port.media or key for key, port in checked.inputs.items()}
    named |= {key: port.media or key for key, port in checked.outputs.items() if key not in named}
    kinds = {**MEDIA, **{key: resolve("media", kind) for key, kind in named.items()}}
    if out is not None:
        out.unlink(missing_ok=True)
    report = Report([feed.name for feed in feeds], strict=strict, file=out, kept=sys.maxsize)
    total = sum(len(feed.source) if limit is None else min(limit, len(feed.source)) for feed in feeds)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(str(config), total=total)
        for count in inspect(feeds, kinds, report, workers=workers, limit=limit):
            progress.advance(task, count)
    for number, one in enumerate(feeds):
        bad = ", ".join(f"{report.faults[number, fault]:,} {fault}" for fault in FAULTS if report.faults[number, fault])
        say(f"{one.name}: {report.tried[number]:,} records, {report.failed[number]:,} bad{': ' if bad else ''}{bad}")
        if bad:
            say(f"  e.g. {report.examples(number)}")


def pack(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help="A type of source: jsonl, captions, llava, ...")],
    given: Annotated[Path, typer.Argument(metavar="IN", help="The file in that format.")],
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder that receives 00000.tar, ...")],
    options: Options = None,
    size: Annotated[float, typer.Option(min=0.001, help="About how large a shard is, in MB.")] = 512.0,
    strict: Strict = False,
    limit: Limit = None,
) -> None:
    """Pack records and their media into tar shards in WebDataset's form, for `type: webdataset`.

    A disk reads few large files sooner than many small ones. Records whose media are not there are counted and skipped.

    \b
    anyx data pack jsonl chat.jsonl shards
    anyx data pack captions pairs.csv shards key=image root=images --size 256
    """
    from anyx.data.native import Tally, open_source, records_of
    from anyx.data.pack import Shelf
    from anyx.data.sources import UNREADABLE
    from anyx.yamls import parse

    tally, source = Tally(), open_source(format, given, parse(options or ()))
    shelf = Shelf(out, round(size * 1e6))
    records = records_of(source, tally, check=False, strict=strict, limit=limit)
    for record in watched(records, min(len(source), limit or len(source)), str(given)):
        try:
            shelf.add(record)
        except UNREADABLE as error:
            if strict:
                raise
            tally.skip(error)
    shelf.close()
    tally.written = shelf.written
    summary(tally, out)
    say(f"{shelf.shards:,} shards")


def dialogues(
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS", help="Pairs of media and captions.")],
    out: Output,
    options: Options = None,
    format: Annotated[str, typer.Option(help="A type of source, as `convert` takes it.")] = "nextgpt_pairs",
    templates: Annotated[
        Path | None, typer.Option(help="A YAML of templates; default: configs/data/dialogues.yaml.")
    ] = None,
    outputs: Annotated[list[str] | None, typer.Option(help="What may be asked for; default: all with words.")] = None,
    kinds: Annotated[list[str] | None, typer.Option(help="Kinds of dialogue; default: all, by their weights.")] = None,
    copies: Annotated[int, typer.Option(min=1, help="Dialogues a pair.")] = 1,
    seed: Annotated[int, typer.Option(help="One seed, one file.")] = 0,
    strict: Strict = False,
    limit: Limit = None,
    no_check: NoCheck = False,
) -> None:
    """Make instruction dialogues of caption pairs: describe, draw, draw from keywords, turn into, "now as a video".

    \b
    anyx data dialogues cc3m.json dialogues.jsonl root=images
    anyx data dialogues audiocaps.json out.jsonl.gz root=audios --outputs audio --copies 3 --seed 1
    anyx data dialogues my.csv out.jsonl key=image --format captions --kinds describe --templates mine.yaml
    """
    from anyx.data.builder import Templates, made_of
    from anyx.data.native import Tally, open_source, records_of, write
    from anyx.yamls import parse

    found = Templates.read(templates).only(kinds or (), outputs or ())
    tally, source = Tally(), open_source(format, pairs, parse(options or ()))
    records = records_of(source, tally, check=not no_check, strict=strict, limit=limit)
    records = watched(records, min(len(source), limit or len(source)), str(pairs))
    tally.written = write(made_of(records, found, tally, seed=seed, copies=copies, strict=strict), out)
    summary(tally, out)


def watched(records: Iterable[Any], total: int, title: str) -> Iterator[Any]:
    """The records, with a progress bar if someone watches."""
    yield from track(records, title, total, console=console, transient=True, disable=not console.is_terminal)


def summary(tally: Tally, place: Path) -> None:
    """Say what became of the records."""
    written = f", {tally.written:,} written to {place}" if tally.written else ""
    say(f"{tally.read:,} records read{written}, {tally.skipped:,} skipped")
    if tally.pathless:
        say(f"  {tally.pathless:,} media of the assistant are not there: their captions are kept")
    if tally.dropped:
        say(f"  {tally.dropped:,} marks name no file and were left out: records tell them under 'dropped'")
    for reason, count in tally.kinds.most_common(10):
        say(f"  {count:,}: {reason}")
    for text in tally.told:
        say(f"  e.g. {text}")


def say(text: str) -> None:
    """One line, as it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
