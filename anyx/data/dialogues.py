"""Records of messages -> `Dialogues`, in workers.

Wraps the model's `Processor`: replaces media by their augmented copies, answers the processor with cached encoder
tokens, and adds what the losses ask for: latents of target media, teachers' conditions and ids of captions.

Letters: m media items of one key, l ids of a caption.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Int

from anyx.data.batches import Dialogues
from anyx.data.cache import FeatureCache
from anyx.data.features import Wanted, augmented, feature_digest, lookup, taught
from anyx.data.sources import Feed, Record
from anyx.interfaces import Tokens
from anyx.processor import Processor, Sample, source_of
from anyx.prompt import IGNORE, parts_of


class DialogueSample(NamedTuple):
    """The processor's sample, captions of what the user sent, digests of the latents of what the assistant shows."""

    sample: Sample
    captions: list[str | None]
    latents: list[str | None]


@dataclass
class DialogueReader:
    """Records of messages -> `Dialogues`.

    `encoders`, `teachers`, `latents` map a key to the digest of the encoder, text teacher or autoencoder whose
    outputs are in `cache`.
    """

    processor: Processor
    cache: FeatureCache | None = None
    encoders: Mapping[str, str] = field(default_factory=dict)
    teachers: Mapping[str, str] = field(default_factory=dict)
    latents: Mapping[str, str] = field(default_factory=dict)
    caption_ids: bool = False

    def __post_init__(self) -> None:
        given = self.processor
        self.processor = Processor(
            given.prompt,
            transforms=given.transforms,
            kinds=given.kinds,
            words=given.words,
            targets_media=given.targets_media,
            features=self.features if self.encoders else given.features,
            max_length=given.max_length,
        )

    def features(self, key: str, part: Mapping[str, Any]) -> Tokens | None:
        """Cached tokens of a part, if there are any."""
        if self.cache is None or "digest" not in part:
            return None
        value = self.cache[part["digest"]]
        layout = (tuple(value["layout"].tolist()),) if "layout" in value else None
        return Tokens(value["values"][None], value["mask"][None], layout)

    def read(self, record: Record, feed: Feed, variant: int) -> DialogueSample:
        """The processor's sample, with cached features and augmented media."""
        messages: list[Mapping[str, Any]] = []
        captions: list[str | None] = []
        latents: list[str | None] = []
        for message in record["messages"]:
            parts = []
            for part in parts_of(message):
                if part["type"] == "text":
                    parts.append(part)
                elif message["role"] == "assistant":
                    name = self.digest(self.latents, part, feed, variant)
                    latents.append(name)
                    if name:
                        parts.append({**part, "media": None, "path": None, part["type"]: None})
                    else:  # as the cache would have it; what no loss reads stays unread
                        parts.append(self.augment(part, feed, variant) if self.processor.targets_media else part)
                else:
                    captions.append(part.get("caption"))
                    name = self.digest(self.encoders, part, feed, variant)
                    parts.append({**part, "digest": name} if name else self.augment(part, feed, variant))
            messages.append({**message, "content": parts})
        sample = self.processor(messages)  # it may have been cut
        if all(label == IGNORE for label in sample.labels):
            raise ValueError(f"record {record.get('id')!r}: the assistant says nothing that could be learnt")
        return DialogueSample(sample, captions[: len(sample.received)], latents[: len(sample.targets)])

    def length(self, record: Record, heard: Mapping[str, int]) -> int:
        """How many positions of the LLM a record takes, a medium of a key as many as `heard` says, or 1."""
        prompt, most = self.processor.prompt, self.processor.max_length
        encoded = prompt.encode(record["messages"])
        encoded = encoded if most is None else prompt.cut(encoded, most)
        return len(encoded.ids) + sum(heard.get(slot.key, 1) - 1 for slot in encoded.media)

    def digest(self, makers: Mapping[str, str], part: Mapping[str, Any], feed: Feed, variant: int) -> str | None:
        """The digest of a part's features, if they are cached."""
        source = source_of(part)
        if self.cache is None or source is None or part["type"] not in makers:
            return None
        name = feature_digest(makers[part["type"]], source, feed, variant, self.cache)
        return name if name in self.cache else None

    def augment(self, part: Mapping[str, Any], feed: Feed, variant: int) -> Mapping[str, Any]:
        """The part with its augmented media."""
        if feed.augment is None:
            return part
        return {**part, "media": augmented(feed, part["type"], self.processor.read(part["type"], part), variant)}

    def collate(self, samples: Sequence[DialogueSample]) -> Dialogues:
        """Collate, and look up what the losses need."""
        batch = self.processor.collate([sample.sample for sample in samples])
        latents: dict[str, list[str | None]] = {}
        captions: dict[str, list[list[int]]] = {}
        for sample in samples:
            for target, name in zip(sample.sample.targets, sample.latents, strict=True):
                latents.setdefault(target.key, []).append(name)
            for item, text in zip(sample.sample.received, sample.captions, strict=True):
                captions.setdefault(item.key, []).append(self.ids(text) if text and self.caption_ids else [])
        ids = {key: padded(rows) for key, rows in captions.items()} if self.caption_ids else {}
        heard = {
            key: media._replace(counts=(ids[key] >= 0).sum(1)) for key, media in batch.inputs.items() if key in ids
        }
        named = {key: [text or None for text in target.captions] for key, target in batch.targets.items()}
        return Dialogues(
            batch._replace(inputs={**batch.inputs, **heard}),
            taught(self.cache, self.teachers, named),
            {key: found for key, names in latents.items() if (found := lookup(self.cache, names))},
            ids,
        )

    def ids(self, text: str) -> list[int]:
        """A caption's ids, as it stands in the midst of a sentence: there words are whole that would be in pieces."""
        before, whole = (
            self.processor.prompt.tokenizer(x, add_special_tokens=False)["input_ids"] for x in ("a", f"a {text}")
        )
        return list(whole[len(before) :])

    def wanted(self, record: Record, feed: Feed) -> Iterable[Wanted]:
        """Which encoders' and autoencoders' outputs the record needs."""
        for message in record["messages"]:
            makers = self.latents if message["role"] == "assistant" else self.encoders
            for part in parts_of(message):
                key = part["type"]
                source = source_of(part) if key in makers else None
                for variant in range(feed.variants) if source is not None else ():
                    name = feature_digest(makers[key], source, feed, variant, self.cache)
                    yield Wanted(name, makers[key], key, source, variant)

    def captions_of(self, record: Record) -> Iterable[tuple[str, str]]:
        """What the record asks of teachers: keys and captions."""
        for message in record["messages"]:
            for part in parts_of(message) if message["role"] == "assistant" else ():
                if part["type"] in self.teachers and part.get("caption"):
                    yield part["type"], part["caption"]


def padded(rows: Sequence[Sequence[int]]) -> Int[Tensor, "m l"]:
    """Rows of ids side by side, -1 where they end."""
    ids = torch.full((len(rows), max([1, *map(len, rows)])), -1)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return ids
