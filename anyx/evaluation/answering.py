"""Requests of an outer harness, answered by a model: its media are read, batches made, replies told as it reads them.

`anyx.evaluation.lmms` puts this behind lmms-eval's contracts. Nothing here imports that harness, which lives in an
environment of its own, so that all but the contracts is tried without it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from anyx.evaluation.corpus import Message
from anyx.evaluation.received import read
from anyx.evaluation.report import progress
from anyx.model import AnyX
from anyx.reply import Reply, kind_of

ROUNDS = 32  # a task that asks again more often than this does not end


class Asked(NamedTuple):
    """A conversation, how it is to be answered in lmms-eval's words (`max_new_tokens`, `until`), and of what it is."""

    turns: list[Message]
    settings: Mapping[str, Any]
    task: str
    number: int

    def __str__(self) -> str:
        return f"{self.task}/{self.number}"


Step = Callable[[list[str], Any], tuple[list[Message] | None, list[str], Any]]


class Answering:
    """A model and how it answers: in batches, noise begun from `seed` and the sample's number, media put under `out`.

    A reply has at most `tokens` tokens where a request does not say. No attribute is an `nn.Module`: lmms-eval deletes
    those of its model objects, and takes this as one of them. Media go to the first input of their kind.
    """

    def __init__(self, model: AnyX, out: Path, *, tokens: int = 64, seed: int = 0, batch: int = 1) -> None:
        self.held = (model,)
        self.out, self.tokens, self.seed, self.batch = out.resolve(), tokens, seed, batch
        self.keys = {model.processor.kinds[key]: key for key in reversed(list(model.inputs))}
        self.seen: Counter[str] = Counter()

    def __call__(self, requests: Iterable[Asked], *, bar: int = 0) -> list[str]:
        """Replies in the order of the requests, cut where a request says; neighbours that are sampled alike in batches.

        Requests are taken as they are needed, so that a generator holds the media of one batch; `bar` is how many a
        progress bar counts to.
        """
        said: list[str] = []
        with progress("answered", bar, bar > 0) as advance:
            for how, alike in groupby(requests, key=lambda asked: sampling(asked.settings, self.tokens)):
                while batch := [self.repeated(asked) for asked in islice(alike, self.batch)]:
                    seeds = [self.seed + asked.number + 1_000_003 * repeat for asked, repeat in batch]
                    chats = [asked.turns for asked, _ in batch]
                    replies = self.held[0].generate(chats, seeds=seeds, **how._asdict())
                    said += [self.told(reply, *of) for reply, of in zip(replies, batch, strict=True)]
                    advance(len(batch))
        return said

    def repeated(self, asked: Asked) -> tuple[Asked, int]:
        """The request, and how often it was there before: a repeated one begins from other noise."""
        self.seen[str(asked)] += 1
        return asked, self.seen[str(asked)] - 1

    def told(self, reply: Reply, asked: Asked, repeat: int) -> str:
        """A reply as tasks read it: its words, or, where it shows media, JSON of them and the media's files by kind."""
        text = reply.text
        ends = asked.settings.get("until") or []
        for end in [ends] if isinstance(ends, str) else ends:
            text = text.split(end)[0] if end else text
        if all(isinstance(part, str) for part in reply.parts):
            return text.strip()
        found: dict[str, list[str]] = {"images": []}  # which tasks ask for, whatever there is
        files = reply.save(self.out / asked.task / f"{asked.number}-{repeat}")
        for part, path in zip(reply.parts, files, strict=True):
            if not isinstance(part, str):
                found.setdefault(f"{kind_of(part)}s", []).append(str(path))
        return json.dumps({"text": text.strip(), **found}, ensure_ascii=False)

    def rounds(self, first: Asked, step: Step) -> list[str]:
        """What is said of a sample that is asked again after each answer, until `step` has nothing more to ask.

        `step` gets what was said and what it told itself the round before; each round is a conversation of its own.
        """
        said: list[str] = []
        told: Any = None
        turns: list[Message] | None = first.turns
        while turns is not None:
            if len(said) == ROUNDS:
                raise ValueError(f"task {first.task}: sample {first.number} asks again after {ROUNDS} rounds")
            said += self([first._replace(turns=turns)])
            turns, said, told = step(list(said), told)
        return said

    def user(self, text: str, media: Sequence[Any] | None) -> list[Message]:
        """One turn of a user: the media, then the words."""
        return [{"role": "user", "content": [*map(self.part, media or ()), {"type": "text", "text": text}]}]

    def messages(self, turns: Sequence[Mapping[str, Any]]) -> list[Message]:
        """Messages as ours; media stand under `url`, and what they are is seen from themselves."""
        return [{"role": turn["role"], "content": list(self._parts(turn["content"]))} for turn in turns]

    def part(self, media: Any) -> dict[str, Any]:
        """One medium as a part of a message; ValueError where the model reads none of its kind."""
        value = read(media)
        if type(value) not in self.keys:
            names = ", ".join(kind.__name__ for kind in self.keys) or "no media"
            raise ValueError(f"the model reads {names}, but the task has {type(value).__name__}")
        return {"type": self.keys[type(value)], "media": value}

    def _parts(self, content: Any) -> Iterator[dict[str, Any]]:
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "text":
                yield {"type": "text", "text": part["text"]}
            else:
                span = {"video_start": part.get("start_time"), "video_end": part.get("end_time")}
                yield self.part({**span, "url": part["url"]} if any(span.values()) else part["url"])


class Sampled(NamedTuple):
    """How replies are sampled, as `AnyX.generate` takes it."""

    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int


def sampling(settings: Mapping[str, Any], tokens: int) -> Sampled:
    """lmms-eval's settings of a request as ours: greedy unless it has a temperature, or says `do_sample` without one.

    ValueError: beams, which are not searched here.
    """
    if int(settings.get("num_beams") or 1) > 1:
        raise ValueError(f"num_beams: {settings['num_beams']} was asked for, but anyx searches no beams; 1 is allowed")
    warm = settings.get("do_sample")
    given = settings.get("temperature")
    temperature = 0.0 if warm is False else float(given if given is not None else bool(warm))
    longest = int(settings.get("max_new_tokens") or tokens)
    return Sampled(longest, temperature, float(settings.get("top_p") or 1.0), int(settings.get("top_k") or 0))


@torch.inference_mode()
def loss_of(model: AnyX, turns: Sequence[Message], answer: str) -> tuple[float, bool]:
    """The summed loss of a reply's tokens in nats, its end included, and whether each of them is the likeliest.

    Sums are what lmms-eval takes the smallest of; it divides by the length itself for `acc_norm`.
    """
    assert all(turn["role"] != "assistant" for turn in turns), "what was said before would be counted too"
    whole = [*turns, {"role": "assistant", "content": answer.strip()}]
    batch = model.processor.collate([model.processor(whole)]).to(model.device)
    output = model(batch, conditions=False)
    logits = model.llm.logits(output.states).float()
    labels = output.labels.to(logits.device)
    loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    return float(loss), bool((logits.argmax(-1) == labels).all())
