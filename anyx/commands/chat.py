"""`anyx chat`: a conversation in the terminal; text streams, media land in files as they finish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from anyx.commands import options
from anyx.commands.options import console

if TYPE_CHECKING:
    from anyx.interfaces import Media
    from anyx.model import AnyX

HELP = """\
words             send them, with whatever is attached
/{key} PATH       attach a file to the next message
/seed N           the noise of the next replies starts at N
/reset            forget the conversation
/quit             leave (or Ctrl-D)"""


class Conversation:
    """A session with the model, what is attached to the next message, and how replies are drawn."""

    def __init__(self, model: AnyX, out: Path, seed: int, settings: dict[str, Any]) -> None:
        self.model, self.out, self.seed = model, out, seed
        self.session = model.session(**settings)
        self.attached: list[tuple[str, Media]] = []
        self.turns = 0  # ever said: folders are numbered by it, so that nothing is written twice

    def command(self, line: str) -> bool:
        """Carry out a line that begins with a slash; False means: leave. ValueError for a file that cannot be read."""
        name, _, rest = line[1:].partition(" ")
        rest = rest.strip()
        if name in ("quit", "exit"):
            return False
        if name == "reset":
            self.session.reset()
            self.attached = []
        elif name == "seed" and rest.isdecimal():
            self.seed = int(rest)
        elif name in self.model.inputs and rest:
            path = options.there(f"/{name}", Path(rest).expanduser())
            self.attached.append((name, self.model.inputs[name].kind.read(path)))
            console.print(f"attached {rest}", style="dim", markup=False)
        else:
            console.print(HELP.format(key="|".join(self.model.inputs)), style="dim", markup=False, highlight=False)
        return True

    def say(self, text: str) -> None:
        """Send one user turn with what is attached and print the reply as it comes; one that fails is forgotten."""
        from anyx.reply import MediaEvent, Reply, TextEvent

        turn = options.user_turn(text, self.attached, list(self.model.inputs))
        self.attached = []
        events: list[TextEvent | MediaEvent] = []
        folder, kept = self.out / f"turn{self.turns:03d}", self.session.messages
        self.turns += 1
        try:
            for event in self.session.stream(turn, seed=self.seed):
                events.append(event)
                if isinstance(event, TextEvent):
                    console.print(event.text, end="", markup=False, highlight=False)
                else:
                    console.print(f"[{event.key}]", end="", style="cyan", markup=False, highlight=False)
            console.print()
            for path in Reply.gather(events).save(folder):
                console.print(str(path), style="cyan", markup=False, highlight=False)
        except (ValueError, OSError):
            self.session.messages = kept
            raise


def chat(
    overrides: options.ModelOverrides = None,
    model: options.ModelFolder = options.MODEL,
    out: options.Out = Path("out/chat"),
    seed: options.Seed = 0,
    max_new_tokens: options.MaxTokens = 256,
    temperature: options.Temperature = 0.0,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    decode: options.Decode = None,
    device: options.Device = None,
) -> None:
    """Talk with a model in the terminal.

    \b
    anyx chat
    you> /image cow.png
    you> What is this? Say it aloud.
    """
    loaded = options.load_model(model, device, overrides)
    settings = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "decode": options.decode_options(list(loaded.outputs), steps, guidance, decode),
    }
    conversation = Conversation(loaded, out, seed, settings)
    console.print(
        f"reads text, {', '.join(loaded.inputs)}; makes text, {', '.join(loaded.outputs)}; /help lists the commands",
        style="dim",
    )
    with loaded.merged():
        talk(conversation)


def talk(conversation: Conversation) -> None:
    """Carry out and send lines until there are no more."""
    while True:
        try:
            line = typer.prompt("you", prompt_suffix="> ").strip()
        except (EOFError, typer.Abort):
            return
        try:
            if line.startswith("/"):
                if not conversation.command(line):
                    return
            elif line:
                conversation.say(line)
        except (ValueError, OSError) as error:  # a typing mistake or a full disk must not end the conversation
            console.print(f"error: {error}", style="red", markup=False, highlight=False)
