"""The table of losses: name -> function of a step, whose keyword arguments are the options a YAML may give.

Each reads what it needs from the step, and answers None where the batch holds nothing for it (a batch of plain text
has no conditions). `keys` restricts a loss to some of the model's keys; `weights` weighs them against one another.
What an option names is said by its annotation, so that `anyx check` knows a name that is misspelt.

Letters: b items, m rows that a key has, l positions, d width.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from anyx.config import Names
from anyx.data.batches import Dialogues, Pairs
from anyx.data.pairs import CAPTION
from anyx.interfaces import Reconstructs
from anyx.model import AnyX
from anyx.training import losses
from anyx.training.alignment import align, quantity
from anyx.training.backbones import Model
from anyx.training.chunked import cross_entropy
from anyx.training.conditions import (
    Groups,
    LatentSpace,
    Step,
    chosen,
    condition_of,
    conditions,
    counted,
    decoder_of,
    dropped,
    rows_of,
)

Objective = Callable[..., Tensor | None]
OutputKey = Annotated[str, Names(("outputs",))]
PairKey = Annotated[str, Names(("inputs", "outputs"), also=(CAPTION,))]
EncoderName = Annotated[str, Names(("encoders",))]


def text(step: Step) -> Tensor | None:
    """Cross-entropy of what the assistant says, mean over supervised positions."""
    assert step.output is not None
    assert isinstance(step.model, AnyX)
    said, llm = step.output, step.model.llm
    if not len(said.labels):
        return None
    return cross_entropy(said.states, said.labels, llm.logits, llm.head, llm.vocabulary + llm.rows) / len(said.labels)


def caption(
    step: Step,
    *,
    kind: losses.CaptionKind = "l2norm",
    pads: float = 0.0,
    relative: bool = True,
    groups: Groups = "all",
    keys: Sequence[OutputKey] | None = None,
    weights: Mapping[OutputKey, float] | None = None,
) -> Tensor | None:
    """Projected conditions against the decoders' own encodings of the captions; positions past their end by `pads`.

    `relative` measures each key by its teacher's own scale, so that keys count alike. `groups: first` reads only the
    first group of each key in a conversation, where published systems have room for no more.
    """
    found = {}
    for key, said, batch in conditions(step, keys):
        teacher = batch.teachers.get(key)
        teacher = teacher and chosen(teacher, counted(batch, key, groups))
        if teacher is not None and len(teacher.rows):
            mine, taught = rows_of(said, teacher.rows), condition_of(teacher)
            found[key] = losses.caption(mine, taught, kind=kind, pads=pads, relative=relative)
    return total(found, weights)


def denoise(
    step: Step,
    *,
    drop: float = 0.0,
    groups: Groups = "all",
    keys: Sequence[OutputKey] | None = None,
    weights: Mapping[OutputKey, float] | None = None,
) -> Tensor | None:
    """The decoders' diffusion loss; `drop` replaces conditions by the null one at that rate, for guidance.

    `groups`: as `caption` has it.
    """
    found = {}
    for key, said, batch in conditions(step, keys):
        decoder = decoder_of(step.model, key)
        cached, counts = batch.latents.get(key), counted(batch, key, groups)
        if cached is not None and isinstance(decoder, LatentSpace):
            if len((cached := chosen(cached, counts)).rows):
                said = dropped(rows_of(said, cached.rows), decoder, drop)
                found[key] = decoder.denoising_loss(said, cached.values["latents"])
            continue
        media = batch.batch.targets[key].media if isinstance(batch, Dialogues) else batch.media[key]
        rows = [row for row, item in enumerate(media) if item is not None and (counts is None or counts[row])]
        if rows:
            said = dropped(rows_of(said, torch.tensor(rows)), decoder, drop)
            found[key] = decoder.loss(said, [media[row] for row in rows])
    return total(found, weights)


def contrastive(
    step: Step,
    *,
    pairs: Sequence[tuple[PairKey, PairKey]],
    encoders: Mapping[PairKey, EncoderName] | None = None,
    temperature: float = 0.07,
    learn_temperature: bool = False,
) -> Tensor | None:
    """InfoNCE between keys of `pairs` ("caption" is the text), each encoded by its input's encoder or by `encoders`.

    Records with the same caption are no negatives of each other.
    """
    assert isinstance(step.batch, Pairs)
    batch, embedded = step.batch, {}
    found: dict[str, Tensor] = {}
    for key in dict.fromkeys(key for pair in pairs for key in pair):
        if key in batch.tensors:
            encoder = step.model.encoders[encoder_name(step.model, key, encoders)]
            embedded[key] = losses.mean_pool(encoder(batch.tensors[key]))
    scale = step.scale.exp() if learn_temperature else 1 / temperature
    same = torch.tensor([[a == b for b in batch.captions] for a in batch.captions], device=step.scale.device)
    for a, b in pairs:
        if a not in embedded or b not in embedded:
            continue
        shared = [row for row in batch.rows[a].tolist() if row in set(batch.rows[b].tolist())]
        if len(shared) > 1:
            left = embedded[a][[batch.rows[a].tolist().index(row) for row in shared]]
            right = embedded[b][[batch.rows[b].tolist().index(row) for row in shared]]
            found[f"{a}-{b}"] = losses.contrastive(left, right, scale, same[shared][:, shared])
    return total(found, None)


def reconstruct(
    step: Step,
    *,
    l1: float = 1.0,
    mse: float = 1.0,
    edges: float = 0.0,
    kl: float = 1e-6,
    keys: Sequence[OutputKey] | None = None,
) -> Tensor | None:
    """The autoencoders' loss on the media of each key."""
    assert isinstance(step.batch, Pairs)
    found = {}
    for key, media in step.batch.media.items():
        if key in step.model.outputs and (keys is None or key in keys):
            decoder = decoder_of(step.model, key)
            if not isinstance(decoder, Reconstructs):
                raise ValueError(
                    f"losses.reconstruct: outputs.{key}.decoder does not reconstruct; name others by `keys`"
                )
            made, target, divergence = decoder.reconstruct(media)
            found[key] = losses.reconstruct(made, target, divergence, l1=l1, mse=mse, edges=edges, kl_weight=kl)
    return total(found, None)


OBJECTIVES: dict[str, Objective] = {
    "text": text,
    "caption": caption,
    "denoise": denoise,
    "align": align,
    "quantity": quantity,
    "contrastive": contrastive,
    "reconstruct": reconstruct,
}
OF_CONDITIONS = {"caption", "denoise"}  # they read no logits
OF_CAPTIONS = {"align", "quantity"}  # they read the ids of what the captions of received media say
OF_THE_LLM = {"text", "caption", "denoise"}  # with an LLM, these read its output
WANTS_LLM = dict.fromkeys(("text", "caption", "align", "quantity"), True) | {"contrastive": False, "reconstruct": False}


def refusal(name: str, llm: bool) -> str:
    """Why a loss is none of a model with an LLM, or of one without; nothing where it is."""
    fitting = [other for other in OBJECTIVES if WANTS_LLM.get(other, llm) == llm]
    if name in fitting:
        return ""
    return f"{name!r} is no loss of a model {'with' if llm else 'without'} an LLM; those are {', '.join(fitting)}"


def states_are_given(losses: Iterable[str], learning: Iterable[str]) -> bool:
    """Whether nothing up to the LLM's states changes in a stage: only output projectors learn, from conditions."""
    return set(losses) <= OF_CONDITIONS and all(
        name.startswith("outputs.") and name.endswith(".projector") for name in learning
    )


@dataclass(frozen=True)
class Term:
    """One loss of a stage: its weight and options."""

    name: str
    weight: float
    options: Mapping[str, Any]

    def __call__(self, step: Step) -> Tensor | None:
        """The unweighted loss."""
        if refused := refusal(self.name, isinstance(step.model, AnyX)):
            raise ValueError(f"losses.{self.name}: {refused}")
        return OBJECTIVES[self.name](step, **self.options)


def terms(given: Mapping[str, Any]) -> list[Term]:
    """The losses of a stage: name -> weight, or name -> {weight, option: value}."""
    if not given:
        raise ValueError(f"losses: nothing is named; they are {', '.join(OBJECTIVES)}")
    made = []
    for name, value in given.items():
        options = dict(value) if isinstance(value, Mapping) else {"weight": value}
        weight = float(options.pop("weight", 1.0))
        if name not in OBJECTIVES:
            raise ValueError(f"losses.{name}: {name!r} is not one of {', '.join(OBJECTIVES)}")
        parameters = dict(list(inspect.signature(OBJECTIVES[name]).parameters.items())[1:])
        for option in options:
            if option not in parameters:
                raise ValueError(f"losses.{name}.{option}: {name!r} takes {', '.join(('weight', *parameters))}")
        for option, parameter in parameters.items():
            if parameter.default is parameter.empty and option not in options:
                raise ValueError(f"losses.{name}.{option}: is missing; {name!r} requires it")
        made.append(Term(name, weight, options))
    return made


def encoder_name(model: Model, key: str, encoders: Mapping[str, str] | None) -> str:
    """Which encoder reads a key: as given, its input's, or the one of its own name."""
    name = (encoders or {}).get(key) or (str(model.inputs[key].encoder) if key in model.inputs else key)
    if name not in model.encoders:
        raise ValueError(
            f"losses.contrastive: {key!r} has encoder {name!r}, which is not one of {', '.join(model.encoders)}"
        )
    return name


def total(found: Mapping[str, Tensor], weights: Mapping[str, float] | None) -> Tensor | None:
    """The weighted sum over keys; None where there is none."""
    return losses.weighted(found, {key: (weights or {}).get(key, 1.0) for key in found}) if found else None
