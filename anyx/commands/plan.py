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
    from anyx.training.forecast import Once, Parts

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
) -> None:
    """Count parameters, what learns in which stage, and the memory, disk and operations that stages take.

    No weight is read. Sizes of the published systems' components come with anyx; what ships inside a package is
    fetched first, as its sizes come with it. FLOP counts a multiply-add as two.

    \b
    anyx plan configs/models/nextgpt.yaml
    anyx plan experiments/emoji/experiment.yaml llm.lora.r=64 --length 512
    """
    import torch

    from anyx.build import build
    from anyx.config import load
    from anyx.training.backbones import Backbones

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
    console.print(stages(checked, parts, model, max([length, *(medium.read for medium in once.values())]), once))
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


def stages(config: Config, parts: Parts, model: AnyX | None, length: int, once: Mapping[str, Once]) -> Table:
    """Parts by stages: what learns, and what that takes."""
    from anyx.training import forecast
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
    shape = None if model is None else forecast.shape_of(model.llm)
    heard = {key: medium.heard for key, medium in once.items()}
    memories = []
    for stage in config.stages.values():
        beside = 0 if model is None else forecast.kept_beside(model, stage, heard)
        memories.append(forecast.memory(parts, stage, shape, length, beside=beside))
    for row, title in enumerate(forecast.Memory._fields):
        table.add_row(f"memory: {title}", "", *(human(memory[row], "B") for memory in memories))
    table.add_row("memory: sum (estimate)", "", *(human(sum(memory), "B") for memory in memories), style="bold")
    disks = [forecast.disk(parts, stage) for stage in config.stages.values()]
    table.add_row("disk: checkpoint", "", *(human(count, "B") for count in disks))
    if model is not None:
        steps = [forecast.step(model, stage, length, heard) for stage in config.stages.values()]
        table.add_row(f"a step, {length} tokens a row", "", *(human(count, "FLOP") for count in steps))
    return table


def preparing(model: AnyX) -> dict[str, Once]:
    """What frozen encoders do once a medium, by key."""
    from anyx.training import forecast

    blanks, processor = blank_media(), model.processor
    return {
        key: forecast.encode_once(model, key, transform(blanks[processor.kinds[key]]))
        for key, transform in processor.transforms.items()
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
