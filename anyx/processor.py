"""Messages and media -> `Batch`: everything of a training step or a request that happens on the CPU.

`Processor.__call__` runs in data workers: it lays a conversation out (`Prompt`), reads its media and transforms each
by its input's own transform. `collate` pads the samples and gathers the media of one key into one stack, so that an
encoder runs once a key, however the media are spread over rows.

Letters: b rows, s ids of a row, m media items of one key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from anyx.interfaces import Media, TextBatch, Tokens, Words
from anyx.prompt import IGNORE, Message, Prompt, Slot, parts_of
from anyx.splice import sent

LOCATIONS = ("media", "path")  # under which a part may bring its medium, beside its own type; the first counts
Conversation = Sequence[Message]
Transform = Callable[[Any], dict[str, Tensor]]
Features = Callable[[str, Mapping[str, Any]], Tokens | None]  # (key, media part) -> cached encoder tokens, b = 1


class MediaBatch(NamedTuple):
    """The media of one key: rows and positions (m,) of their placeholders, and what the encoder reads or has said.

    `tensors` are the stacked transform outputs; {} when `tokens`, the encoder's cached output, is given. `text` is
    what was said beside each medium, where the key's projector reads that too.
    """

    rows: Int[Tensor, " m"]
    positions: Int[Tensor, " m"]
    tensors: Mapping[str, Tensor]
    tokens: Tokens | None = None
    text: TextBatch | None = None
    counts: Int[Tensor, " m"] | None = None  # ids of each one's caption, where a loss wants them; 0 without one


class TargetBatch(NamedTuple):
    """The media of one key that the assistant shows: where their groups begin (m,), captions and media if wanted."""

    rows: Int[Tensor, " m"]
    positions: Int[Tensor, " m"]
    captions: list[str | None]
    media: list[Media | None]


class Batch(NamedTuple):
    """Conversations side by side: padded on the right for training, on the left to generate."""

    ids: Int[Tensor, "b s"]
    mask: Bool[Tensor, "b s"]
    labels: Int[Tensor, "b s"]
    inputs: Mapping[str, MediaBatch]
    targets: Mapping[str, TargetBatch]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with what media are made of on a device.

        Where things stand (`ids`, `mask`, `labels`, rows and positions) stays on the host, which lays out what the LLM
        reads: asking a GPU for a length would let it run dry. No copy waits for what the device still has to do.
        """
        inputs = {
            key: media._replace(
                tensors={name: sent(x, device) for name, x in media.tensors.items()},
                tokens=media.tokens
                and media.tokens._replace(
                    values=sent(media.tokens.values, device), mask=sent(media.tokens.mask, device)
                ),
                text=media.text and TextBatch(sent(media.text.ids, device), sent(media.text.mask, device)),
                counts=None if media.counts is None else sent(media.counts, device),
            )
            for key, media in self.inputs.items()
        }
        return self._replace(inputs=inputs)


class Received(NamedTuple):
    """One medium a user sent: its transform's tensors, or its cached tokens; the ids of the instruction if read."""

    key: str
    position: int
    tensors: Mapping[str, Tensor]
    tokens: Tokens | None
    text: list[int] | None = None


class Target(NamedTuple):
    """One medium the assistant shows."""

    key: str
    position: int
    caption: str | None
    medium: Media | None


class Sample(NamedTuple):
    """One conversation, ready to be collated."""

    ids: list[int]
    labels: list[int]
    received: list[Received]
    targets: list[Target]


class Processor:
    """Conversations -> samples -> batches. `kinds` says which class of media a key is (`Image`, ...).

    `words` are of keys whose projector reads the instruction: it gets what the turn of the medium says.

    With `targets_media` the media of assistant turns are read too (a denoising loss wants them). `features` may answer
    a part with cached encoder tokens; its file is then not read. `max_length` cuts conversations that are learnt from
    to that many ids, never within a signal group; one of which nothing is left to learn is refused.
    """

    def __init__(
        self,
        prompt: Prompt,
        *,
        transforms: Mapping[str, Transform],
        kinds: Mapping[str, type[Any]],
        words: Mapping[str, Words] | None = None,
        targets_media: bool = False,
        features: Features | None = None,
        max_length: int | None = None,
    ) -> None:
        self.prompt = prompt
        self.transforms = dict(transforms)
        self.kinds = dict(kinds)
        self.words = dict(words or {})
        self.targets_media = targets_media
        self.features = features
        self.max_length = max_length

    def __call__(self, messages: Sequence[Message], *, generate: bool = False) -> Sample:
        """Lay out one conversation and read its media."""
        encoded = self.prompt.encode(messages, generate=generate)
        if self.max_length is not None and not generate and len(encoded.ids) > self.max_length:
            encoded = self.prompt.cut(encoded, self.max_length)
            if all(label == IGNORE for label in encoded.labels):
                raise ValueError(f"max_length: the assistant says nothing within the first {self.max_length} ids")
        beside = zip(encoded.media, instructions(messages), strict=False)  # fewer slots if some media were cut off
        received = [self.receive(slot, said) for slot, said in beside]
        targets = [
            Target(slot.key, slot.position, slot.part.get("caption"), self._target(slot.key, slot.part))
            for slot in encoded.groups
        ]
        return Sample(encoded.ids, encoded.labels, received, targets)

    def receive(self, slot: Slot, said: str) -> Received:
        """Read the medium of a slot; `said` is what its turn says, for projectors that read that too."""
        key, position, part = slot
        text = self.words[key](said) if key in self.words else None
        tokens = self.features(key, part) if self.features else None
        if tokens is not None:
            return Received(key, position, {}, tokens, text)
        if key not in self.transforms:
            known = ", ".join(self.transforms) or "none"
            raise ValueError(
                f"inputs.{key}: no encoder is loaded to read it (loaded: {known}) and no cached features were given"
            )
        return Received(key, position, self.transforms[key](self.read(key, part)), None, text)

    def _target(self, key: str, part: Mapping[str, Any]) -> Media | None:
        return self.read(key, part) if self.targets_media and source_of(part) is not None else None

    def read(self, key: str, part: Mapping[str, Any]) -> Media:
        """The medium of a part."""
        source = source_of(part)
        if source is None:
            raise ValueError(
                f'a part of type {key!r} says where it is by "path", "{key}" or "media"; received {sorted(part)}'
            )
        medium: Media = self.kinds[key].read(source)
        return medium

    def collate(self, samples: Sequence[Sample], *, generate: bool = False) -> Batch:
        """Pad samples into a batch and gather their media by key."""
        longest = max(len(sample.ids) for sample in samples)
        shifts = [longest - len(sample.ids) if generate else 0 for sample in samples]
        ids = torch.zeros(len(samples), longest, dtype=torch.long)
        labels = torch.full_like(ids, IGNORE)
        mask = torch.zeros_like(ids, dtype=torch.bool)
        for row, (sample, shift) in enumerate(zip(samples, shifts, strict=True)):
            here = slice(shift, shift + len(sample.ids))
            ids[row, here] = torch.tensor(sample.ids, dtype=torch.long)
            labels[row, here] = torch.tensor(sample.labels, dtype=torch.long)
            mask[row, here] = True
        received: dict[str, list[tuple[int, Received]]] = {}
        targets: dict[str, list[tuple[int, Target]]] = {}
        for row, sample in enumerate(samples):
            for item in sample.received:
                received.setdefault(item.key, []).append((row, item._replace(position=item.position + shifts[row])))
            for target in sample.targets:
                targets.setdefault(target.key, []).append(
                    (row, target._replace(position=target.position + shifts[row]))
                )
        return Batch(
            ids,
            mask,
            labels,
            {key: gather(key, items) for key, items in received.items()},
            {
                key: TargetBatch(
                    *_places(items), [item.caption for _, item in items], [item.medium for _, item in items]
                )
                for key, items in targets.items()
            },
        )


def conversation_of(given: Any) -> Conversation:
    """One conversation, checked to be a list of messages."""
    listed = isinstance(given, Sequence) and not isinstance(given, str)
    if not listed or not all(isinstance(message, Mapping) for message in given):
        shown = f"{type(given).__name__} {given!r:.80}"
        raise ValueError(
            f'a conversation is a list of messages, [{{"role": "user", "content": "..."}}, ...]; received {shown}'
        )
    return given  # type: ignore[no-any-return]


def conversations_of(given: Any) -> list[Conversation]:
    """Conversations from one or a list of them."""
    if isinstance(given, Sequence) and not given:
        raise ValueError("no conversation was given")
    several = isinstance(given, Sequence) and not isinstance(given, str) and not isinstance(given[0], Mapping)
    return [conversation_of(chat) for chat in (given if several else [given])]


def instructions(messages: Conversation) -> list[str]:
    """For every medium that is sent, in order, what its turn says beside it."""
    said = []
    for message in messages:
        parts = parts_of(message) if message.get("role") != "assistant" else []
        text = "".join(part["text"] for part in parts if part["type"] == "text").strip()
        said += [text for part in parts if part["type"] != "text"]
    return said


def source_of(part: Mapping[str, Any]) -> Any:
    """A part's medium: what stands under "media", "path" or its own type, in this order; None if it brings none."""
    return next((part[name] for name in (*LOCATIONS, part["type"]) if part.get(name) is not None), None)


def _places(items: Sequence[tuple[int, Any]]) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    return torch.tensor([row for row, _ in items]), torch.tensor([item.position for _, item in items])


def gather(key: str, items: Sequence[tuple[int, Received]]) -> MediaBatch:
    """The media of one key, each with its row, as one stack."""
    cached = [item.tokens for _, item in items if item.tokens is not None]
    text = _padded([item.text for _, item in items if item.text is not None])
    if not cached:
        return MediaBatch(*_places(items), stack([item.tensors for _, item in items]), None, text)
    if len(cached) != len(items):
        raise ValueError(
            f"inputs.{key}: {len(cached)} of {len(items)} media have cached features; cache all of them or none"
        )
    return MediaBatch(*_places(items), {}, concatenate(cached), text)


def _padded(texts: Sequence[list[int]]) -> TextBatch | None:
    """Ids of several instructions as one batch; None where none are read."""
    if not texts:
        return None
    lengths = torch.tensor([len(ids) for ids in texts])
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids, dtype=torch.long) for ids in texts], batch_first=True)
    return TextBatch(ids, torch.arange(ids.shape[1]) < lengths[:, None])


def concatenate(tokens: Sequence[Tokens]) -> Tokens:
    """Several batches of tokens as one, padded to the longest."""
    longest = max(item.values.shape[1] for item in tokens)
    values = [torch.nn.functional.pad(item.values, (0, 0, 0, longest - item.values.shape[1])) for item in tokens]
    masks = [torch.nn.functional.pad(item.mask, (0, longest - item.mask.shape[1])) for item in tokens]
    layouts = [grid for item in tokens for grid in item.layout or ()]
    return Tokens(torch.cat(values), mask := torch.cat(masks), tuple(layouts) or None, whole=bool(mask.all()))


def stack(items: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Stack transform outputs; where first dimensions differ, pad them and add `<name>_mask`, True where real."""
    stacked = {}
    for name in items[0]:
        tensors = [item[name] for item in items]
        if len({tensor.shape for tensor in tensors}) > 1:
            if len({tensor.shape[1:] for tensor in tensors}) > 1:
                shapes = [tuple(tensor.shape) for tensor in tensors]
                raise ValueError(f"{name}: only the first dimension may differ among media; received {shapes}")
            lengths = torch.tensor([len(tensor) for tensor in tensors])
            stacked[f"{name}_mask"] = torch.arange(int(lengths.max())) < lengths[:, None]
            stacked[name] = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)
        else:
            stacked[name] = torch.stack(tensors)
    return stacked
