"""`anyx data`: other people's files to native JSON lines, what such a file holds, dialogues made of captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track
from rich.table import Table

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
    for command in (convert, info, dialogues):
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
    skipped. Where a medium that the assistant shows is
    missing, its caption is kept.

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
