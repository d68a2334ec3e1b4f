"""Records of media and a caption -> `Pairs`, in workers: what stages without an LLM train on."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from anyx.data.batches import Pairs
from anyx.data.cache import FeatureCache
from anyx.data.features import Wanted, augmented, feature_digest, lookup, taught
from anyx.data.sources import Feed, Record
from anyx.interfaces import Media
from anyx.processor import Transform, source_of, stack
from anyx.prompt import parts_of

CAPTION = "caption"  # the key of a pair's text, beside its media


class PairSample(NamedTuple):
    """The media of one record, and the digests of their latents."""

    media: dict[str, Media | None]
    tensors: dict[str, dict[str, Tensor]]
    caption: str
    latents: dict[str, str]


@dataclass
class PairReader:
    """Records of `media` and `caption`, or dialogues read as such, -> `Pairs`.

    `kinds` are the classes of media by key, `transforms` what an encoder reads of them ("caption": of the text).
    Where a record lists several files for a key, the variant draws one: of a feed that has but one variant it is ever
    the same, so `feed` gives sources of such records endless ones unless told otherwise. `cache`, `teachers`, `latents`
    as in `DialogueReader`.
    """

    kinds: Mapping[str, type[Any]]
    transforms: Mapping[str, Transform] = field(default_factory=dict)
    cache: FeatureCache | None = None
    teachers: Mapping[str, str] = field(default_factory=dict)
    latents: Mapping[str, str] = field(default_factory=dict)

    def read(self, record: Record, feed: Feed, variant: int) -> PairSample:
        """Read, augment and transform the media of a record."""
        sources, caption = pair_of(record)
        sample = PairSample({}, {}, caption, {})
        for key in sorted(sources.keys() & self.kinds.keys()):
            source = drawn(sources[key], key, variant)
            if key in self.latents and self.cache is not None and key not in self.transforms:
                name = feature_digest(self.latents[key], source, feed, variant, self.cache)
                if name in self.cache:
                    sample.latents[key] = name
                    sample.media[key] = None
                    continue
            media = self.kinds[key].read(source)
            sample.media[key] = media = augmented(feed, key, media, variant) if feed.augment else media
            if key in self.transforms:
                sample.tensors[key] = self.transforms[key](media)
        if not sample.media:
            raise ValueError(f"a record has media {sorted(sources)}; this stage reads {sorted(self.kinds)}")
        if CAPTION in self.transforms:
            sample.tensors[CAPTION] = self.transforms[CAPTION](caption)
        return sample

    def collate(self, samples: Sequence[PairSample]) -> Pairs:
        """Gather the media of each key."""
        keys = sorted({key for sample in samples for key in sample.media})
        rows = {key: [i for i, sample in enumerate(samples) if key in sample.media] for key in keys}
        latents = {key: lookup(self.cache, [samples[i].latents.get(key) for i in rows[key]]) for key in keys}
        wanted = {key: [samples[i].caption for i in rows[key]] for key in keys}
        media = {key: [samples[i].media[key] for i in rows[key]] for key in keys}
        rows |= {CAPTION: list(range(len(samples)))} if CAPTION in self.transforms else {}
        return Pairs(
            {key: torch.tensor(value) for key, value in rows.items()},
            {key: stack([samples[i].tensors[key] for i in rows[key]]) for key in rows if key in self.transforms},
            media,
            [sample.caption for sample in samples],
            taught(self.cache, self.teachers, wanted),
            {key: found for key, found in latents.items() if found},
        )

    def wanted(self, record: Record, feed: Feed) -> Iterable[Wanted]:
        """Which autoencoders' outputs the record needs."""
        sources, _ = pair_of(record)
        for key in sorted(sources.keys() & self.latents.keys() - self.transforms.keys()):
            for variant in range(feed.variants):
                source = drawn(sources[key], key, variant)
                name = feature_digest(self.latents[key], source, feed, variant, self.cache)
                yield Wanted(name, self.latents[key], key, source, variant)

    def captions_of(self, record: Record) -> Iterable[tuple[str, str]]:
        """What the record asks of teachers; of a record without words, that of none, as a learning one would say it."""
        sources, caption = pair_of(record)
        return [(key, caption) for key in sources if key in self.teachers]


def pair_of(record: Record) -> tuple[dict[str, Any], str]:
    """Media sources by key and the caption of a record of either form."""
    if "media" in record:
        return dict(record["media"]), record.get(CAPTION) or ""
    parts = [part for message in record["messages"] for part in parts_of(message)]
    media = {part["type"]: source_of(part) for part in parts if part["type"] != "text"}
    captions = [part[CAPTION] for part in parts if part.get(CAPTION)]
    captions += [part["text"] for part in parts if part["type"] == "text"]
    return {key: source for key, source in media.items() if source is not None}, captions[0] if captions else ""


def drawn(source: Any, key: str, variant: int) -> Any:
    """The source; of several, the one that the variant draws, the same for every record: trained models rely on it."""
    return random.Random(f"{key}/{variant}").choice(source) if isinstance(source, list) else source
