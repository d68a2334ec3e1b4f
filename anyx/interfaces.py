"""The values and the abstract classes that every part of anyx is built against.

Data flows one way: an `Encoder` turns transformed media into `Tokens`, an `InputProjector` carries them into the LLM's
width, the LLM answers, an `OutputProjector` turns the states at a signal group into a `Condition`, and a `Decoder`
turns the condition into media. An `Adapter` lives inside the LLM's layers. A new component subclasses one of the five
(abstract -> final, no third level) and is named in `registry.py`; the contract tests find it there.

Letters: b media items (of an adapter: rows), n tokens of an item, d width, s signal tokens (of an adapter: positions).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor, nn

from anyx.media import Medium as Medium

Media = Medium
Words = Callable[[str], list[int]]  # a text -> ids in a vocabulary of its own; it travels to data workers
OutputKind = Literal["global", "patches"]


class Tokens(NamedTuple):
    """A padded batch of token sequences: `values` (b, n, d), `mask` (b, n) True where a token is real.

    `layout` says, one an item, in which grid the last real tokens lie: (rows, columns), or (frames, rows, columns).
    `whole` says that all are real, so that nobody has to look into the mask, for which the host would wait.
    """

    values: Float[Tensor, "b n d"]
    mask: Bool[Tensor, "b n"]
    layout: tuple[tuple[int, ...], ...] | None = None
    number: Num[Tensor, " b"] | None = None  # to a projector that decides how many: the wanted; from it: its own
    whole: bool = False

    @classmethod
    def full(cls, values: Float[Tensor, "b n d"]) -> Tokens:
        """Tokens that are all real."""
        return cls(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device), whole=True)

    def lengths(self, device: torch.device) -> Int[Tensor, " b"]:
        """How many tokens of each item are real, on a device."""
        if self.whole:
            return torch.full(self.values.shape[:1], self.values.shape[1], device=device)
        return self.mask.sum(1).to(device)

    def chosen(self, items: Sequence[int]) -> Tokens:
        """Some items of the batch."""
        layout = None if self.layout is None else tuple(self.layout[item] for item in items)
        number = None if self.number is None else self.number[list(items)]
        return Tokens(self.values[list(items)], self.mask[list(items)], layout, number, self.whole)


class TextBatch(NamedTuple):
    """Token ids (b, n) in the encoder's own vocabulary and their mask, for encoders that read an instruction."""

    ids: Int[Tensor, "b n"]
    mask: Bool[Tensor, "b n"]


class Condition(NamedTuple):
    """What a decoder reads, by name: `values` name -> (b, length, dim), `masks` name -> (b, length)."""

    values: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]

    @classmethod
    def full(cls, values: Mapping[str, Tensor]) -> Condition:
        """A condition whose places are all real."""
        return cls(values, {name: Tokens.full(x).mask for name, x in values.items()})

    def dropped(self, null: Condition, rate: float, generator: torch.Generator | None = None) -> Condition:
        """Each item replaced by the null condition (batch 1) with probability `rate`, for classifier-free guidance.

        It has the masks that both have.
        """
        if rate <= 0:
            return self
        first = next(iter(self.values.values()))
        device = first.device if generator is None else generator.device
        chosen = (torch.rand(len(first), generator=generator, device=device) < rate).to(first.device)
        values = {n: torch.where(chosen[:, None, None], null.values[n].to(x), x) for n, x in self.values.items()}
        shared = {n: x for n, x in self.masks.items() if n in null.masks}
        return Condition(values, {n: torch.where(chosen[:, None], null.masks[n].to(x), x) for n, x in shared.items()})


class Encoder(nn.Module, ABC):
    """Frozen media -> tokens. `transform` runs in data workers on one item.

    It is picklable and brings no weights: a function or a small value, never a method of the encoder.
    """

    dim: int  # d of the tokens it returns
    reads_text: bool = False  # True: `forward` wants `text`, which its caller brings; `AnyX` refuses it, see `words`
    parts: ClassVar[Sequence[str]] = ()  # attributes that a stage may train by themselves
    transform: Callable[[Media], dict[str, Tensor]]

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode a stacked batch of transformed items, each tensor (b, ...)."""


class InputProjector(nn.Module, ABC):
    """Encoder tokens -> LLM tokens. Constructed as `(dim_in, dim_out, *, ...)`.

    One that reads the instruction too (InstructBLIP) has `words`, and a second argument of `forward`: a `TextBatch` of
    what was said in the turn of each medium, or None. One that `reads_vocabulary` (Macaw-LLM) has the LLM's table of
    token embeddings (v, d) there instead, or None where only widths are asked. One that `counts` decides how many
    tokens to make: it is told the `number` for each item in training (0: unknown), and answers with its own, which
    need not be whole.
    """

    words: Words | None = None
    reads_vocabulary: bool = False
    counts: bool = False
    pieces: int = 1  # how many pieces (frames) an item's tokens lie end to end of, where each is read by itself
    parts: ClassVar[Sequence[str]] = ()  # attributes that a stage may train by themselves, or ports share

    @abstractmethod
    def forward(self, x: Tokens) -> Tokens:
        """Carry (b, n, dim_in) to (b, m, dim_out)."""


class OutputProjector(nn.Module, ABC):
    """LLM states at a signal group -> a decoder's condition. Constructed as `(dim_in, condition, *, ...)`.

    `condition` is the decoder's own mapping name -> (length, dim).
    """

    @abstractmethod
    def forward(self, states: Tokens, embeddings: Float[Tensor, "b s d"] | None = None) -> Condition:
        """Carry (b, s, dim_in) to a Condition; `embeddings` are the signal tokens' input embeddings."""


class Decoder(nn.Module, ABC):
    """A condition -> media. Seeded per item, batched, run without its text encoder."""

    condition: Mapping[str, tuple[int, int]]  # name -> (length, dim)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """What may learn, by the names that stages select with; a decoder of several parts names them (vae, text)."""
        return {"denoiser": list(self.parameters())}

    @abstractmethod
    def null_condition(self) -> Condition:
        """The condition of the empty caption, batch 1, for classifier-free guidance."""

    @abstractmethod
    def forward(
        self,
        condition: Condition,
        *,
        generators: Sequence[torch.Generator],
        steps: int | None = None,
        guidance: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Any]:
        """Decode b items into a list of b media; `None` means the decoder's own default.

        A decoder may have more keywords, each with a default: sizes, lengths. `decode={key: {...}}` hands them on.
        """

    @abstractmethod
    def loss(self, condition: Condition, media: Sequence[Any]) -> Float[Tensor, ""]:
        """Denoising loss of the media under the condition, with the scheduler's own prediction type."""


class Placed(NamedTuple):
    """Media in a laid-out batch: the row (m,) of each, the position (m,) where it begins, and its tokens.

    `order` (m,) grows along a row over the media of all keys, also where several begin at one position.
    """

    rows: Int[Tensor, " m"]
    starts: Int[Tensor, " m"]
    tokens: Tokens
    order: Int[Tensor, " m"]


class Layout(NamedTuple):
    """What the LLM is about to read: `embeddings` (b, s, d), `mask` (b, s) of real positions.

    `asked` (b, s) is True at the words of the instruction: real, no medium's, before the first answer.
    """

    embeddings: Float[Tensor, "b s d"]
    mask: Bool[Tensor, "b s"]
    asked: Bool[Tensor, "b s"]


class Reading(NamedTuple):
    """What an adapter has layers read in one call, by name.

    `rows` (b, ...) is the same at all positions; `places` (b, s, ...) is of the prompt's positions and `after`
    (b, 1, ...) of every later one. `lag` (b, s) says how far the position ids of a prompt are behind a plain count.
    """

    rows: Mapping[str, Tensor] = {}
    places: Mapping[str, Tensor] = {}
    after: Mapping[str, Tensor] = {}
    lag: Int[Tensor, "b s"] | None = None


class Adapter(nn.Module, ABC):
    """Something inside the layers of a causal LM, beside its weights. Constructed as `(body, name, *, ...)`.

    `body` is `anyx.adapters.body.Body`, whose layers it hooks; its readings are found there under `name`. At the
    beginning the LLM answers as without it.
    """

    name: str
    dim: int  # width of the tokens that it reads
    hears: bool = True  # whether media go into it; False: it needs none
    spliced: bool = True  # whether media that go into it stand in the sequence too

    @abstractmethod
    def read(self, layout: Layout, media: Sequence[Placed]) -> Reading:
        """What layers read of a batch and of the media in it that go into this adapter."""


@runtime_checkable
class TextTeacher(Protocol):
    """A decoder with a text encoder: the teacher of the decoding stage."""

    def encode_text(self, captions: Sequence[str]) -> Condition:
        """The decoder's own encoding of captions, with masks of real positions."""
        ...

    def text_parts(self) -> tuple[nn.Module, str]:
        """The text encoder, in memory, and its tokenizer written out: what encodings depend on."""
        ...


@runtime_checkable
class Reconstructs(Protocol):
    """A decoder whose latent space we train ourselves."""

    def reconstruct(self, media: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor]:
        """(reconstruction, target, kl): the autoencoder's output, what it should equal, mean KL per element."""
        ...
