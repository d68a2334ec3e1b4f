"""Who talks with the web demo: a session of the model each, none sees another's, and only so many are remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyx.interfaces import Media
from anyx.model import AnyX
from anyx.prompt import Message
from anyx.reply import Reply
from anyx.serving.web_shelf import Shelf
from anyx.speaking.features import Features
from anyx.speaking.making import Maker
from anyx.speaking.session import Session
from anyx.watching import Watch


@dataclass
class Turn:
    """What a visitor said, how it was to be answered, and what came of it: a reply, or one line of why there is none.

    `settings` are those the reply was made with, `watch` is what was heard of it.
    """

    message: Message
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    reply: Reply | None = None
    error: str = ""
    stopped: bool = False
    watch: Watch | None = None

    @property
    def parts(self) -> list[str | Media]:
        """What the visitor said: words, and media that have been read."""
        return [part["text"] if part["type"] == "text" else part["media"] for part in self.message["content"]]

    @property
    def answered(self) -> bool:
        """Whether there is a reply, or at least its beginning."""
        return self.reply is not None and bool(self.reply.parts)

    @property
    def messages(self) -> list[Message]:
        """What goes on of it: the message and its reply, or nothing."""
        return [self.message, self.reply.message()] if self.reply is not None and self.reply.parts else []


class Guest:
    """One visitor: their turns, their session of the model, their files; `busy` while a reply is made, in any tab."""

    def __init__(self, begin: Callable[[], Session], shelf: Shelf) -> None:
        self.begin, self.session, self.shelf = begin, begin(), shelf
        self.turns: list[Turn] = []
        self.busy = threading.Lock()
        self.watch: Watch | None = None  # of the reply that is being made
        self.acting: Watch | None = None  # of what an agent does
        self.ground: Media | None = None  # the picture of the grounding tab
        self.corner: tuple[float, float] | None = None  # of a box that is half drawn there

    def conversation(self, until: int) -> list[Message]:
        """The turns before number `until` that were answered."""
        return [message for turn in self.turns[:until] for message in turn.messages]

    def begins(self) -> bool:
        """Whether a reply may be made now, and no other until `ends`; one that is being stopped has five seconds."""
        watch = self.watch
        return self.busy.acquire(timeout=5 if watch is not None and watch.cancelled else 0)

    def ends(self) -> None:
        """The reply is made, or never will be."""
        self.watch = None
        self.busy.release()

    def stop(self) -> None:
        """End the reply that is being made, if there is one."""
        watch = self.watch
        if watch is not None:
            watch.cancel()

    def leave(self) -> None:
        """Forget everything of this visitor."""
        self.stop()
        if self.acting is not None:
            self.acting.cancel()
        self.turns = []
        self.ground = self.corner = None
        self.session = self.begin()  # the old one may still be at work on what is being stopped
        self.shelf.clear()


class Guests:
    """At most `most` visitors by their names; who was away longest is forgotten for a new one."""

    def __init__(self, model: AnyX, maker: Maker, root: Path, *, most: int = 32) -> None:
        if most < 1:
            raise ValueError(f"--max-sessions: {most} given; it is 1 or more")
        self.model, self.maker, self.root, self.most = model, maker, root, most
        self.features = Features()
        self._known: OrderedDict[str, Guest] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def session(self) -> Session:
        """A new session; what media were encoded to is shared by all."""
        return self.model.session(features=self.features, maker=self.maker)

    def of(self, name: str) -> Guest:
        """The visitor of a name, known or new."""
        gone = []
        with self._lock:
            if name not in self._known:
                self._known[name] = Guest(self.session, Shelf(self.root))
                while len(self._known) > self.most:
                    gone.append(self._known.popitem(last=False)[1])
            self._known.move_to_end(name)
            guest = self._known[name]
        for one in gone:
            one.leave()
        return guest

    def leave(self, name: str) -> None:
        """Forget a visitor."""
        with self._lock:
            guest = self._known.pop(name, None)
        if guest is not None:
            guest.leave()
