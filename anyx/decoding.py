"""The decoding loop: what a batch of rows says, step by step, text and signal groups in order.

Hugging Face's `generate` appends one id a row; here a row may append many. When a row chooses the first id of a
signal group, the whole group is appended and read in one cached forward, and the states at its ids are what decoders
are conditioned on. All other signal ids are masked before every choice, so a broken group cannot be said. Rows stop on
their own, sample from their own seeds, and do not see each other.

Letters: b rows, s positions, d width, v vocabulary, n ids of a group.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from numbers import Integral, Real
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

RANGES: Mapping[str, tuple[type, Callable[[Any], bool], str]] = {
    "max_new_tokens": (Integral, lambda value: value >= 1, "a whole number, 1 or more"),
    "temperature": (Real, lambda value: 0 <= value < inf, "0 (greedy) or more"),
    "top_p": (Real, lambda value: 0 < value <= 1, "above 0 and at most 1 (all)"),
    "top_k": (Integral, lambda value: value >= 0, "a whole number, 0 (all) or more"),
    "repetition_penalty": (Real, lambda value: 0 < value < inf, "above 0; 1 is none"),
}


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; temperature 0 is greedy. A group counts its ids, and is always said whole.

    `repetition_penalty` looks at the words of the reply, not at the prompt.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, (kind, fits, words) in RANGES.items():
            value = vars(self)[name]
            if not isinstance(value, kind) or not fits(value):
                raise ValueError(f"{name}: {value!r} given; it is {words}")

    def processors(self) -> LogitsProcessorList:
        """Transformers' own processors, in the order of its `generate`; they want Python's own numbers."""
        steps = LogitsProcessorList()
        if self.repetition_penalty != 1.0:
            steps.append(RepetitionPenaltyLogitsProcessor(float(self.repetition_penalty)))
        if self.temperature not in (0.0, 1.0):
            steps.append(TemperatureLogitsWarper(float(self.temperature)))
        if self.temperature and self.top_k:
            steps.append(TopKLogitsWarper(int(self.top_k)))
        if self.temperature and self.top_p < 1.0:
            steps.append(TopPLogitsWarper(float(self.top_p)))
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
class Speaker(Protocol):
    """What the loop needs of an LLM; `anyx.llm.LLM` is one."""

    tokenizer: PreTrainedTokenizerBase
    groups: Mapping[str, tuple[int, ...]]

    def prefill(self, embeddings: Tensor, mask: Tensor, context: Context | None = None) -> tuple[Any, Tensor]:
        """Read prompts: a cache and the last states, without gradients."""
        ...

    def step(self, ids: Sequence[Sequence[int]], cache: Any) -> list[Tensor]:
        """Append ids to rows: the states at them, without gradients."""
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
) -> Iterator[list[Words | Group]]:
    """Answer left-padded prompts; yields what each step has made certain, rows in order.

    A row ends at an id of `stop`, where its words hold `stop_text`, or after `max_new_tokens`; neither stop is said.
    Words are compared, not ids, so whatever the tokenizer made of the stop and of its neighbours is found. Right after
    a group the spaces at its beginning may be missing: tokenizers that strip what stands beside added tokens taught so.
    `context` is what the LLM's adapters read of the prompts.
    """
    processors = sampling.processors()
    openers = {ids[0]: key for key, ids in llm.groups.items()}
    closed = [index for ids in llm.groups.values() for index in ids[1:]]
    rows = [
        _Row(llm.tokenizer, stop_text, sampling.max_new_tokens, torch.Generator().manual_seed(seed)) for seed in seeds
    ]
    cache, states = llm.prefill(embeddings, mask, context)
    while True:
        with torch.no_grad():
            logits = llm.logits(states)
        logits[:, closed] = -torch.inf
        said: list[Words | Group] = []
        appended: list[tuple[int, ...]] = []
        opened: dict[int, str] = {}
        for number, (row, token) in enumerate(zip(rows, _choose(logits, rows, sampling, processors), strict=True)):
            if row.done:
                appended.append(())
            elif token in stop:
                row.done = True
                appended.append(())
            elif token in openers:
                opened[number] = openers[token]
                appended.append(llm.groups[openers[token]])
                row.left -= len(appended[-1])
            else:
                row.hear(token)
                appended.append((token,))
                row.left -= 1
            row.done = row.done or row.left <= 0
            if text := row.certain(final=row.done or number in opened):
                said.append(Words(number, text))
        if not all(row.done for row in rows) or opened:
            blocks = llm.step(appended, cache)
            states = torch.stack([block[-1] if len(block) else old for block, old in zip(blocks, states, strict=True)])
            for number, key in opened.items():
                said.append(Group(number, key, rows[number].groups, blocks[number]))
                rows[number].groups += 1
        if said:
            yield said
        if all(row.done for row in rows):
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

    tokenizer: PreTrainedTokenizerBase
    stop_text: str
    left: int
    generator: torch.Generator
    history: list[int] = field(default_factory=list)  # every id of its words
    run: list[int] = field(default_factory=list)  # ids since the last group
    told: int = 0  # letters of the run that were handed out
    groups: int = 0
    done: bool = False

    def hear(self, token: int) -> None:
        self.history.append(token)
        self.run.append(token)

    def certain(self, *, final: bool) -> str:
        """The letters that no later token can change and that were not handed out yet."""
        text = str(self.tokenizer.decode(self.run, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        bare = self.stop_text.lstrip()
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
            self.run, self.told = [], 0
        return new


def _choose(
    logits: Float[Tensor, "b v"], rows: Sequence[_Row], sampling: Sampling, processors: LogitsProcessorList
) -> list[int]:
    if not processors and not sampling.temperature:
        return [int(token) for token in logits.argmax(-1).tolist()]
    chosen = []
    for scores, row in zip(logits, rows, strict=True):
        history = torch.tensor([row.history], dtype=torch.long, device=logits.device)
        scores = processors(history, scores[None])[0]
        if sampling.temperature:
            token = torch.multinomial(scores.softmax(-1).cpu(), 1, generator=row.generator)
        else:
            token = scores.argmax(-1)
        chosen.append(int(token))
    return chosen
