"""What passes between a model, its tools and the loop. Media are spoken of by handles, never by paths."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from anyx.agents.specs import Spec
from anyx.grounding.boxes import Size
from anyx.reply import Media, kind_of
from anyx.tools.interfaces import Found
from anyx.watching import Watch


class Result(NamedTuple):
    """What a tool says: `text`, `media` it made, `boxes` in pixels of a picture of `size`, further `data` for JSON.

    An `error` is a result too: it is told to the model, which may try again.
    """

    text: str = ""
    media: tuple[Media, ...] = ()
    boxes: tuple[Found, ...] = ()
    size: Size | None = None
    data: Mapping[str, Any] = {}
    error: str | None = None


class Call(NamedTuple):
    """A tool's name and its arguments, as a model wrote them."""

    tool: str
    arguments: Mapping[str, Any]


class Tool(Protocol):
    """Anything that has a spec and can be called."""

    spec: Spec

    def __call__(self, arguments: Mapping[str, Any], watch: Watch) -> Result:
        """The result for arguments that fit the spec, media as values of `anyx.media`.

        May raise ValueError with a line for the model. One that takes long looks at `watch.cancelled`.
        """
        ...


class Talker(Protocol):
    """A model that goes on with a conversation. `reads` are the kinds of media it can be shown."""

    name: str
    reads: Sequence[str]

    def stream(self, messages: Sequence[Mapping[str, Any]], watch: Watch) -> Generator[str | Media]:
        """The reply to messages of the chat form as it comes, words in pieces; `watch` stops it (`Cancelled`)."""
        ...


class Gallery:
    """The media of one conversation by handle: `<image 1>`, `<image 2>`, `<audio 1>`, counted for each kind."""

    def __init__(self) -> None:
        self.media: dict[str, Media] = {}
        self.asked: dict[str, Media] = {}  # those that the user sent

    def add(self, medium: Media, *, asked: bool = False) -> str:
        """The handle of one more."""
        key = kind_of(medium)
        number = 1 + sum(type(one) is type(medium) for one in self.media.values())
        handle = f"<{key} {number}>"
        self.media[handle] = medium
        if asked:
            self.asked[handle] = medium
        return handle

    def get(self, kind: str, given: object) -> Media:
        """The medium of a kind behind a handle; ValueError that lists those there are."""
        handle = f"<{given.strip().strip('<>').strip()}>" if isinstance(given, str) else ""
        found = self.media.get(handle)
        if found is None or kind_of(found) != kind:
            there = [name for name, one in self.media.items() if kind_of(one) == kind]
            known = ", ".join(there) or f"there is no {kind} yet"
            raise ValueError(f"{str(given)[:80]!r} is no {kind} of this conversation; it has: {known}")
        return found

    def implied(self, kind: str) -> Media | None:
        """The medium of a kind that is meant where none is named: the last one the user sent."""
        return next((one for one in reversed(self.asked.values()) if kind_of(one) == kind), None)
