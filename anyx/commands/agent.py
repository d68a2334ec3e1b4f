"""`anyx agent`: a model with tools answers; each step is printed as it happens, and all of them are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anyx.commands import options
from anyx.commands.options import console

if TYPE_CHECKING:
    from anyx.agents.steps import Step

COLOURS = {"thought": "dim", "action": "cyan", "result": "green", "error": "red", "stop": "red", "value": "bold"}


def agent(
    setup: Annotated[
        Path, typer.Argument(help="A YAML that names style, model, tools and bounds; see docs/agents.md.")
    ],
    prompt: Annotated[str, typer.Argument(help="The words of the request.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[a.b=c]...", help="Values that replace the YAML's, e.g. bounds.turns=3 style=react."),
    ] = None,
    image: Annotated[list[Path] | None, typer.Option(help="A picture it is about; repeatable.")] = None,
    audio: Annotated[list[Path] | None, typer.Option(help="A sound it is about; repeatable.")] = None,
    video: Annotated[list[Path] | None, typer.Option(help="A clip it is about; repeatable.")] = None,
    out: options.Out = Path("out/agent"),
    device: options.Device = None,
) -> None:
    """Let a model use tools: it thinks, calls them, is told what they say, and answers.

    Ends with 1 where a bound was met before there was an answer.

    \b
    anyx agent agent.yaml "What is 12 * (3 + 4)?"
    anyx agent agent.yaml --image park.jpg "How many dogs are there?" --out out/dogs
    anyx agent agent.yaml --image park.jpg "Which region is the dog?" style=marks segmenter=models/sam
    anyx agent agent.yaml --image park.jpg "Make it night." bounds.turns=3 bounds.seconds=60

    \b
    style: llava_plus          # react for a model that reads words alone; marks numbers the regions of one picture
    teach: true                # tell a model that was not trained on it of the form and of the tools
    model: runs/emoji          # or {type: causal, path: a transformers LLM}, {type: http, url: ..., name: ...}
    tools:
      detect: {type: detector, path: models/grounding-dino}
      segment: {type: segmenter, path: models/sam}
      ocr: {type: ocr, path: models/trocr}
      draw: {type: generator, path: models/stable-diffusion}
      edit: {type: editor, path: models/instruct-pix2pix}
      calculator: {type: calculator}
      far: {type: remote, url: "http://127.0.0.1:8800"}    # of `anyx worker tools.yaml`
      own: {type: "mine.py:function"}                      # its signature and docstring are what the model is told
    """
    from functools import partial

    from anyx import media, yamls
    from anyx.agents import setup as setups
    from anyx.agents.steps import Trace
    from anyx.serving import tool_client as remote
    from anyx.serving.intake import Intake

    raw = yamls.read(setup, overrides or ())
    setups.check(raw)
    pairs = options.named_paths({"image": image, "audio": audio, "video": video}, None)
    given = [media.read(kind, path) for kind, path in pairs]
    trace = Trace()
    with Intake() as intake:
        with console.status(f"reading what {setup} names"):
            made = setups.agent(raw, remote=partial(remote.remote, intake), device=options.pick_device(device))
        for step in made.run(prompt, given):
            trace.hear(step)
            show(step)
    for path in trace.save(out):
        console.print(str(path), style="cyan", markup=False, highlight=False)
    if trace.value is None:
        raise typer.Exit(1)


def show(step: Step) -> None:
    """One step on the terminal; pieces of words and the question stand in what follows or went before."""
    if step.kind in ("asked", "words"):
        return
    took = f" ({step.seconds:.2f} s)" if step.seconds else ""
    console.print(f"{step.kind:>8}{took}  ", style="dim", end="", markup=False, highlight=False)
    console.print(step.text, style=COLOURS[step.kind], markup=False, highlight=False, soft_wrap=True)
