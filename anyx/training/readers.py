"""Which reader a stage's losses want, and what of its batches comes from the cache.

A frozen component is known by what it is: its weights, its settings (the keywords the YAML gives it), its code; a text
encoder by its words too. One whose weights are as its files have them is known by the files, so that it need not be in
memory. Where a feed augments without end, or a component is learning, nothing of it is looked up.

Encoders say what they say in the stage's precision (`Numbers`); text encoders and autoencoders, whose outputs are aimed
at, compute in their own whatever that is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from anyx.data.cache import FeatureCache
from anyx.data.code import code_of
from anyx.data.dialogues import DialogueReader
from anyx.data.digests import digest, module_digest, parameters_digest, transform_digest
from anyx.data.pairs import PairReader
from anyx.data.sources import Feed
from anyx.frozen import Origin
from anyx.interfaces import Encoder, TextTeacher
from anyx.model import AnyX
from anyx.processor import Processor, Transform
from anyx.training.conditions import LatentSpace
from anyx.training.objectives import OF_CAPTIONS, encoder_name
from anyx.training.stage import autocast_dtype, numbers_of
from anyx.training.trainee import Trainee

Reader = DialogueReader | PairReader
CPU = torch.device("cpu")


def make_reader(
    trainee: Trainee,
    feeds: Sequence[Feed],
    cache: FeatureCache,
    settings: Mapping[str, str],
    device: torch.device = CPU,
    changed: Collection[str] = (),
) -> Reader:
    """The reader that a stage's losses want. `settings` say what a component is beside its weights, by its path.

    `device` is that of the training, which decides what its precision is. Of parts that will have `changed` before the
    stage begins nothing is looked up, as of those that learn in it.
    """
    model, wanted = trainee.model, {term.name: term.options.get("keys") for term in trainee.terms}
    learning = {*trainee.selection.names, *changed}
    keeps = trainee.stage.cache and all(feed.variants for feed in feeds)
    teachers: dict[str, str] = {}
    latents: dict[str, str] = {}
    encoders: dict[str, str] = {}
    numbers = numbers_of(trainee.stage)
    kept = str(numbers.kept or "")
    for key, port in model.outputs.items():
        decoder, prefix = port.known, f"outputs.{key}.decoder"
        taught = "caption" if isinstance(model, AnyX) else "denoise"
        teaches = taught in wanted and key in (wanted[taught] or model.outputs)
        if teaches and isinstance(decoder, TextTeacher) and f"{prefix}.text" not in learning:
            teachers[key] = (
                teacher_digest(decoder, settings.get(prefix, ""), kept)
                if port.origin is None
                else files_digest(cache, port.origin, "text", code_of(type(decoder)), kept)
            )
        if not ("denoise" in wanted and keeps and f"{prefix}.vae" not in learning):
            continue
        if isinstance(decoder, LatentSpace) and "vae" in decoder.parts():
            known = (type(decoder).__name__, code_of(type(decoder)), str(decoder.scaling_factor()), kept)
            latents[key] = (
                parameters_digest(decoder.parts()["vae"], settings.get(prefix, ""), *known)
                if port.origin is None
                else files_digest(cache, port.origin, "latents", *known)
            )
    if not isinstance(model, AnyX):
        return PairReader(model.kinds, pair_transforms(trainee), cache, teachers, latents)
    heard = model.encoders.known()
    precision = None if numbers.own else autocast_dtype(trainee.stage, device)
    for key, source in model.inputs.items():
        path = f"encoders.{source.encoder}"
        if keeps and not any(name == path or name.startswith(f"{path}.") for name in learning):
            transform, encoder = model.processor.transforms[key], heard[source.encoder]
            known = (
                transform_digest(transform).hex(),
                code_of(transform),
                code_of(type(encoder)),
                str(precision),
                kept,
            )
            origin = model.encoders.origins.get(source.encoder)
            encoders[key] = (
                module_digest(encoder, settings.get(path, ""), *known)
                if origin is None
                else files_digest(cache, origin, "tokens", *known)
            )
    given, template = model.processor, trainee.stage.template
    processor = Processor(
        given.prompt if template is None else given.prompt.by(template),
        transforms=given.transforms,
        kinds=given.kinds,
        words=given.words,
        targets_media="denoise" in wanted,
        max_length=trainee.stage.max_length,
    )
    return DialogueReader(processor, cache, encoders, teachers, latents, caption_ids=bool(OF_CAPTIONS & wanted.keys()))


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


def teacher_digest(decoder: TextTeacher, settings: str, kept: str = "") -> str:
    """Know a teacher by its text encoder and its words."""
    encoder, words = decoder.text_parts()
    return module_digest(encoder, words, settings, code_of(type(decoder)), kept)


def files_digest(cache: FeatureCache, origin: Origin, *more: str) -> str:
    """Know a component by the files that its weights are read from; a file is read by the first run alone."""
    return digest(
        *more, origin.settings, *(x for name, file in origin.files() for x in (name, cache.media_digest(file)))
    )


@torch.no_grad()
def encode(decoder: TextTeacher, captions: Sequence[str]) -> list[dict[str, Tensor]]:
    """A teacher's conditions, one a caption, as tensors named `values.<name>` and `masks.<name>`."""
    condition = decoder.encode_text(captions)
    named = {f"values.{name}": x for name, x in condition.values.items()}
    named |= {f"masks.{name}": x for name, x in condition.masks.items()}
    return [{name: x[row].cpu() for name, x in named.items()} for row in range(len(captions))]
