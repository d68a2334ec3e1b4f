"""A reply as it comes: made in a thread of its own, told as drafts that a page can show one after another."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple

from anyx.prompt import Message
from anyx.reply import MediaEvent, Reply, TextEvent
from anyx.speaking.session import Session
from anyx.watching import Happening, Watch

PAUSE = 0.1  # seconds between two drafts
BAR = 10  # pieces of a bar of progress
DOING = {"encode": "reading {key}", "read": "reading", "say": "", "signal": "asking for {key}", "make": "making {key}"}


class Draft(NamedTuple):
    """What there is of a reply, and one line of what is being done."""

    reply: Reply
    doing: str


class Answer:
    """A reply of a session to a conversation; iterate for its drafts, the last of which is whole.

    `watch` hears of it and stops it: then, as where it cannot be made, iterating raises what it ended in.
    """

    def __init__(self, session: Session, conversation: Sequence[Message], seed: int) -> None:
        self.session, self.conversation, self.seed = session, conversation, seed
        self._heard: SimpleQueue[Happening | TextEvent | MediaEvent | Exception | None] = SimpleQueue()
        self.watch = Watch(self._heard.put)
        self.events: list[TextEvent | MediaEvent] = []

    @property
    def reply(self) -> Reply:
        """What there is so far."""
        return Reply.gather(self.events)

    def __iter__(self) -> Iterator[Draft]:
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        doing = ""
        try:
            while (items := self._next()) is not None:
                for item in items:
                    if isinstance(item, Happening):
                        doing = line(item)
                    else:
                        self.events.append(item)
                yield Draft(self.reply, doing)
            yield Draft(self.reply, "")
        finally:  # also where the caller listens no more
            self.watch.cancel()
            thread.join()

    def _next(self) -> list[Happening | TextEvent | MediaEvent] | None:
        """What is heard until the next draft is due; None at the end."""
        found: list[Happening | TextEvent | MediaEvent] = []
        item = self._heard.get()
        due = time.monotonic() + PAUSE
        while True:
            if isinstance(item, Exception):
                raise item
            if item is None:
                self._heard.put(None)  # the end is told once more, after what was found
                return found or None
            found.append(item)
            try:
                item = self._heard.get(timeout=max(0.0, due - time.monotonic()))
            except Empty:
                return found

    def _work(self) -> None:
        try:
            for event in self.session.stream(self.conversation, seed=self.seed, watch=self.watch):
                self._heard.put(event)
            self._heard.put(None)
        except Exception as error:
            self._heard.put(error)


def line(now: Happening) -> str:
    """What is being done, in words, with a bar where the end is known."""
    words = DOING[now.part].format(key=now.key)
    if not words or (now.finished and now.part != "signal"):
        return ""
    if now.part != "make" or not now.total:
        return f"{words} …"
    full = BAR * now.done // now.total
    return f"{words} {'▰' * full}{'▱' * (BAR - full)} {now.done}/{now.total}"
