"""The sections of a YAML as dataclasses: their fields are the keys, the annotations what a value may be.

`config.py` holds a YAML against them, by `signatures.py`.
"""

from __future__ import annotations

import builtins
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from anyx.signatures import Amount, Count, Least

Pack = Literal["auto", True, False]  # whether padding is left out; auto: where that is possible
Logged = Literal["tensorboard", "wandb"]
DType = Literal["float32", "bfloat16", "float16"]


@dataclasses.dataclass(frozen=True)
class Node:
    """A component: its registered name, its class, its keyword arguments.

    `shares` are parts of an input projector that are those of another port: name of the part -> that port's projector.
    """

    type: str
    cls: builtins.type[Any]
    kwargs: Mapping[str, Any]
    shares: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Share:
    """The projector of another port of the same side, by its path, such as `outputs.<key>.projector`."""

    share: str

    @property
    def key(self) -> str:
        """The key of the port whose projector it is."""
        return self.share.split(".")[1]


@dataclasses.dataclass(frozen=True)
class LLMConfig:
    """The language model: a folder or Hub id, and how it is loaded. `template` is a name or a whole template.

    A mapping as `path` is a transformers configuration (`model_type` and sizes) of random weights; `tokenizer` is then
    the folder of one. `added_tokens` are strings that the template may write as tokens of their own, `tables` a file
    whose embedding and head take the place of the model's. `adapters` live inside the model's layers, by name.
    `quantize` keeps the matrices of its layers in four or eight bits (the extra `qlora`), frozen, while LoRA learns.
    """

    path: str | Mapping[str, Any]
    lora: Mapping[str, Any] | None = None
    template: str | Mapping[str, Any] = "chatml"
    dtype: DType = "float32"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    tokenizer: str | None = None
    added_tokens: Sequence[str] = ()
    tables: str | None = None
    adapters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    quantize: Literal["nf4", "int8"] | None = None


@dataclasses.dataclass(frozen=True)
class Lora:
    """What `llm.lora` may say: rank, modules, scale (default: the rank), dropout."""

    r: Count
    targets: str | Sequence[str]
    alpha: Amount | None = None
    dropout: Amount = 0.0


@dataclasses.dataclass(frozen=True)
class Card:
    """What `card` may say for the model card: the model's licence, those of parts and data by name, and words.

    `licences` are by the path of a part (`llm`, `encoders.vision`, `outputs.image.decoder`) or any other name, such as
    `data.captions`; `notes` are Markdown.
    """

    licence: str | None = None
    licences: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tags: Sequence[str] = ()
    language: str | Sequence[str] | None = None
    examples: Sequence[str] = ()
    notes: str | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """What every node of `data` may say; the rest are parameters of the class that `type` names."""

    type: str
    augment: str | None = None
    variants: Annotated[int, Least(0)] = 0
    limits: Mapping[str, float | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Input:
    """What the model reads under a key: which encoder, which projector (none without an LLM), which kind of media.

    `into` names adapters of the LLM that the media go into, beside the sequence or in its place; none: the sequence.
    `boxes` is the codec that writes places in these media as text, a type of `anyx.grounding` with its options.
    """

    encoder: str
    projector: Node | Share | None = None
    media: str = ""
    into: str | Sequence[str] = ()
    boxes: Mapping[str, Any] | None = None

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names in `into`."""
        return (self.into,) if isinstance(self.into, str) else tuple(self.into)


@dataclasses.dataclass(frozen=True)
class Output:
    """What the model produces under a key: `tokens` signal tokens, the projector (none without an LLM), the decoder.

    `ask` is how the model is asked for it in words, {prompt} standing for what it is of: "Draw {prompt}.".
    """

    decoder: Node
    projector: Node | Share | None = None
    tokens: Count = 1
    media: str = ""
    ask: str | None = None


def misasked(ask: str) -> str | None:
    """What is told of an `ask` that does not say where the words of who asks stand."""
    if ask.count("{prompt}") == 1:
        return None
    return f"{ask!r} given; it says once by {{prompt}} where the words stand of what is asked for"


@dataclasses.dataclass(frozen=True)
class Validate:
    """What a stage's `validate` may say: `data` that is held out, as a stage's own, and how often it is asked (steps).

    `metric` is `loss` or one of the stage's losses; lower is better. After `patience` times without a better figure the
    stage ends; with `keep_best` it ends with the best weights, whichever step they are of.
    """

    data: Mapping[str, Any]
    every: Count
    metric: str = "loss"
    patience: Count | None = None
    keep_best: bool = True


@dataclasses.dataclass(frozen=True)
class Stage:
    """One entry of `stages`: `train` maps globs over part names to learning rates, `losses` and `data` map names to
    weights, or to mappings with a `weight`; those of `data` are whole sources.

    `steps` or `epochs` (of the whole mixture) say how long, `minutes` at most how long. `warmup` counts steps, or is
    a share of them if below 1. `ema` is the decay of a moving average that takes the weights' place at the end. `init`
    is a stage's folder or file of weights to start from. `seed` is the configuration's unless a stage has its own.
    `tokens` is how many positions of the LLM a batch is filled up to, and `batch_size` then how many rows at most; the
    steps of `epochs` are estimated from the lengths of the data. `pack` says whether padding is left out (`auto`: where
    the LLM and its adapters can). With `bucket` rows of like length share a batch, except in a stage that teaches
    output projectors alone: it reads no row twice, so that their lengths cost nothing there.
    `max_length` cuts conversations to that many ids, a medium counting as one. `template` lays them out otherwise than
    the model's own does, in this stage only. `cache` keeps what frozen encoders and autoencoders compute: `true` as
    they say it under the stage's `precision`; a dtype computed in their own, and rounded to it where they say float32,
    so that stages of any precision share it. What is learnt is the same from the cache as without. Samples that cannot
    be read are skipped and counted, up to a share `bad` of them; with `strict` the first one ends the run.
    `batch_size` is that of all processes together; with `accumulate` a step takes the mean over so many batches, each
    with its own means. `gradient_checkpointing`, `compile`, `channels_last` and `liger` change speed and memory and
    nothing that is learnt (`anyx.training.speed`); what the machine has not is left out. `validate` is of `Validate`.
    """

    name: str
    train: Mapping[str, Amount]
    losses: Mapping[str, Any]
    data: Mapping[str, Any]
    steps: Count | None = None
    epochs: Amount | None = None
    minutes: Amount | None = None
    batch_size: Count = 8
    accumulate: Count = 1
    weight_decay: Amount = 0.0
    betas: Sequence[float] = (0.9, 0.999)
    warmup: Amount = 0.03
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    clip: Amount | None = 1.0
    ema: Amount | None = None
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    tokens: Count | None = None
    pack: Pack = "auto"
    gradient_checkpointing: bool = False
    compile: bool = False
    channels_last: bool = False
    liger: bool = False
    bucket: bool = True
    max_length: Count | None = None
    template: str | Mapping[str, Any] | None = None
    workers: Annotated[int, Least(0)] | None = None
    strict: bool = False
    bad: Amount = 0.5
    cache: bool | DType = True
    log_every: Count = 10
    save_every: Count | None = None
    save_minutes: Amount = 10.0
    seed: int = 0
    init: str | None = None
    validate: Mapping[str, Any] | None = None

    def rows(self, length: int) -> int:
        """How many rows of so many positions a batch holds."""
        return self.batch_size if self.tokens is None else max(1, min(self.batch_size, self.tokens // length))

    def length(self, records: int, batches: Callable[[int], int] | None = None) -> int:
        """Optimiser steps, where the data hold so many records; `batches` says how many batches hold so many."""
        if self.steps is not None:
            return self.steps
        if self.epochs is None:
            raise ValueError(f"stages.{self.name}: give steps or epochs")
        draws = self.epochs * records
        count = draws / self.batch_size if batches is None else batches(math.ceil(draws))
        return max(1, math.ceil(count / self.accumulate))
