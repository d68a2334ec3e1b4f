"""What `anyx chat` does with a line: commands that begin with a slash, and turns; replies are shown as they come."""

from __future__ import annotations

import dataclasses
import signal
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyx.commands import options
from anyx.commands.options import console
from anyx.prompt import parts_of
from anyx.terminal import keeping, slashes
from anyx.terminal.lines import places
from anyx.terminal.sketches import Sketcher
from anyx.watching import Cancelled, Happening, Watch

if TYPE_CHECKING:
    from anyx.model import AnyX
    from anyx.reply import MediaEvent, TextEvent


class Conversation:
    """A session with the model, what is attached to the next message, and how replies are drawn and shown.

    `ask` asks the user for a line that begins as a draft; /edit without words wants it.
    """

    def __init__(
        self,
        model: AnyX,
        out: Path,
        seed: int,
        settings: Mapping[str, Any],
        *,
        sketcher: Sketcher | None = None,
        ask: Callable[[str, str], str] | None = None,
    ) -> None:
        self.model, self.out, self.seed = model, out, seed
        self.session = model.session(**settings)
        self.sketcher, self.ask = sketcher or Sketcher(), ask
        self.attached: list[dict[str, Any]] = []
        taken = [int(path.name[4:]) for path in out.glob("turn*") if path.name[4:].isdecimal()]
        self.turns = max(taken, default=-1) + 1  # folders are numbered by it, so that nothing is written twice
        self.asked: list[Any] = []  # the conversation that was last sent, whatever became of it
        self.drawn = seed  # by which seed
        self.watch = Watch()

    def commands(self) -> dict[str, Sequence[str] | None]:
        """What may stand after a slash, with the words that complete it; None: paths."""
        from anyx.ports import takes
        from anyx.sampling import RANGES

        names = [f"{key}.{name}=" for key, port in self.model.outputs.items() for name in takes(port.known)]
        plain = ("drop", "seed", "history", "edit", "retry", "what", "reset", "clear", "help", "quit")
        paths = dict.fromkeys((*self.model.inputs, "save", "load"))
        return {**paths, "set": [*(f"{name}=" for name in RANGES), *names], **dict.fromkeys(plain, ())}

    def command(self, line: str) -> bool:
        """Carry out a line that begins with a slash; False means: leave. ValueError for what cannot be done."""
        name, rest = slashes.parted(line)
        if name in ("drop", "reset", "history", "what"):
            slashes.alone(name, rest)
        if name == "quit":
            return False
        if name in self.model.inputs:
            self.attach(name, rest)
        elif name == "drop":
            note(f"dropped {len(self.attached)}")
            self.attached = []
        elif name == "reset":
            self.session.reset()
            self.attached, self.asked = [], []
        elif name == "seed":
            self.seed = slashes.number(name, rest)
        elif name == "set":
            self.set(rest)
        elif name == "history":
            note("\n".join(keeping.shown(self.session.messages)) or "nothing was said yet")
        elif name == "edit":
            number, _, words = rest.partition(" ")
            self.edit(number, words.strip())
        elif name == "retry":
            seed = slashes.number(name, rest, self.drawn + 1)
            if not self.asked:
                raise ValueError("/retry: nothing was said yet")
            self.answer(self.asked, seed)
        elif name == "what":
            note("\n".join(happened(self.watch)) or "there was no reply yet")
        elif name == "save":
            kept = keeping.Kept(self.session.messages, self.seed, self.session.sampling, dict(self.session.decode))
            note(str(keeping.save(slashes.folder(name, rest, self.out / "conversation"), kept)))
        elif name == "load":
            self.load(slashes.folder(name, rest))
        elif name == "help":
            note(slashes.HELP.format(key="|".join(self.model.inputs), output=next(iter(self.model.outputs), "output")))
        else:
            raise slashes.unknown(line, self.commands(), {key: port.kind for key, port in self.model.inputs.items()})
        return True

    def attach(self, key: str, rest: str) -> None:
        """Read files that go with the next message."""
        if not rest:
            raise ValueError(f"/{key}: the path of a file is missing, or of several, in quotes where one has blanks")
        kind = self.model.inputs[key].kind
        self.attached += [keeping.attached(key, kind, options.there(f"/{key}", path)) for path in places(rest)]
        note(f"attached {rest}")

    def say(self, text: str) -> None:
        """Send one user turn with what is attached and show the reply as it comes; one that fails is forgotten."""
        words = [{"type": "text", "text": text}] if text else []
        turn, self.attached = {"role": "user", "content": [*self.attached, *words]}, []
        self.answer([*self.session.messages, turn], self.seed)

    def edit(self, number: str, words: str) -> None:
        """Say other words in the place of the user's message of a number, media kept, and forget what came after."""
        users = [place for place, one in enumerate(self.session.messages) if one["role"] == "user"]
        if not users:
            raise ValueError("/edit: nothing was said yet")
        if not (number.isdecimal() and 1 <= int(number) <= len(users)):
            raise ValueError(f"/edit: {number!r} given; your messages are 1 to {len(users)}, /history shows them")
        place = users[int(number) - 1]
        parts = parts_of(self.session.messages[place])
        before = "".join(part["text"] for part in parts if part["type"] == "text")
        if not words and self.ask is not None:
            words = self.ask("edit> ", before).strip()
        media = [part for part in parts if part["type"] != "text"]
        turn = {"role": "user", "content": [*media, {"type": "text", "text": words or before}]}
        self.answer([*self.session.messages[:place], turn], self.seed)

    def set(self, rest: str) -> None:
        """`temperature=0.7 image.steps=20`; a value of null is the decoder's own again."""
        from anyx.ports import makings
        from anyx.sampling import RANGES
        from anyx.yamls import dotted

        sampling, decode = self.session.sampling, {key: dict(how) for key, how in self.session.decode.items()}
        for key, value in dotted(rest.split()).items():
            if key in RANGES:
                sampling = dataclasses.replace(sampling, **{key: value})
            elif key in self.model.outputs and isinstance(value, dict):
                made = {**decode.get(key, {}), **value}
                decode[key] = {name: one for name, one in made.items() if one is not None}
            else:
                allowed = ", ".join([*RANGES, *(f"{output}.NAME" for output in self.model.outputs)])
                raise ValueError(f"/set: {key!r} is not one of {allowed}")
        makings(decode, self.model.outputs)
        self.session.sampling, self.session.decode = sampling, decode
        shown = dataclasses.asdict(sampling) | {f"{k}.{n}": v for k, how in decode.items() for n, v in how.items()}
        note(" ".join(f"{name}={value}" for name, value in {"seed": self.seed, **shown}.items()))

    def load(self, folder: Path) -> None:
        """Go on with a conversation that /save wrote."""
        from anyx.ports import makings

        sent = {key: port.kind for key, port in self.model.inputs.items()}
        kept = keeping.load(
            folder, {"user": sent, "assistant": {k: port.kind for k, port in self.model.outputs.items()}}
        )
        makings(kept.decode, self.model.outputs)
        self.session.messages, self.seed = list(kept.messages), kept.seed
        self.session.sampling, self.session.decode = kept.sampling, kept.decode
        self.attached, self.asked = [], list(kept.messages[:-1])
        note("\n".join(keeping.shown(kept.messages)))

    def answer(self, asked: list[Any], seed: int) -> None:
        """Send a conversation and show the reply; nothing is changed where it fails or is stopped."""
        kept, self.asked, self.drawn = self.session.messages, asked, seed
        folder = self.out / f"turn{self.turns:03d}"
        self.turns += 1
        page = Page(self.sketcher, folder)
        self.watch = Watch(page.progress)
        try:
            with stopping(self.watch):
                for event in self.session.stream(asked, seed=seed, watch=self.watch):
                    page.show(event)
            page.close()
        except Cancelled:
            page.rest()
            self.session.messages = kept
            note("stopped; the message is forgotten, /retry sends it again")
        except KeyboardInterrupt:
            page.rest()
            self.session.messages = kept
            self.session.forget()  # it may be half read
            note("stopped at once; the message is forgotten, /retry sends it again")
        except Exception:
            page.rest()
            self.session.messages = kept
            raise


class Page:
    """A reply on the screen and in its folder: words as they come, media when they are there, with the file of each."""

    def __init__(self, sketcher: Sketcher, folder: Path) -> None:
        self.sketcher, self.folder = sketcher, folder
        self.events: list[TextEvent | MediaEvent] = []
        self.inside = False  # a line has begun

    def show(self, event: TextEvent | MediaEvent) -> None:
        """Words are written on; a medium is saved and gets lines of its own."""
        from anyx.reply import Reply, TextEvent

        self.events.append(event)
        if isinstance(event, TextEvent):
            self.write(plain(event.text))
            return
        path = self.folder / Reply.gather(self.events).names()[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        event.media.save(path)
        self.rest()
        if drawn := self.sketcher.draw(event.media):
            self.write(f"{drawn}\n")
        console.print(f"[{event.key}] {path}", style="cyan", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """End the last line, and write the words to files."""
        from anyx.reply import Reply

        self.rest()
        reply = Reply.gather(self.events)
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, part in zip(reply.names(), reply.parts, strict=True):
            if isinstance(part, str):
                (self.folder / name).write_text(part, encoding="utf-8")

    def progress(self, now: Happening) -> None:
        """How far a medium is, in a line that is wiped when it is there."""
        if now.part != "make" or not console.is_terminal:
            return
        self.rest()
        told = "" if now.finished else f"[{now.key}] {now.done}{f'/{now.total}' if now.total else ''}"
        console.file.write(f"\r\x1b[K{told}")
        console.file.flush()

    def write(self, text: str) -> None:
        """Letters at once; rich would break lines where none end."""
        console.file.write(text)
        console.file.flush()
        self.inside = not text.endswith("\n") if text else self.inside

    def rest(self) -> None:
        """Be at the beginning of a line."""
        if self.inside:
            self.write("\n")


def note(text: str) -> None:
    """Say something that is no reply."""
    console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def plain(text: str) -> str:
    """Words without what a terminal would obey: a model may have learnt escapes."""
    return "".join(letter for letter in text if letter in "\n\t" or unicodedata.category(letter) != "Cc")


def happened(watch: Watch) -> list[str]:
    """What a reply was made of: a line a part, with its amount and its seconds."""
    units = {"encode": "media", "read": "positions", "say": "tokens", "signal": "signal tokens", "make": "steps"}
    return [
        f"{one.start:7.2f} s  {one.part:<7}{one.key or '':<10}{one.amount:>5} {units[one.part]:<14}{one.seconds:8.3f} s"
        for one in watch.took()
    ]


@contextmanager
def stopping(watch: Watch) -> Iterator[None]:
    """Within the block Ctrl-C cancels the watch; a second one interrupts whatever runs, for what hears no watch."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        if watch.cancelled:
            raise KeyboardInterrupt
        watch.cancel()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
