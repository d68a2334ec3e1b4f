"""`anyx plan`: what a YAML's model weighs, what learns in which stage, and what each stage will take.

The model is built on the meta device, where no weight is read; components whose weights are not here are known by
`configs/published/sizes.yaml`. How the forecasts come about is said in `anyx/training/forecast.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from anyx.commands import options
from anyx.commands.options import console

if TYPE_CHECKING:
    from anyx.config import Config
    from anyx.model import AnyX
    from anyx.training.devices import Device
    from anyx.training.forecast import Once, Parts, Step

SECONDS = 10  # of the blank sound and video that encoders are asked with


def human(count: float, unit: str = "") -> str:
    """1234567 -> 1.23 M."""
    step, names = (1024.0, ("", "Ki", "Mi", "Gi", "Ti")) if unit == "B" else (1000.0, ("", " K", " M", " G", " T"))
    power = 0
    while count >= step and power < len(names) - 1:
        count, power = count / step, power + 1
    digits = "0" if power == 0 else "2" if count < 10 else "1" if count < 100 else "0"
    return f"{count:.{digits}f}{' ' if unit == 'B' else ''}{names[power]}{unit}"


def plan(
    config: Annotated[Path, typer.Argument(help="The YAML of a model, with or without stages.")],
    overrides: options.Overrides = None,
    length: Annotated[
        int, typer.Option(min=1, help="Tokens of a row, media tokens included; more where one medium has more.")
    ] = 256,
    supervised: Annotated[int | None, typer.Option(min=1, help="Tokens of a row that are learnt; half of it.")] = None,
    on: Annotated[
        str | None, typer.Option(help="A device: h200, h100, a100, l40s, v100, rtx4090, cpu ..., or here (measured).")
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="How many of them, each with the whole model.")] = 1,
    records: Annotated[
        int | None, typer.Option(min=1, help="Records of a stage, with one medium each; else its data are counted.")
    ] = None,
) -> None:
    """Count parameters, what learns in which stage, and the memory, disk and operations that stages take.

    No weight is read. Sizes of the published systems' components come with anyx; what ships inside a package is
    fetched first, as its sizes come with it. FLOP counts a multiply-add as two. `--on` says of a device how long a step
    and each stage take, whether they fit, and what to change where they do not.

    \b
    anyx plan configs/models/nextgpt.yaml --on h100 --records 500000
    anyx plan experiments/emoji/experiment.yaml llm.lora.r=64 --length 512 --on here
    """
    import torch

    from anyx.build import build
    from anyx.config import load
    from anyx.training.backbones import Backbones
    from anyx.training.devices import device

    place = None if on is None else device(on)
    checked = load(config, overrides or ())
    model = None
    if checked.llm is None:
        with torch.device("meta"):
            parts: Parts = Backbones.build(checked).parts()
    else:
        model = build(checked, meta=True)
        parts = model.parts()
        console.print(system(checked, parts), "")
    once = {} if model is None else preparing(model)
    length = max([length, *(medium.read for medium in once.values())])
    steps = {} if model is None else rehearsed(checked, model, length, supervised, once, place)
    console.print(stages(checked, parts, steps, length))
    if place is not None and steps:
        console.print("", outlook(checked, steps, once, place, devices, records))
    if once:
        console.print("", media(once))


def system(config: Config, parts: Parts) -> Table:
    """The shape of the system, as the figures of papers draw it: built here, and as its published files hold it."""
    from anyx import published
    from anyx.training.forecast import unique

    table = Table("component", Column("built", justify="right"), Column("published", justify="right"), box=None)

    def row(title: str, names: Sequence[str], path: object = None) -> None:
        count = sum(parameter.numel() for parameter in unique(parts, names))
        whole = published.beside(path, count) if count and path is not None else count
        if count:
            table.add_row(title, human(count), human(whole))

    paths: dict[object, list[str]] = {}
    for name, node in config.encoders.items():
        paths.setdefault(node.kwargs.get("path", name), []).append(name)
    for path, names in paths.items():
        row(f"encoders: {', '.join(names)}", [f"encoders.{name}" for name in names], path)
    row("input projectors", [name for name in parts if name.startswith("inputs.")])
    assert config.llm is not None
    row("LLM", ["llm.body"])
    row("LoRA", [name for name in parts if name == "llm.lora"])
    row("in the LLM's layers", [name for name in parts if name.startswith("llm.adapters.")])
    row("signal tokens", [name for name in parts if name == "llm.signal_tokens"])
    for key, port in config.outputs.items():
        row(f"output projector: {key}", [f"outputs.{key}.projector"])
        mine = [name for name in parts if name.startswith(f"outputs.{key}.decoder.")]
        row(f"decoder: {key}", mine, port.decoder.kwargs.get("path"))
    return table


def rehearsed(
    config: Config,
    model: AnyX,
    length: int,
    supervised: int | None,
    once: Mapping[str, Once],
    place: Device | None,
) -> dict[str, Step]:
    """One step of each stage."""
    from anyx.training import forecast

    heard = {key: medium.heard for key, medium in once.items()}
    native = place is None or place.half
    return {
        name: forecast.rehearse(model, stage, length, heard, supervised=supervised, native=native)
        for name, stage in config.stages.items()
    }


def stages(config: Config, parts: Parts, steps: Mapping[str, Step], length: int) -> Table:
    """Parts by stages: what learns, and what that takes."""
    from anyx.training import forecast
    from anyx.training.rehearsal import Memory
    from anyx.training.stage import select

    learning = {name: select(parts, stage.train).names for name, stage in config.stages.items()}
    table = Table(Column("part", overflow="fold"), box=None, header_style="bold")
    for title in ("parameters", *config.stages):
        table.add_column(title, justify="right" if title == "parameters" else "center")
    taught = {name: {id(p) for p in forecast.unique(parts, names)} for name, names in learning.items()}
    for part, parameters in parts.items():
        told = [bool(parameters) and all(id(p) in taught[name] for p in parameters) for name in config.stages]
        marks = ["[green]learns[/]" if learns else "[dim]frozen[/]" for learns in told]
        table.add_row(part, f"{sum(parameter.numel() for parameter in parameters):,}", *marks)
    everything = forecast.unique(parts, list(parts))
    trained = [sum(p.numel() for p in forecast.unique(parts, names)) for names in learning.values()]
    table.add_row("all", f"{sum(p.numel() for p in everything):,}", *(human(count) for count in trained), style="bold")
    if not config.stages:
        return table
    memories = [
        steps[name].memory if name in steps else forecast.at_rest(parts, stage) for name, stage in config.stages.items()
    ]
    for row, title in enumerate(Memory._fields):
        table.add_row(f"memory: {title}", "", *(human(memory[row], "B") for memory in memories))
    table.add_row("memory: sum (estimate)", "", *(human(sum(memory), "B") for memory in memories), style="bold")
    disks = [forecast.disk(parts, stage) for stage in config.stages.values()]
    table.add_row("disk: checkpoint", "", *(human(count, "B") for count in disks))
    if steps:
        counts = [human(step.operations, "FLOP") for step in steps.values()]
        table.add_row(f"a step, {length} tokens a row", "", *counts)
    return table


def outlook(
    config: Config,
    steps: Mapping[str, Step],
    once: Mapping[str, Once],
    place: Device,
    devices: int,
    records: int | None,
) -> Table:
    """Stages on a device: does it fit, how long, and what lies on the disk."""
    from anyx.training.budget import advice, amounts, budget

    count = f"{devices} x " if devices > 1 else ""
    table = Table(f"on {count}{place.name}, {human(place.memory, 'B')}", box=None, header_style="bold")
    cells: list[list[str]] = []
    for name, stage in config.stages.items():
        table.add_column(name, justify="center", overflow="fold")
        found = budget(stage, steps[name], place, amounts(stage, config, records), once, devices=devices)
        change = "; or ".join(advice(stage, steps[name].memory, place))
        fits = "[red]no[/]" if found.held > place.memory else "[green]yes[/]"
        times = [found.filling, found.seconds]
        cache = "?" if found.cache is None else human(found.cache, "B")
        whole = "?" if found.steps is None else f"{found.steps:,}"
        row = [human(found.held, "B"), fits, change, f"{found.step:.3g} s", whole, *map(lasting, times), cache]
        cells.append(row)
    titles = ("memory", "fits", "if not", "a step", "steps", "filling the cache", "whole stage", "disk: cache")
    for index, title in enumerate(titles):
        told = [row[index] for row in cells]
        if any(told):
            table.add_row(title, *told)
    return table


def lasting(seconds: float | None) -> str:
    """5400 -> 1.5 h; a question mark where nobody knows (`--records` would say)."""
    if seconds is None:
        return "?"
    return f"{seconds / 3600:.3g} h" if seconds >= 360 else f"{seconds:.3g} s"


def preparing(model: AnyX) -> dict[str, Once]:
    """What frozen encoders do once a medium, by key; of kinds of media that are not ours nobody knows an empty one."""
    from anyx.training import forecast

    blanks, processor = blank_media(), model.processor
    return {
        key: forecast.encode_once(model, key, transform(blanks[processor.kinds[key]]))
        for key, transform in processor.transforms.items()
        if processor.kinds[key] in blanks
    }


def media(once: Mapping[str, Once]) -> Table:
    """The same as a table."""
    titles = ("operations", "kept on disk", "tokens in a row")
    table = Table("once a medium", *(Column(title, justify="right") for title in titles), box=None)
    for key, medium in once.items():
        table.add_row(f"inputs.{key}", human(medium.operations, "FLOP"), human(medium.kept, "B"), f"{medium.read:,}")
    return table


def blank_media() -> Mapping[type, Any]:
    """A medium of each class with nothing in it, to ask encoders with."""
    import torch

    from anyx.media import Audio, Image, Series, Video

    black = torch.zeros(3, 64, 64, dtype=torch.uint8)
    return {
        Image: Image(black),
        Audio: Audio(torch.zeros(1, SECONDS * 16000), 16000),
        Video: Video(black.expand(SECONDS, -1, -1, -1), fps=1.0),
        Series: Series(torch.zeros(6, SECONDS * 400), rate=400.0),
    }
