"""`anyx run`: one request, one reply, its media in files."""

from pathlib import Path
from typing import Annotated

import typer

from anyx.commands import options
from anyx.commands.options import console


def run(
    prompt: Annotated[str, typer.Argument(help="The words of the request.")] = "",
    overrides: options.ModelOverrides = None,
    image: Annotated[list[Path] | None, typer.Option(help="A picture to read; repeatable.")] = None,
    audio: Annotated[list[Path] | None, typer.Option(help="A sound or speech file to read; repeatable.")] = None,
    video: Annotated[list[Path] | None, typer.Option(help="A clip to read; repeatable.")] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", help="key=path, for any other input of the model; repeatable.")
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
    anyx run --model configs/models/llava15_hf.yaml --image cow.png "What is this?"
    """
    words, values = options.first_word(prompt, "", overrides)
    media = options.named_paths({"image": image, "audio": audio, "video": video}, inputs)
    loaded = options.load_answering(model, device, values)
    turn = options.user_turn(words, media, list(loaded.inputs))
    reply = loaded.chat(
        [turn],
        seeds=seed,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        decode=options.decode_options(list(loaded.outputs), steps, guidance, decode),
    )
    if reply.text:
        console.print(reply.text, markup=False, highlight=False)
    for path in reply.save(out):
        console.print(str(path), style="cyan", markup=False, highlight=False)
