"""A conversation that goes on: what was read, said, seen and heard of it stays in memory between its turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from anyx import inside
from anyx.decoding import Sampling, seeds_of
from anyx.inside import Text
from anyx.interfaces import Tokens
from anyx.ports import makings
from anyx.processor import Conversation, concatenate, conversation_of, instructions
from anyx.prompt import Message
from anyx.reply import MediaEvent, Reply, TextEvent
from anyx.speaking.events import Model, told
from anyx.speaking.features import Features
from anyx.speaking.making import Maker, Studio
from anyx.speaking.memory import Memory
from anyx.splice import Spliced
from anyx.watching import Watch

Given = str | Message | Conversation


class Session:
    """One conversation with a model; replies are those of `AnyX.chat` to all its `messages`, only sooner.

    The LLM reads what is new since its last reply (`memory`), encoders only media that were not met (`features`, which
    sessions may share), and `maker` makes the media: the model's own decoders, or a queue that many sessions use.
    `sampling` and `decode` may be changed between turns. Of one thread at a time.
    """

    def __init__(
        self,
        model: Model,
        *,
        sampling: Sampling | None = None,
        decode: Mapping[str, Mapping[str, Any]] | None = None,
        features: Features | None = None,
        maker: Maker | None = None,
    ) -> None:
        self.model, self.sampling, self.decode = model, sampling or Sampling(), decode or {}
        self.memory = Memory(model.llm)
        self.features = Features() if features is None else features
        self.maker = Studio(model) if maker is None else maker
        self.messages: list[Message] = []

    def say(self, given: Given, *, seed: int = 0, watch: Watch | None = None) -> Reply:
        """The reply to words, to a message that goes on, or to a whole conversation in place of all before.

        A conversation may be the earlier one edited or cut short: what it begins with in common is not read again. The
        reply becomes the last of `messages`; a turn that fails changes nothing in them. `watch` hears of each part of
        it, and stops it: `Cancelled`.
        """
        asked = self._asked(given)
        return self._answered(asked, list(self._events(asked, seed, watch or Watch(), eager=False)))

    def stream(self, given: Given, *, seed: int = 0, watch: Watch | None = None) -> Iterator[TextEvent | MediaEvent]:
        """The same as it comes; a turn that is not listened to until its end is forgotten."""
        asked, events = self._asked(given), []
        for event in self._events(asked, seed, watch or Watch(), eager=True):
            events.append(event)
            yield event
        self._answered(asked, events)

    def reset(self) -> None:
        """Begin another conversation."""
        self.messages = []

    def forget(self) -> None:
        """Read and encode everything anew at the next turn; for weights that have changed."""
        self.memory.forget()
        self.features.forget()

    def _asked(self, given: Given) -> list[Message]:
        if isinstance(given, str):
            given = {"role": "user", "content": given}
        if isinstance(given, Mapping):
            return [*self.messages, given]
        return list(conversation_of(given))

    def _answered(self, asked: list[Message], events: Sequence[TextEvent | MediaEvent]) -> Reply:
        reply = Reply.gather(events)
        self.messages = [*asked, reply.message()]
        return reply

    def _events(
        self, messages: Conversation, seed: int, watch: Watch, *, eager: bool
    ) -> Iterator[TextEvent | MediaEvent]:
        how, seeds = makings(self.decode, self.model.outputs), seeds_of(seed, 1)
        prompt = self._lay(messages, watch)
        said = self.memory, prompt, self.sampling, seeds, how, self.maker
        yield from told(self.model, *said, eager=eager, watches=[watch])

    @torch.inference_mode()
    def _lay(self, messages: Conversation, watch: Watch | None = None) -> Spliced:
        """The conversation as the LLM reads it, of media that are met for the first time and others."""
        model = self.model
        encoded = model.processor.prompt.encode(messages, generate=True)
        ids, labels = torch.tensor([encoded.ids]), torch.tensor([encoded.labels])
        tokens = self.features.tokens(model, encoded.media, instructions(messages), watch)
        media: dict[str, list[tuple[int, Tokens]]] = {}
        for slot, found in zip(encoded.media, tokens, strict=True):
            media.setdefault(slot.key, []).append((slot.position, found))
        places = {}
        for key, items in media.items():
            positions = torch.tensor([position for position, _ in items])
            places[key] = torch.zeros_like(positions), positions, concatenate([found for _, found in items])
        text = Text(model.llm.embed(ids), ids, torch.ones_like(ids, dtype=torch.bool), labels)
        return inside.lay(text, places, model.llm.adapters, model.into, side="left")
