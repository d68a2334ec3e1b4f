"""Golden weights laid out as a published pipeline folder, so that they are read as downloaded ones are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from anyx.decoders.diffusion import SCHEDULERS

NAMES = {"dpm": "dpmsolver++"}  # the goldens' word for one of SCHEDULERS
LIBRARY = {"vae": "AutoencoderKL", "unet": "UNet2DConditionModel"}


def scheduler_name(name: str) -> str:
    """A golden scheduler's name as a YAML says it."""
    return NAMES.get(name, name)


def write(
    folder: Path,
    pipeline: str,
    configs: Mapping[str, Mapping[str, Any]],
    weights: Mapping[str, Tensor],
    scheduler: tuple[str, Mapping[str, Any]],
    classes: Mapping[str, str],
) -> Path:
    """Write components (their weights are named `<component>.*`), a scheduler, and model_index.json."""
    index: dict[str, Any] = {"_class_name": pipeline}
    for name, config in configs.items():
        cls = classes.get(name) or LIBRARY[name]
        ours = name in LIBRARY
        index[name] = ["diffusers" if ours else "transformers", cls]
        file = "diffusion_pytorch_model" if ours else "model"
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(config))
        state = {k.removeprefix(f"{name}."): x.contiguous() for k, x in weights.items() if k.startswith(f"{name}.")}
        save_file(state, folder / name / f"{file}.safetensors", {"format": "pt"})
    kind = SCHEDULERS[scheduler_name(scheduler[0])]
    getattr(diffusers, kind).from_config(dict(scheduler[1])).save_pretrained(folder / "scheduler")
    index["scheduler"] = ["diffusers", kind]
    if "text_encoder" in configs:
        index["tokenizer"] = ["transformers", "PreTrainedTokenizerFast"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def write_tokenizer(
    folder: Path, ids: Mapping[str, Sequence[int]], *, length: int, pad: int, around: tuple[int, int] | None = None
) -> None:
    """A tokenizer that gives each text these ids, between a first and a last one if the model has such."""
    name = "<{}>".format
    words = {name(i): i for row in [*ids.values(), (pad, *(around or ()))] for i in row}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=name(pad)))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(text, " ".join(map(name, row))) for text, row in ids.items() if text]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if around is not None:
        first, last = map(name, around)
        special = [(first, around[0]), (last, around[1])]
        tokenizer.post_processor = processors.TemplateProcessing(f"{first} $A {last}", special_tokens=special)
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=length, pad_token=name(pad))
    made.save_pretrained(folder / "tokenizer")
