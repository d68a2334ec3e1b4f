"""A model folder, here or on the Hub <-> AnyX.

A folder holds what is ours: `config.yaml`, `model.safetensors` (LoRA, signal tokens, projectors), the tokenizer and a
card. Bodies, encoders and decoders are named in the YAML by path or id, never copied; paths are written relative to the
folder, so that it may carry its own decoders or lie beside them, and be loaded from anywhere; what is no path stays as
it was said. Of a body, encoder or decoder that was trained here, `learnt.safetensors` holds all of it; of one that no
path names, so that its weights were drawn by chance, `drawn.safetensors`. Missing and unknown weights are errors.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from anyx import config as configuration
from anyx import durable, whole
from anyx.build import build
from anyx.cards import card
from anyx.compact import restored, shrunk
from anyx.model import AnyX
from anyx.packaged import PACKAGED, fetch, locate
from anyx.schema import DType, Node, Share

__all__ = ["PACKAGED", "card", "fetch", "load", "locate", "save"]

CONFIG, WEIGHTS, CARD, TOKENIZER = "config.yaml", "model.safetensors", "README.md", "tokenizer"
LEARNT = "learnt.safetensors"  # whole parts that training changed, by the model's own names
DRAWN = "drawn.safetensors"  # whole parts whose weights no path names, by the model's own names
TABLES = "tables.safetensors"  # an LLM's whole embedding and head, where a checkpoint changed them
HUB_CONFIG = "config.json"
PATHS = frozenset(
    {"path", "root", "init", "tokenizer", "tables", "memory", "vae", "unet", "motion_adapter"}
)  # keys of paths or Hub ids


def save(model: AnyX, folder: str | Path, *, dtype: torch.dtype | None = None) -> Path:
    """Write a model folder; a card that is there already is kept.

    `dtype` stores the weights in another type; `torch.int8` stores matrices in a byte a weight, with scales.
    """
    known = dtype is None or dtype == torch.int8 or (isinstance(dtype, torch.dtype) and dtype.is_floating_point)
    if not known:
        raise ValueError(f"dtype: {dtype!r} is neither a floating-point type nor torch.int8")
    config = _with_tables(_config_of(model), Path(folder))
    shared = tuple(twins(config))
    own = {n: x.detach().cpu() for n, x in model.own_state().items() if not n.startswith(shared)}
    if dtype == torch.int8:
        stored = shrunk(own)
    else:
        stored = {n: x.to(dtype) if dtype and x.is_floating_point() else x for n, x in own.items()}
    place = write(folder, config, stored, model.llm.tokenizer)
    parts = model.parts()
    stored_whole = {id(parameter) for part in model.learnt for parameter in parts[part]}
    rest = tuple(n for n in drawn(model, config) if not all(id(parameter) in stored_whole for parameter in parts[n]))
    for file, names in ((LEARNT, model.learnt), (DRAWN, rest)):
        (place / file).unlink(missing_ok=True)  # another model's, saved here before
        if names:
            whole.save(whole.tensors(model, parts, names), names, place / file, dtype=dtype)
    return place


def write(
    folder: str | Path,
    config: configuration.Config,
    state: Mapping[str, Tensor],
    tokenizer: PreTrainedTokenizerBase | None,
    notes: Sequence[str] = (),
) -> Path:
    """Write a model folder from its configuration and weights; `notes` are more paragraphs of the card.

    Without a tokenizer, that of the LLM named in the configuration is read.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    raw = _begun(relative(dict(config.raw), folder.resolve()))
    durable.write_text(folder / CONFIG, dataclasses.replace(config, raw=raw).to_yaml())
    durable.save_tensors({n: x.contiguous() for n, x in state.items()}, folder / WEIGHTS, {"format": "pt"})
    if tokenizer is not None:
        with durable.refilling(folder / TOKENIZER) as files:
            tokenizer.save_pretrained(files)
    (folder / HUB_CONFIG).write_text('{"model_type": "anyx"}\n')  # the Hub counts downloads by it
    if not (folder / CARD).exists():
        (folder / CARD).write_text("\n".join([card(config, restored(state)), *(f"{note}\n" for note in notes)]))
    return folder


def load(
    path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: DType | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    overrides: Sequence[str] = (),
) -> AnyX:
    """Load a model folder or Hub id; `dtype` overrides that of the LLM's body, `overrides` (`a.b=c`) its configuration.

    The rest is how the Hub is asked.
    """
    folder = located(path, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only)
    config = configuration.load(folder / CONFIG, overrides)
    if config.llm is None:
        raise ValueError(f"{folder / CONFIG}: llm: is missing")
    llm = dataclasses.replace(config.llm, dtype=dtype or config.llm.dtype)
    if (folder / TOKENIZER).is_dir():
        llm = dataclasses.replace(llm, tokenizer=str(folder / TOKENIZER))
    model = build(dataclasses.replace(config, llm=llm))
    try:
        state = restored(load_file(folder / WEIGHTS))
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} cannot be read: {error}") from error
    for twin, owner in twins(config).items():
        state |= {twin + name.removeprefix(owner): state[name] for name in list(state) if name.startswith(owner)}
    try:
        model.load_own_state(state)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{folder / WEIGHTS} does not fit {CONFIG}: {error}") from error
    if (folder / DRAWN).is_file():
        whole.put(model, model.parts(), folder / DRAWN)
    if (folder / LEARNT).is_file():
        model.learnt = whole.put(model, model.parts(), folder / LEARNT)
    model.config = config
    return model.to(device)


def located(
    path: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """The model folder itself, or the copy of a Hub id; ValueError where neither is one."""
    folder = Path(path)
    if not folder.is_dir():
        try:
            found = snapshot_download(
                str(path), revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
            )
        except Exception as error:  # whatever the Hub's client and its HTTP library raise
            said = str(error).partition("\n")[0]
            raise ValueError(f"{path} is neither a folder nor a Hub id that can be reached: {said}") from error
        folder = Path(found)
    if missing := [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]:
        raise ValueError(f"{path} is no model folder: it has no {' and no '.join(missing)}")
    return folder


def drawn(model: AnyX, config: configuration.Config) -> list[str]:
    """The body, encoders and decoders that were built from sizes alone: a second building would draw other weights."""
    roots = [f"encoders.{name}" for name, node in config.encoders.items() if not _named(node.kwargs)]
    roots += [f"outputs.{key}.decoder" for key, out in config.outputs.items() if out.decoder.kwargs.get("path") is None]
    roots += ["llm.body"] if config.llm is not None and not isinstance(config.llm.path, str) else []
    return [part for part in model.parts() if any(part == root or part.startswith(f"{root}.") for root in roots)]


def _named(kwargs: Mapping[str, Any]) -> bool:
    """Whether a path says a component's weights, or one for each of the components that it is made of."""
    within = [value for value in kwargs.values() if isinstance(value, Mapping) and "type" in value]
    return kwargs.get("path") is not None or (bool(within) and all(_named(node) for node in within))


def _config_of(model: AnyX) -> configuration.Config:
    if model.config is None or not model.config.raw:
        raise ValueError("this model was put together by hand: only one that was built from a YAML can be saved")
    return model.config


def _with_tables(config: configuration.Config, folder: Path) -> configuration.Config:
    """The configuration with the LLM's whole tables, where it has them, in the folder: they are no third party's."""
    if config.llm is None or config.llm.tables is None:
        return config
    source, target = Path(config.llm.tables), folder / TABLES
    if not (target.exists() and target.samefile(source)):
        folder.mkdir(parents=True, exist_ok=True)
        with durable.replacing(target) as part:
            shutil.copyfile(source, part)
    raw = {**config.raw, "llm": {**config.raw["llm"], "tables": str(target.resolve())}}
    return dataclasses.replace(config, raw=raw)


def twins(config: configuration.Config) -> dict[str, str]:
    """Shared projectors and parts by the prefix of their names -> the prefix under which their weights are stored."""
    return {
        f"{path}.{end}": f"{owner}.{end}"
        for path, projector in projectors(config)
        for owner, end in (
            [(projector.share, "")]
            if isinstance(projector, Share)
            else [(owner, name) for name, owner in projector.shares.items()]
        )
    }


def projectors(config: configuration.Config) -> Iterator[tuple[str, Node | Share]]:
    """Every projector of a configuration with its path."""
    for side, ports in (("inputs", config.inputs), ("outputs", config.outputs)):
        for key, port in ports.items():
            if port.projector is not None:
                yield f"{side}.{key}.projector", port.projector


def _begun(raw: dict[str, Any]) -> dict[str, Any]:
    """The same YAML without the weights that projectors began with (`init`): what became of them is stored."""
    for side in ("inputs", "outputs"):
        for port in (raw.get(side) or {}).values():
            if port is not None:  # one that an override took out
                port["projector"].pop("init", None)
    return raw


def relative(value: Any, folder: Path, key: str = "") -> Any:
    """The same YAML with the paths on this machine, absolute or from the working folder, written from `folder`."""
    if isinstance(value, Mapping):
        return {name: relative(item, folder, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [relative(item, folder, key) for item in value]
    if not isinstance(value, str) or not is_path(value, key):
        return value
    path = Path(os.path.relpath(value, folder)).as_posix()
    return path if path.startswith("../") else f"./{path}"


def is_path(value: str, key: str) -> bool:
    """Whether a string is a path by its form and key, or by what is there: no Hub id, no text that begins with `/`."""
    code = ".py:" in value  # `file.py:name`
    place = value.rpartition(":")[0] if code else value
    there = os.path.exists(place)
    if os.path.isabs(place) or place.startswith(("./", "../")):
        return code or key in PATHS or (there and bool(Path(place).name))  # a lone "/" is no path
    return there and (code or key in PATHS)
