"""Which reader a stage's losses want, and what of its batches comes from the cache.

A frozen component is known by what it is: an encoder and an autoencoder by weights and settings (the keywords the YAML
gives it), a text encoder by what it says. Where a feed augments without end, or a component is learning, nothing of it
is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from anyx.data.cache import FeatureCache, digest, module_digest, parameters_digest, transform_digest
from anyx.data.dialogues import DialogueReader
from anyx.data.pairs import PairReader
from anyx.data.sources import Feed
from anyx.interfaces import Encoder, TextTeacher
from anyx.model import AnyX
from anyx.processor import Processor, Transform
from anyx.training.conditions import LatentSpace
from anyx.training.objectives import encoder_name
from anyx.training.trainee import Trainee

PROBE = "one caption, to know a text encoder by what it says of it"
Reader = DialogueReader | PairReader


def make_reader(
    trainee: Trainee,
    feeds: Sequence[Feed],
    cache: FeatureCache,
    settings: Mapping[str, str],
) -> Reader:
    """The reader that a stage's losses want. `settings` say what a component is beside its weights, by its path."""
    model, wanted = trainee.model, {term.name for term in trainee.terms}
    learning = set(trainee.selection.names)
    keeps = trainee.stage.cache and all(feed.variants for feed in feeds)
    teachers: dict[str, str] = {}
    latents: dict[str, str] = {}
    encoders: dict[str, str] = {}
    for key, port in model.outputs.items():
        decoder, prefix = port.decoder, f"outputs.{key}.decoder"
        teaches = ("caption" if isinstance(model, AnyX) else "denoise") in wanted
        if teaches and isinstance(decoder, TextTeacher) and f"{prefix}.text" not in learning:
            teachers[key] = teacher_digest(decoder)
        if not ("denoise" in wanted and keeps and f"{prefix}.vae" not in learning):
            continue
        if isinstance(decoder, LatentSpace) and "vae" in decoder.parts():
            latents[key] = parameters_digest(decoder.parts()["vae"], type(decoder).__name__, settings.get(prefix, ""))
    if not isinstance(model, AnyX):
        return PairReader(model.kinds, pair_transforms(trainee), cache, teachers, latents)
    for key, source in model.inputs.items():
        path = f"encoders.{source.encoder}"
        if keeps and path not in learning:
            transform = transform_digest(model.processor.transforms[key])
            encoders[key] = module_digest(model.encoders[source.encoder], transform, settings.get(path, ""))
    given = model.processor
    processor = Processor(
        given.prompt, transforms=given.transforms, kinds=given.kinds, targets_media="denoise" in wanted
    )
    return DialogueReader(processor, cache, encoders, teachers, latents, caption_ids="align" in wanted)


def pair_transforms(trainee: Trainee) -> dict[str, Transform]:
    """What the encoders of a contrastive loss read, by key."""
    made: dict[str, Transform] = {}
    for term in trainee.terms:
        for key in {key for pair in term.options.get("pairs", ()) for key in pair}:
            name = encoder_name(trainee.model, key, term.options.get("encoders"))
            encoder = trainee.model.encoders[name]
            assert isinstance(encoder, Encoder)
            made[key] = encoder.transform
    return made


def teacher_digest(decoder: TextTeacher) -> str:
    """Know a teacher by what it says (rounded: threads may add in another order)."""
    said = encode(decoder, [PROBE])[0]
    return digest(*(f"{name}{tuple(x.shape)}" for name, x in said.items()), *(rounded(x) for x in said.values()))


def rounded(values: Tensor) -> bytes:
    """Values to two decimals, as bytes."""
    return (values.float() * 100).round().to(torch.int32).cpu().numpy().tobytes()


@torch.no_grad()
def encode(decoder: TextTeacher, captions: Sequence[str]) -> list[dict[str, Tensor]]:
    """A teacher's conditions, one a caption, as tensors named `values.<name>` and `masks.<name>`."""
    condition = decoder.encode_text(captions)
    named = {f"values.{name}": x for name, x in condition.values.items()}
    named |= {f"masks.{name}": x for name, x in condition.masks.items()}
    return [{name: x[row].cpu() for name, x in named.items()} for row in range(len(captions))]
