"""The agent: ask the model, run the tools it calls, tell it what they said, until it answers or a bound is met.

    agent = Agent(talker, Toolbox([detect, calculator]), LlavaPlus())
    for step in agent.run("How many dogs are there?", [Image.read("park.jpg")]):
        print(step.kind, step.text)

A tool sees only media of this conversation, by handle. A failing tool, an unknown name and a reply that cannot be read
are told to the model, and count against the bounds like all else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from anyx.agents.forms import Form, Observed, Said, plain, shown
from anyx.agents.interfaces import Gallery, Result, Talker
from anyx.agents.react import sentence
from anyx.agents.steps import Clock, Step, Trace
from anyx.agents.toolbox import Toolbox
from anyx.reply import Media, kind_of
from anyx.watching import Cancelled, Happening, Watch

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Bounds:
    """When a run ends at the latest: `turns` of the model, `calls` of tools, `seconds` in all, `bytes` of results.

    A call has `call_seconds`. Of what a tool says the model is told `letters` characters; a reply ends after as many.
    """

    turns: int = 6
    calls: int = 8
    seconds: float = 300.0
    call_seconds: float = 120.0
    bytes: float = 2**28
    letters: int = 8000

    def __post_init__(self) -> None:
        for one in fields(self):
            if not getattr(self, one.name) > 0:
                raise ValueError(f"bounds.{one.name}: a number > 0, but {getattr(self, one.name)} was given")


class Stopped(Exception):
    """A bound was met; its text says which."""


class Agent:
    """A model with tools. Several threads may run it at once, as far as its talker allows."""

    def __init__(self, talker: Talker, tools: Toolbox, form: Form, bounds: Bounds | None = None) -> None:
        self.talker, self.tools, self.form, self.bounds = talker, tools, form, bounds or Bounds()

    def run(
        self, question: str, media: Sequence[Media] = (), *, history: Sequence[Message] = (), watch: Watch | None = None
    ) -> Iterator[Step]:
        """The steps as they happen (`steps`), the last of them `value` or `stop`; cancelling the watch is a `stop`.

        `history` is what was said before, in the chat form.
        """
        yield from Run(self, question, media, history, watch or Watch()).steps()

    def answer(self, question: str, media: Sequence[Media] = (), *, watch: Watch | None = None) -> Trace:
        """All steps at once."""
        return Trace(self.run(question, media, watch=watch))


class Until(Watch):
    """A watch that is cancelled at a time, and when another is, which hears all that it is told."""

    def __init__(self, outer: Watch, until: float) -> None:
        super().__init__(self._pass)
        self.outer, self.until = outer, until

    @property
    def cancelled(self) -> bool:
        """Whether the reply is to be stopped."""
        return super().cancelled or self.outer.cancelled or time.monotonic() > self.until

    def _pass(self, one: Happening) -> None:
        self.outer.tell(one.part, one.done, one.total, key=one.key, number=one.number, finished=one.finished)


class Run:
    """One question on its way."""

    def __init__(
        self, agent: Agent, question: str, media: Sequence[Media], history: Sequence[Message], watch: Watch
    ) -> None:
        self.agent, self.question, self.watch, self.bounds = agent, question, watch, agent.bounds
        self.gallery, self.clock = Gallery(), Clock()
        self.calls, self.weight = 0, 0
        self.asked = {self.gallery.add(one, asked=True): one for one in media}
        told = agent.form.system(agent.tools.specs)
        system = [{"role": "system", "content": told}] if told else []
        self.messages: list[Message] = [*system, *history, self._question()]

    def _question(self) -> Message:
        """The user's turn: media that the talker reads as they are, others by their handles."""
        content: list[dict[str, Any]] = []
        for handle, one in self.asked.items():
            key = kind_of(one)
            known = key in self.agent.talker.reads
            content.append({"type": key, "media": one} if known else {"type": "text", "text": f"{handle}\n"})
        content.append({"type": "text", "text": self.question})
        if all(part["type"] == "text" for part in content):
            return {"role": "user", "content": "".join(part["text"] for part in content)}
        return {"role": "user", "content": content}

    def steps(self) -> Iterator[Step]:
        """All steps."""
        yield self.clock.step("asked", self.question, media=self.asked)
        try:
            while True:
                if self.clock.turn >= self.bounds.turns:
                    raise Stopped(f"no answer after {self.clock.turn} turns, which bounds.turns allows")
                self.clock.turn += 1
                text: list[str] = []
                yield from self._said(text)
                said = self.agent.form.read(text[0])
                self.messages.append({"role": "assistant", "content": text[0]})
                if said.thought:
                    yield self.clock.step("thought", said.thought)
                if said.problem is None and not said.calls:
                    yield self.clock.step("value", said.value or "")
                    return
                yield from self._acted(said)
        except Stopped as error:
            yield self.clock.step("stop", str(error))
        except Cancelled:
            yield self.clock.step("stop", "cancelled" if self.watch.cancelled else self._over())
        except (ValueError, OSError) as error:  # the model's own refusal: too long a prompt, a server that is gone
            yield self.clock.step("stop", f"{self.agent.talker.name}: {error}")

    def _said(self, into: list[str]) -> Iterator[Step]:
        """The words of a reply as they come; all of them, up to a stop string, are put into `into`."""
        began, text, stops = time.monotonic(), "", self.agent.form.stops
        stream = self.agent.talker.stream(self.messages, Until(self.watch, self.clock.began + self.bounds.seconds))
        try:
            for piece in stream:
                self._look()
                words = piece if isinstance(piece, str) else self.gallery.add(piece)
                media = {} if isinstance(piece, str) else {words: piece}
                text += words
                yield self.clock.step("words", words, since=began, media=media)
                if any(stop in text for stop in stops) or len(text) >= self.bounds.letters:
                    break
        finally:
            stream.close()
        ends = [place for stop in stops if (place := text.find(stop)) >= 0]
        into.append(text[: min([*ends, self.bounds.letters])])

    def _acted(self, said: Said) -> Iterator[Step]:
        """Run what a reply asks for and put what came of it into the conversation."""
        if said.problem is not None:
            yield self.clock.step("error", said.problem)
            self._tell(self.agent.form.complained(self.question, said.problem))
            return
        observed = []
        for call in said.calls:
            self._look()
            if self.calls >= self.bounds.calls:
                raise Stopped(f"the model wants more than {self.bounds.calls} calls, which bounds.calls allows")
            self.calls += 1
            yield self.clock.step(
                "action", f"{call.tool} {shown(call.arguments)}", tool=call.tool, arguments=call.arguments
            )
            began = time.monotonic()
            left = min(self.bounds.call_seconds, self._left())
            result = self.agent.tools.run(
                call, self.gallery, seconds=left, watch=self.watch, implied=self.agent.form.implied
            )
            result = self._bounded(result)
            handles = tuple(self.gallery.add(one) for one in result.media)
            observed.append(Observed(call, result, handles))
            yield self.clock.step(
                "error" if result.error else "result",
                sentence(observed[-1]),
                since=began,
                tool=call.tool,
                arguments=call.arguments,
                media=dict(zip(handles, result.media, strict=True)),
                data=plain(observed[-1]),
            )
        self._tell(self.agent.form.told(self.question, observed, self.gallery))

    def _bounded(self, result: Result) -> Result:
        """A result that fits what is left of `bytes` and `letters`, or an error in its place."""
        size = sum(weight(one) for one in result.media)
        if self.weight + size > self.bounds.bytes:
            return Result(error=f"its media are too large: bounds.bytes allows {self.bounds.bytes:,.0f} bytes in all")
        self.weight += size
        if len(result.text) > self.bounds.letters:
            return result._replace(text=result.text[: self.bounds.letters] + " ...")
        return result

    def _tell(self, text: str) -> None:
        cut = text if len(text) <= 4 * self.bounds.letters else text[: 4 * self.bounds.letters] + " ..."
        self.messages.append({"role": "user", "content": cut})

    def _left(self) -> float:
        return max(self.bounds.seconds - (time.monotonic() - self.clock.began), 0.0)

    def _over(self) -> str:
        return f"the {self.bounds.seconds:g} s are over, which bounds.seconds allows"

    def _look(self) -> None:
        """Raise where the run is to end."""
        if self.watch.cancelled:
            raise Cancelled("the run was cancelled")
        if not self._left():
            raise Stopped(self._over())


def weight(medium: Media) -> int:
    """The bytes of a medium in memory."""
    return sum(value.numel() * value.element_size() for value in vars(medium).values() if isinstance(value, Tensor))
