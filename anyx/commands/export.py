"""`anyx export`: a model's stage graph for engines that run each stage on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyx.commands import options
from anyx.commands.options import console


def export(
    config: Annotated[Path, typer.Argument(help="The YAML of a model, or a model folder.")],
    out: Annotated[Path, typer.Argument(help="A folder for pipeline.py and deploy.yaml.")],
    overrides: options.Overrides = None,
    name: Annotated[str | None, typer.Option(help="What the pipeline is called; default: the model's name.")] = None,
) -> None:
    """Write the stages of a model as vLLM-Omni describes them; no weight is read.

    The LLM is stage 0, each decoder a diffusion stage behind it. The files say what runs where and what crosses; the
    function that crosses (states at signal tokens -> conditions, `AnyX.condition`) is written for an engine's version.

    \b
    anyx export experiments/emoji/model out/omni
    anyx export configs/models/nextgpt.yaml out/omni --name nextgpt
    """
    from anyx.commands.serve import called
    from anyx.config import load
    from anyx.serving import omni

    path = config / "config.yaml" if config.is_dir() else config
    title = name or (called(config) if config.is_dir() else config.stem)
    graph = omni.stages(load(path, overrides or ()))
    out.mkdir(parents=True, exist_ok=True)
    for file, text in (("pipeline.py", omni.pipeline(title, graph)), ("deploy.yaml", omni.deploy(title, graph))):
        (out / file).write_text(text, encoding="utf-8")
        console.print(str(out / file), style="cyan", markup=False, highlight=False)
    for stage in graph:
        reads = f" <- {', '.join(graph[source].name for source in stage.reads)}" if stage.reads else ""
        console.print(f"{stage.number} {stage.name} ({stage.runs}){reads} -> {stage.gives}", highlight=False)
