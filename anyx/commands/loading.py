"""How a model is loaded: `--device`, `--dtype`, `--offload` and `--quantize` as what a YAML says for the same."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args

import typer

from anyx.commands.options import Device, console, pick_device
from anyx.schema import DType

if TYPE_CHECKING:
    from anyx.backends import WholeModel
    from anyx.config import Config
    from anyx.model import AnyX

__all__ = ["DTypeOption", "Device", "Loading", "OffloadOption", "QuantizeOption", "load_answering", "load_model"]

FORMS = {4: "nf4", 8: "int8"}
OFFLOADS = ("never", "model")

DTypeOption = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help=f"{', '.join(get_args(DType))}: what the LLM, encoders and decoders compute in, as `dtype` in the YAML.",
    ),
]
OffloadOption = Annotated[
    str | None,
    typer.Option(
        "--offload",
        help="model: decoders wait in the CPU's memory, and are on the device only while they work; never; as "
        "`offload` in the YAML.",
    ),
]
QuantizeOption = Annotated[
    int | None,
    typer.Option(
        "--quantize",
        help="4 or 8: bits of the LLM's matrices, as llm.quantize: nf4 or int8 in the YAML (the extra `qlora`).",
    ),
]


class Loading(NamedTuple):
    """What the flags say; None is what the YAML says."""

    device: str | None = None
    dtype: str | None = None
    offload: str | None = None
    quantize: int | None = None

    def checked(self) -> Loading:
        """Itself; ValueError where a flag says what there is not."""
        given = (("--dtype", self.dtype, get_args(DType)), ("--offload", self.offload, OFFLOADS))
        for flag, value, allowed in (*given, ("--quantize", self.quantize, tuple(FORMS))):
            if value is not None and value not in allowed:
                raise ValueError(f"{flag}: {value!r} is not one of {', '.join(map(str, allowed))}")
        return self

    def overrides(self, config: Config) -> list[str]:
        """The flags as `a.b=c` for the parts of a configuration that take them."""
        decoders = {f"outputs.{key}.decoder": output.decoder.cls for key, output in config.outputs.items()}
        encoders = {f"encoders.{name}": node.cls for name, node in config.encoders.items()}
        said = []
        if self.quantize is not None:
            said.append(f"llm.quantize={FORMS[self.quantize]}")
        if self.dtype is not None:
            said.append(f"llm.dtype={self.dtype}")
            said += [f"{path}.dtype={self.dtype}" for path in taking("dtype", encoders | decoders)]
        if self.offload is not None:
            able = taking("offload", decoders)
            if not able:
                raise ValueError(f"--offload {self.offload}: this model has no decoder that can wait elsewhere")
            said += [f"{path}.offload={self.offload}" for path in able]
        return said


def taking(keyword: str, classes: Mapping[str, type[Any]]) -> list[str]:
    """The paths of those components that have a keyword."""
    return [path for path, cls in classes.items() if keyword in inspect.signature(cls).parameters]


def load_model(path: Path, how: Loading, overrides: Sequence[str] | None) -> AnyX:
    """Read a trained model; a path that cannot be a Hub id (`owner/name`) must be a folder that is there.

    What an override says comes before what a flag says.
    """
    from transformers.utils.logging import disable_progress_bar

    from anyx import config, hub

    how, said = how.checked(), list(overrides or ())
    if (path.is_absolute() or len(path.parts) != 2 or path.parts[0] in (".", "..")) and not path.is_dir():
        raise ValueError(f"there is no folder '{path}'; name a model's folder, as training writes it, or a Hub id")
    disable_progress_bar()
    device = pick_device(how.device)
    with console.status(f"reading {path}"):
        folder = hub.located(path)
        if how._replace(device=None) != Loading():
            said = [*how.overrides(config.load(folder / hub.CONFIG, said)), *said]
        return hub.load(folder, device=device, overrides=said).eval()


def load_answering(path: Path, how: Loading, overrides: Sequence[str] | None) -> AnyX | WholeModel:
    """A trained model, or a whole one of transformers that a YAML names by `backend`."""
    from anyx import backends

    if not backends.is_whole(path):
        return load_model(path, how, overrides)
    if how.checked().offload is not None or how.quantize is not None:
        raise ValueError("--offload, --quantize: a whole model of transformers is loaded as its YAML says")
    said = [*([f"dtype={how.dtype}"] if how.dtype is not None else []), *(overrides or ())]
    with console.status(f"reading {path}"):
        return backends.load(path, overrides=said, device=pick_device(how.device))
