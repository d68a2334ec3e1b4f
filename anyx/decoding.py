"""The decoding loop: what a batch of rows says, step by step, text and signal groups in order.

Hugging Face's `generate` appends one id a row; here a row may append many. When a row chooses the first id of a
signal group, the whole group is appended and read in one cached forward, and the states at its ids are what decoders
are conditioned on. All other signal ids are masked before every choice, so a broken group cannot be said. Rows stop on
their own, sample from their own seeds, and do not see each other.

Letters: b rows, s positions, d width, v vocabulary, n ids of a group.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from anyx.context import Context
from anyx.detokenizing import Run
from anyx.sampling import Sampling as Sampling
from anyx.watching import Watch, Watches, check, watches_of

COLDEST = 1e-4  # logits divided by less are infinite


def processors(sampling: Sampling) -> LogitsProcessorList:
    """Transformers' own processors, in the order of its `generate`; they want Python's own numbers."""
    steps = LogitsProcessorList()
    if sampling.repetition_penalty != 1.0:
        steps.append(RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty)))
    if sampling.temperature not in (0.0, 1.0):
        steps.append(TemperatureLogitsWarper(max(float(sampling.temperature), COLDEST)))
    if sampling.temperature and sampling.top_k:
        steps.append(TopKLogitsWarper(int(sampling.top_k)))
    if sampling.temperature and sampling.top_p < 1.0:
        steps.append(TopPLogitsWarper(float(sampling.top_p)))
    return steps


class Words(NamedTuple):
    """A row has said some text."""

    row: int
    text: str


class Group(NamedTuple):
    """A row has opened its `number`-th signal group: the states (n, d) at its ids."""

    row: int
    key: str
    number: int
    states: Float[Tensor, "n d"]


@runtime_checkable
class Kept(Protocol):
    """What a `Speaker` has read, for its next steps."""

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all other rows."""
        ...


@runtime_checkable
class Speaker(Protocol):
    """What the loop needs of an LLM; `anyx.llm.LLM` is one. All of it is without gradients."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """What turns ids into words."""
        ...

    @property
    def groups(self) -> Mapping[str, tuple[int, ...]]:
        """The ids of each output's signal group."""
        ...

    def prefill(self, embeddings: Tensor, mask: Tensor, context: Context | None = None) -> tuple[Kept, Tensor]:
        """Read prompts: a cache and the last states."""
        ...

    def step(self, ids: Sequence[Sequence[int]], cache: Any) -> list[Tensor]:
        """Append ids to rows: the states at them."""
        ...

    def logits(self, states: Tensor) -> Tensor:
        """Logits of states."""
        ...


def speak(
    llm: Speaker,
    embeddings: Float[Tensor, "b s d"],
    mask: Bool[Tensor, "b s"],
    context: Context | None = None,
    *,
    sampling: Sampling,
    seeds: Sequence[int],
    stop: Collection[int] = (),
    stop_text: str = "",
    watch: Watches = None,
    rooms: Sequence[int] | None = None,
) -> Iterator[list[Words | Group]]:
    """Answer left-padded prompts; yields what each step has made certain, rows in order.

    A row ends at an id of `stop`, where its words hold `stop_text`, or after `max_new_tokens`; neither stop is said.
    Words are compared, not ids, so whatever the tokenizer made of the stop and of its neighbours is found. Right after
    a group the spaces at its beginning may be missing: tokenizers that strip what stands beside added tokens taught so.
    `rooms` say for each row how many tokens it may have, where that is not `max_new_tokens` for all.
    `context` is what the LLM's adapters read of the prompts. A row that has ended leaves the batch; so does one whose
    `watch` is cancelled, and `Cancelled` is raised where all are.
    """
    choose = _Choice(sampling, [index for ids in llm.groups.values() for index in ids[1:]])
    openers = {ids[0]: key for key, ids in llm.groups.items()}
    watches = watches_of(watch, len(seeds))
    rows = [
        _Row(number, llm.tokenizer, stop_text, room, torch.Generator().manual_seed(seed), one)
        for number, (room, seed, one) in enumerate(
            zip(rooms or [sampling.max_new_tokens] * len(seeds), seeds, watches, strict=True)
        )
    ]
    check(watches)
    lengths = mask.sum(-1).tolist()
    for one, length in zip(watches, lengths, strict=True):
        one.tell("read", 0, length)
    cache, states = llm.prefill(embeddings, mask, context)
    for one, length in zip(watches, lengths, strict=True):
        one.tell("read", length, length, finished=True)
        one.tell("say", 0, None)
    while True:
        check(watches)
        said: list[Words | Group] = []
        appended: list[tuple[int, ...]] = []
        opened: dict[int, str] = {}
        for row, token in zip(rows, choose(llm, states, rows), strict=True):
            ids: tuple[int, ...] = ()
            if token in openers and not row.done and token not in stop:
                opened[row.number] = openers[token]
                ids = llm.groups[openers[token]]
            elif not row.done and token not in stop:
                row.hear(token)
                ids = (token,)
            row.left -= len(ids)
            row.done = not ids or row.left <= 0 or row.watch.cancelled
            row.watch.tell("say", row.room - row.left, None, finished=row.done)
            if text := row.certain(final=row.done or row.number in opened):
                said.append(Words(row.number, text))
            appended.append(() if row.done and row.number not in opened else ids)
        awake = [place for place, ids in enumerate(appended) if ids]
        if awake:
            if len(awake) < len(rows):
                cache.keep(awake)
                rows, appended = [rows[place] for place in awake], [appended[place] for place in awake]
            blocks = llm.step(appended, cache)
            states = torch.stack([block[-1] for block in blocks])
            for row, block in zip(rows, blocks, strict=True):
                if key := opened.get(row.number):
                    said.append(Group(row.number, key, row.groups, block))
                    row.watch.tell("signal", len(block), len(block), key=key, number=row.groups, finished=True)
                    row.groups += 1
        if said:
            yield said
        if not awake or all(row.done for row in rows):
            return


def seeds_of(seeds: int | Sequence[int], count: int) -> list[int]:
    """One seed a row; a single number serves all."""
    spread: list[Any] = list(seeds) if isinstance(seeds, Iterable) else [seeds] * count
    if wrong := [seed for seed in spread if not isinstance(seed, Integral) or not -(2**63) <= int(seed) < 2**64]:
        raise ValueError(f"seeds: {wrong[0]!r} given; a seed is a whole number of at most 64 bits")
    if len(spread) != count:
        raise ValueError(f"seeds: {len(spread)} given for {count} conversations; give one each, or one for all")
    return [int(seed) for seed in spread]


def generator(seed: int, number: int) -> torch.Generator:
    """The noise of a row's `number`-th medium; the first one's is the seed's own."""
    return torch.Generator().manual_seed((seed + number * 0x9E3779B97F4A7C15) % 2**63)


@dataclass
class _Row:
    """One reply in the making."""

    number: int
    tokenizer: PreTrainedTokenizerBase
    stop_text: str
    left: int
    generator: torch.Generator
    watch: Watch
    history: list[int] = field(default_factory=list)  # every id of its words
    text: str = ""  # letters since the last group
    told: int = 0  # how many of them were handed out
    groups: int = 0
    done: bool = False

    def __post_init__(self) -> None:
        self.run, self.room = Run(self.tokenizer), self.left

    def hear(self, token: int) -> None:
        self.history.append(token)
        self.text = self.run.hear(token)

    def certain(self, *, final: bool) -> str:
        """The letters that no later token can change and that were not handed out yet."""
        text, bare = self.text, self.stop_text.lstrip()
        if self.groups and bare and text.lstrip().startswith(bare):  # right after a group
            text = ""
            self.done = final = True
        elif self.stop_text and self.stop_text in text:
            text = text[: text.index(self.stop_text)]
            self.done = final = True
        end = len(text)
        if not final:
            end = len(text.rstrip("\ufffd"))  # half a letter
            starts = (n for n in range(len(self.stop_text) - 1, 0, -1) if text[:end].endswith(self.stop_text[:n]))
            end -= next(starts, 0)
            if self.groups and bare.startswith(text[:end].lstrip()):  # it may be the stop without its spaces
                end = 0
        new = text[self.told : end]
        self.told = max(self.told, end)
        if final:
            self.run, self.text, self.told = Run(self.tokenizer), "", 0
        return new


class _Choice:
    """The next id of every row: all of them in one transfer from the device."""

    def __init__(self, sampling: Sampling, closed: Sequence[int]) -> None:
        self.processors, self.warm = processors(sampling), bool(sampling.temperature)
        self.closed = torch.tensor(closed, dtype=torch.long)

    @torch.inference_mode()
    def __call__(self, llm: Speaker, states: Float[Tensor, "b d"], rows: Sequence[_Row]) -> list[int]:
        logits = llm.logits(states)
        self.closed = self.closed.to(logits.device)
        logits.index_fill_(1, self.closed, -torch.inf)
        for step in self.processors:
            if isinstance(step, RepetitionPenaltyLogitsProcessor):  # the only one that looks at what was said
                histories = [torch.tensor([row.history], dtype=torch.long, device=logits.device) for row in rows]
                logits = torch.cat([step(said, row[None]) for said, row in zip(histories, logits, strict=True)])
            else:
                logits = step(self.closed, logits)
        if not self.warm:
            return [int(token) for token in logits.argmax(-1).tolist()]
        chances = logits.softmax(-1).cpu()
        return [int(torch.multinomial(one, 1, generator=row.generator)) for one, row in zip(chances, rows, strict=True)]
