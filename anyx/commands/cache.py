"""`anyx cache`: what frozen encoders, text encoders and autoencoders computed once, for all runs on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track
from rich.table import Column, Table

from anyx.commands import options
from anyx.commands.options import console
from anyx.commands.plan import human

if TYPE_CHECKING:
    from anyx.data.cache import FeatureCache

DAY, UNITS = 86400.0, {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
Folder = Annotated[
    Path | None, typer.Option("--folder", help="The cache's folder; default: features in ANYX_HOME (~/.cache/anyx).")
]
Stages = Annotated[list[str] | None, typer.Option("--stage", "-s", help="Only of this stage; repeatable.")]


def group() -> typer.Typer:
    """The commands under `anyx cache`."""
    app = typer.Typer(
        no_args_is_help=True,
        help="Fill, look at, check and thin out the cache of features. COMMAND --help shows examples.",
    )
    for command in (build, info, verify, gc):
        app.command()(command)
    return app


def build(
    config: Annotated[Path, typer.Argument(help="A YAML with `stages`.")],
    overrides: options.Overrides = None,
    stage: Stages = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read media; default: one a CPU core, 8 at most.")
    ] = None,
    device: options.Device = None,
    folder: Folder = None,
) -> None:
    """Compute what the stages of a YAML will look up, before any run: features, captions' encodings, latents.

    It may be stopped and started again, and be run while others read and write the same cache. What a stage trains is
    not kept, nor what an earlier stage trains, before that has run; nor where media are augmented without end.

    \b
    anyx cache build experiments/emoji/experiment.yaml
    anyx cache build mine.yaml --stage encode --workers 8 stages.encode.cache=bfloat16
    """
    import torch

    from anyx.config import load
    from anyx.training.precompute import precompute, wishes
    from anyx.training.run import place_of

    kind, index = place_of(device or "auto")
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if kind == "auto" else kind
    place = torch.device(kind, index[0]) if isinstance(index, list) else torch.device(kind)
    cache = opened(folder)
    before, began = len(cache), time.monotonic()
    for wish in wishes(load(config, overrides or ()), cache, place, stage or None):
        precompute(wish, cache, place, min(8, os.cpu_count() or 1) if workers is None else workers)
        console.print(f"{wish.stage.name}: {len(cache):,} entries", highlight=False)
    console.print(
        f"[green]done[/green] {len(cache) - before:,} new in {time.monotonic() - began:.0f} s, {cache.folder}"
    )


def info(folder: Folder = None) -> None:
    """Say what the cache holds: entries, bytes and shards by kind and by the component that made them.

    \b
    anyx cache info
    anyx cache info --folder shared/features
    """
    from anyx.data.upkeep import holdings

    cache = opened(folder, read_only=True)
    right = [Column(name, justify="right") for name in ("entries", "shards", "bytes", "newest")]
    table = Table("kind", "made by", *right, box=None)
    every = holdings(cache)
    for one in every:
        newest = time.strftime("%Y-%m-%d", time.localtime(one.newest))
        maker = one.maker[:12] or "an older version"
        table.add_row(one.kind or "?", maker, f"{one.entries:,}", f"{one.shards:,}", human(one.bytes, "B"), newest)
    total = sum(one.bytes for one in every)
    table.add_row("all", "", f"{len(cache):,}", f"{sum(one.shards for one in every):,}", human(total, "B"), "")
    console.print(table)
    kinds = cache.ask(lambda index: index.dtypes())
    said = ", ".join(f"{name} {count:,}" for name, count in sorted(kinds.items()))
    console.print(f"numbers: {said or 'none'}\n{cache.folder}", highlight=False)


def verify(
    folder: Folder = None,
    fix: Annotated[bool, typer.Option("--fix", help="Remove what is damaged, and make the index anew.")] = False,
) -> None:
    """Read every shard and hold it against what was written; what is damaged is named, and the command then fails.

    \b
    anyx cache verify
    anyx cache verify --fix
    """
    from anyx.data.upkeep import verify as check

    cache = opened(folder, read_only=not fix)
    bad = check(cache, fix=fix, watch=lambda names: watched(names, "shards"))
    for reason in bad.values():
        console.print(f"[red]damaged[/red] {reason}", highlight=False)
    if bad and not fix:
        raise ValueError(f"{len(bad)} shards are damaged; --fix removes them, and runs compute anew what they held")
    console.print(f"[green]ok[/green] {len(cache):,} entries{f', {len(bad)} shards removed' if bad else ''}")


def gc(
    keep: Annotated[
        list[Path] | None, typer.Option("--keep", help="Keep what the stages of this YAML look up; repeatable.")
    ] = None,
    older_than: Annotated[float | None, typer.Option(min=0, help="Only what was written so many days ago.")] = None,
    max_size: Annotated[str | None, typer.Option(help="Only so much that the rest is no larger: 500M, 20G.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    folder: Folder = None,
) -> None:
    """Remove what is not wanted any more, the oldest first, and join small shards. Not while a run reads the cache.

    What --keep names stays in any case. Alone it removes all else; with --older-than or --max-size only of that.
    Features of parts that an earlier stage trains cannot be known by a YAML, and are not kept by it.

    \b
    anyx cache gc --older-than 30 --dry-run
    anyx cache gc --max-size 20G --keep experiments/emoji/experiment.yaml
    anyx cache gc --keep one.yaml --keep other.yaml
    """
    import torch

    from anyx.config import load
    from anyx.data.upkeep import sweep
    from anyx.training.precompute import wanted, wishes

    if keep is None and older_than is None and max_size is None:
        raise ValueError("say what may go: --keep CONFIG (all else), --older-than DAYS or --max-size SIZE")
    cache, place = opened(folder, read_only=dry_run), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    stays = None
    if keep is not None:
        stays = {name for path in keep for wish in wishes(load(path), cache, place) for name in wanted(wish)}
    swept = sweep(
        cache,
        keep=stays,
        older=None if older_than is None else older_than * DAY,
        size=None if max_size is None else bytes_of(max_size),
        dry_run=dry_run,
        watch=lambda names: watched(names, "shards"),
    )
    verb = "would go" if dry_run else "are gone"
    console.print(f"{swept.entries:,} entries {verb}, {human(swept.bytes, 'B')}; {len(cache):,} are here")


def opened(folder: Path | None, *, read_only: bool = False) -> FeatureCache:
    """The user's cache, or the one in a folder that must be there."""
    from anyx.data.cache import FeatureCache
    from anyx.packaged import home

    place = folder or home() / "features"
    if folder is not None and not folder.is_dir():
        raise ValueError(f"--folder: {folder} is no folder")
    place.mkdir(parents=True, exist_ok=True)
    return FeatureCache(place, read_only=read_only)


def bytes_of(size: str) -> int:
    """20G -> bytes."""
    number, unit = size.upper().removesuffix("B").removesuffix("I"), ""
    if number and number[-1] in UNITS:
        number, unit = number[:-1], number[-1]
    try:
        return int(float(number) * UNITS[unit])
    except ValueError:
        raise ValueError(f"--max-size: {size!r} is no size such as 500M, 20G or 1.5T") from None


def watched(items: Collection[str], title: str) -> Iterable[str]:
    """The items, with a progress bar if someone watches."""
    return track(items, title, len(items), console=console, disable=not console.is_terminal, transient=True)
