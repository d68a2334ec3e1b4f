"""`anyx chat`: a conversation in the terminal; text streams, media are shown or land in files as they finish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anyx.commands import loading, options
from anyx.commands.options import console

if TYPE_CHECKING:
    from anyx.commands.conversation import Conversation
    from anyx.terminal.lines import Lines


def chat(
    place: Annotated[
        str,
        typer.Argument(
            metavar="[MODEL]", help="As --model: a folder written by training or save_pretrained, or a Hub id."
        ),
    ] = "",
    overrides: options.ModelOverrides = None,
    model: Annotated[Path | None, typer.Option("--model", "-m", help="The same, as `anyx run` takes it.")] = None,
    out: options.Out = Path("out/chat"),
    seed: options.Seed = 0,
    max_new_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    repetition_penalty: options.RepetitionPenalty = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    decode: options.Decode = None,
    graphics: Annotated[
        str,
        typer.Option(
            help="How pictures are shown: auto (the terminal is asked), kitty, iterm, sixel, blocks (letters in "
            "colours) or none (their files alone)."
        ),
    ] = "auto",
    history: Annotated[bool, typer.Option(help="Remember typed lines for the next run, in the cache folder.")] = True,
    device: options.Device = None,
    dtype: loading.DTypeOption = None,
    offload: loading.OffloadOption = None,
    quantize: loading.QuantizeOption = None,
) -> None:
    """Talk with a model in the terminal.

    \b
    anyx chat
    anyx chat runs/emoji --temperature 0.7
    you> /image cow.png
    you> What is this? Say it aloud.
    you> /help

    Ctrl-C stops a reply, Ctrl-D leaves. The tab key completes commands and paths.
    """
    from anyx import packaged
    from anyx.commands.conversation import Conversation
    from anyx.terminal import asking, sketches
    from anyx.terminal.lines import Lines

    asked = asking.known(graphics)
    named, values = options.first_word(place, "", overrides)
    if named and model is not None:
        raise ValueError(f"two models were named, {named} and --model {model}; one is talked with")
    folder = Path(named) if named else model or options.MODEL
    loaded = loading.load_model(folder, loading.Loading(device, dtype, offload, quantize), values)
    settings = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "repetition_penalty": repetition_penalty,
        "decode": options.decode_options(list(loaded.outputs), steps, guidance, decode),
    }
    conversation = Conversation(loaded, out, seed, settings, sketcher=sketches.here(asked))
    lines = Lines(conversation.commands(), packaged.home() / "chat_history" if history else None)
    conversation.ask = lines.ask
    console.print(
        f"reads text, {', '.join(loaded.inputs)}; makes text, {', '.join(loaded.outputs)}; /help lists the commands",
        style="dim",
    )
    try:
        with loaded.merged():
            talk(conversation, lines)
    finally:
        lines.keep()


def talk(conversation: Conversation, lines: Lines) -> None:
    """Carry out and send lines until there are no more; an error costs its line alone."""
    while True:
        try:
            line = lines.ask("you> ").strip()
        except EOFError:
            console.print()
            return
        except KeyboardInterrupt:  # what was typed is not wanted
            console.print()
            continue
        try:
            if line.startswith("/"):
                if not conversation.command(line):
                    return
            elif line or conversation.attached:
                conversation.say(line)
        except (EOFError, KeyboardInterrupt):  # while something was asked
            console.print()
        except Exception as error:  # a typing mistake, a full disk or a full GPU must not end the conversation
            console.print(f"error: {error or type(error).__name__}", style="red", markup=False, highlight=False)
