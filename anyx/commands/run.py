"""`anyx run`: one request, one reply, its media in files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anyx.commands import options
from anyx.commands.options import console

if TYPE_CHECKING:
    from anyx.interfaces import Media


def run(
    prompt: Annotated[str, typer.Argument(help="The words of the request.")] = "",
    overrides: options.ModelOverrides = None,
    image: Annotated[list[Path] | None, typer.Option(help="A picture to read; repeatable.")] = None,
    audio: Annotated[list[Path] | None, typer.Option(help="A sound or speech file to read; repeatable.")] = None,
    video: Annotated[list[Path] | None, typer.Option(help="A clip to read; repeatable.")] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", help="key=path, for any other input of the model; repeatable.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="What is asked for, as the model's template knows it: vqa, grounding, refer, ...")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X0,Y0,X1,Y1",
            help="A box of the picture, in pixels, where {box} stands in the words, or at their end; repeatable.",
        ),
    ] = None,
    model: options.ModelFolder = options.MODEL,
    out: options.Out = Path("out"),
    seed: options.Seed = 0,
    max_new_tokens: options.MaxTokens = 128,
    temperature: options.Temperature = 0.0,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    decode: options.Decode = None,
    device: options.Device = None,
) -> None:
    """Answer one request: text, pictures, sound and clips in and out.

    \b
    anyx run "Draw a penguin." --out out/
    anyx run --image cow.png "What is this? Say it aloud."
    anyx run --audio moo.wav --seed 7 "Show me what this is, moving."
    anyx run "Draw a penguin." --decode image.guidance=3 --decode image.steps=30
    anyx run "Draw a penguin." outputs.image.decoder.guidance=3
    anyx run --audio moo.wav outputs.image.decoder.steps=5
    anyx run -m models/minigpt_v2 --image farm.jpg --task refer "the cow"
    anyx run -m models/minigpt_v2 --image farm.jpg --task identify --box 10,20,110,220 "what is this {box}"
    anyx run --model configs/models/llava15_hf.yaml --image cow.png "What is this?"

    Boxes in the answer are written to boxes.json, in pixels, and drawn on the picture, boxes.png.
    """
    from anyx.commands import boxes
    from anyx.model import AnyX

    words, values = options.first_word(prompt, "", overrides)
    media = options.named_paths({"image": image, "audio": audio, "video": video}, inputs)
    loaded = options.load_answering(model, device, values)
    places = boxes.numbers(box or ())
    config = loaded.config if isinstance(loaded, AnyX) else None
    ground = boxes.ground_of(config.inputs if config else {}, media, places)
    words = boxes.with_boxes(words, places, ground)
    if task and not isinstance(loaded, AnyX):
        raise ValueError("--task: a whole model of transformers has its own prompts; write the task into the words")
    words = loaded.processor.prompt.template.asked(task, words) if task and isinstance(loaded, AnyX) else words
    sent: list[tuple[str, Path | Media]] = [*media]
    if ground and ground.image:
        sent[ground.number] = (media[ground.number][0], ground.image)
    turn = options.user_turn(words, sent, list(loaded.inputs))
    reply = loaded.chat(
        [turn],
        seeds=seed,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        decode=options.decode_options(list(loaded.outputs), steps, guidance, decode),
    )
    if reply.text:
        console.print(reply.text, markup=False, highlight=False)
    files, malformed = boxes.save(ground, reply.text, out) if ground else ([], 0)
    if malformed:
        console.print(f"{malformed} boxes of the answer are malformed", style="yellow", highlight=False)
    for path in [*reply.save(out), *files]:
        console.print(str(path), style="cyan", markup=False, highlight=False)
