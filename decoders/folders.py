"""Where a decoder's components come from and go to: pipeline folders in diffusers' layout, or plain configurations.

A component is, in this order: a path given for it alone; what the pipeline at `path` holds under its name; a random one
built from a configuration mapping. The last is how tiny decoders are built from a YAML, and a folder written by `write`
is read back by the first two. On the `meta` device no weights are read at all.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import diffusers
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anyx.compact import FINE, restored, shrunk
from anyx.interfaces import Condition

from .threads import quiet

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
NULL = "null_condition.safetensors"


@runtime_checkable
class Text(Protocol):
    """What `save` asks of a text encoder."""

    def save(self, folder: Path, dtype: torch.dtype | None) -> dict[str, list[str | None]]:
        """Write it and say, for model_index.json, what it is."""
        ...

    def null_condition(self) -> Condition:
        """The encoding of the empty caption."""
        ...


class Source:
    """A pipeline folder or Hub id (or none), and the dtype its weights are wanted in."""

    def __init__(self, path: str | None, dtype: str) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype: {dtype!r} is not one of {', '.join(DTYPES)}")
        self.path, self.dtype = path, DTYPES[dtype]

    @cached_property
    def index(self) -> dict[str, Any]:
        """The pipeline's model_index.json; empty without a path."""
        return {} if self.path is None else dict(diffusers.DiffusionPipeline.load_config(self.path))

    def class_of(self, name: str) -> str | None:
        """The class name of a component of the pipeline, `None` where the pipeline has none of that name."""
        entry = self.index.get(name)
        return entry[1] if isinstance(entry, list | tuple) else None

    def file(self, name: str) -> Path | None:
        """One file of the pipeline, fetched from the Hub where needed; `None` where the pipeline has no such file."""
        if self.path is None or Path(self.path).is_dir():
            local = Path(self.path or "", name)
            return local if self.path is not None and local.exists() else None
        try:
            return Path(hf_hub_download(self.path, name))
        except (EntryNotFoundError, LocalEntryNotFoundError):
            return None

    def config(self, name: str) -> dict[str, Any]:
        """The config.json of a component of the pipeline; empty where there is none."""
        file = self.file(f"{name}/config.json")
        return {} if file is None else dict(json.loads(file.read_text()))

    def null(self) -> dict[str, Tensor]:
        """The cached null condition that `save` left in the folder, and `mask.<name>`; empty where there is none."""
        file = self.file(NULL)
        found = {} if file is None or is_meta() else load_file(file)
        return {name: x.to(self.dtype) if x.is_floating_point() else x for name, x in found.items()}

    def null_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the same, read without the numbers."""
        file = self.file(NULL)
        if file is None:
            return {}
        with safe_open(file, framework="pt") as held:
            return {name: tuple(held.get_slice(name).get_shape()) for name in held.keys()}  # noqa: SIM118 - no mapping

    def model(self, name: str, cls: Any, given: Mapping[str, Any] | str | None) -> Any:
        """A diffusers model: read from a path of its own or from the pipeline, or built from a configuration."""
        if isinstance(given, str):
            return self._read(cls, given, None)
        if self.class_of(name) is not None:
            return self._read(cls, str(self.path), name)
        if given is None:
            where = "no `path` is given" if self.path is None else f"the pipeline at {self.path!r} has none"
            raise ValueError(f"{name}: {where}, so a configuration of a {cls.__name__} is required")
        check_keys(name, cls, given)
        return self._cast(cls.from_config(dict(given)))

    def vae(self, given: Mapping[str, Any] | str | None) -> Any:
        """The autoencoder, in the memory format in which its convolutions are 1.3 to 3 times as fast on a CPU."""
        return self.model("vae", diffusers.AutoencoderKL, given).to(memory_format=torch.channels_last)

    def text_model(self, name: str, cls: Any) -> Any:
        """A model of transformers from the pipeline's folder of that name."""
        state = None if is_meta() else bytewise(Path(str(self.path), name))
        with quiet():
            if state is None and not is_meta():
                return cls.from_pretrained(self.path, subfolder=name, dtype=self.dtype).eval()
            model = cls(cls.config_class.from_pretrained(self.path, subfolder=name))
        return self._cast(model if state is None else filled(model, state))

    def _read(self, cls: Any, path: str, folder: str | None) -> Any:
        state = None if is_meta() else bytewise(Path(path, folder or ""))
        if state is None and not is_meta():
            return cls.from_pretrained(path, subfolder=folder, torch_dtype=self.dtype)
        model = cls.from_config(cls.load_config(path, subfolder=folder))
        return self._cast(model if state is None else filled(model, state))

    def _cast(self, model: Any) -> Any:
        with quiet():
            return model.to(self.dtype).eval()


def is_meta() -> bool:
    """Whether models are being built under `torch.device("meta")`: shapes only."""
    return bool(torch.get_default_device().type == "meta")


def check_keys(name: str, cls: Any, given: Mapping[str, Any]) -> None:
    """Refuse keys that are no parameter of the class (diffusers only warns)."""
    allowed = set(inspect.signature(cls.__init__).parameters) - {"self"}
    wrong = [key for key in given if key not in allowed and not key.startswith("_")]
    if wrong:
        raise ValueError(f"{name}: {', '.join(map(repr, wrong))} not in {cls.__name__} ({', '.join(sorted(allowed))})")


def portable(module: nn.Module, dtype: torch.dtype | None) -> Any:
    """A copy to write: contiguous, in the given dtype (`None`: as it is)."""
    with quiet():
        return copy.deepcopy(module.apply(_settled)).to(dtype=dtype).apply(_contiguous)


def write(module: nn.Module, folder: Path, dtype: torch.dtype | None) -> None:
    """A component in a folder of its own, in the layout of its library.

    With `torch.int8` its matrices take a byte a weight (`anyx.compact`), and `Source` alone reads it.
    """
    small = dtype == torch.int8
    with quiet():
        made: Any = portable(module, None if small else dtype)
        made.save_pretrained(folder)
    for file in folder.glob("*.safetensors") if small else ():
        stored = shrunk(load_file(file), levels=FINE)
        save_file({name: x.contiguous() for name, x in stored.items()}, file, {"format": "pt"})


def bytewise(folder: Path) -> dict[str, Tensor] | None:
    """The weights of a local folder that `write` stored in a byte each, in fp32; None if it has others or none."""
    state: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as held:
            if not any(held.get_slice(name).get_dtype() == "I8" for name in held.keys()):  # noqa: SIM118 - no mapping
                return None
        state |= restored(load_file(file))
    return state or None


def filled(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A model with these weights, all of them."""
    model.load_state_dict(state)
    return model


def forget_origin(config: Path) -> None:
    """Take the path that a part was loaded from out of its config: diffusers writes it, and it is nobody's business."""
    said = json.loads(config.read_text())
    said.pop("_name_or_path", None)
    config.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")


def save(
    folder: Path,
    pipeline: str,
    models: Mapping[str, nn.Module],
    scheduler: Any,
    text: Text,
    dtype: torch.dtype | None,
    extra: Mapping[str, Any],
) -> Path:
    """Write a pipeline folder: models, scheduler, text encoder and tokenizer, the null condition, model_index.json.

    `extra` joins model_index.json; its `None` values name components that the pipeline runs without.
    """
    index: dict[str, Any] = {"_class_name": pipeline, "_diffusers_version": diffusers.__version__}
    for name, model in models.items():
        write(model, folder / name, dtype)
        forget_origin(folder / name / "config.json")
        module = type(model).__module__
        index[name] = [module if module.startswith("anyx.") else module.split(".")[0], type(model).__name__]
    scheduler.save_pretrained(folder / "scheduler")
    index |= {name: [None, None] if value is None else value for name, value in extra.items()}
    index |= {"scheduler": ["diffusers", type(scheduler).__name__]} | text.save(folder, dtype)
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    null = text.null_condition()
    kind = None if dtype == torch.int8 else dtype
    stored = {name: x.detach().cpu().to(dtype=kind) for name, x in null.values.items()}
    stored |= {f"mask.{name}": mask.cpu() for name, mask in null.masks.items() if not mask.all()}
    save_file({name: x.contiguous() for name, x in stored.items()}, folder / NULL)
    return folder


def _settled(module: nn.Module) -> None:
    """Let go of the graph of what a module computes of its parameters (weight norm): graphs cannot be copied."""
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            vars(module)[name] = value.detach()


def _contiguous(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.data = parameter.data.contiguous()
