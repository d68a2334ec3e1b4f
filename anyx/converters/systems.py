"""Convert a published checkpoint to a model folder, and a folder back: the same steps for every system.

To add a system, write one file with a final class of `Converter` and one line in `SYSTEMS` (`__init__.py`). It says

- `layouts`: the spellings of its file as tables of key patterns (`keys.py`), with our names beside theirs;
- `published`: the sizes of its published variants, by the letters of those tables;
- `bases`: what the folder will stand on and does not hold: the LLM, encoders, decoders;
- `config`: the YAML of a file of some sizes;
- `heeded`: what of a checkpoint's own JSON files it goes by, if anything, and `said` what they tell of its LLM;
- `files`: the files that it is published in, where they are several, and how the names in each begin;
- `kept`: what of a file is read, where it says things twice;
- `ours` and `theirs`: what is more than a change of names, such as tables that are cut in two.

Its keyword arguments are the options of `anyx convert`. Nothing is guessed: a key that no rule knows, a key that is not
there, a shape or a size that is not the published one is an error that names it.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor

from anyx.config import Config
from anyx.converters import SYSTEMS, bodies, checkpoints, folders
from anyx.converters.folders import Folder, Origin
from anyx.converters.keys import Layout, best
from anyx.imports import find
from anyx.schema import DType
from anyx.signatures import require

log = logging.getLogger(__name__)

State = Mapping[str, Tensor]
Sizes = Mapping[str, int]


class Converter(ABC):
    """One published system."""

    bases: ClassVar[Mapping[str, str]]  # name -> what it is, in a few words
    layouts: Mapping[str, Layout]  # the name of a spelling -> its rules
    published: Mapping[str, Sizes]  # the name of a variant -> its sizes
    hints: ClassVar[Mapping[str, str]] = {}  # a size -> what to do when it is not the published one
    notes: ClassVar[Sequence[str]] = ()  # paragraphs of the folder's card
    files: ClassVar[Mapping[str, str]] = {}  # the name of a file -> what the names in it begin with

    @abstractmethod
    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """The YAML of a file of these sizes, standing on these bases."""

    def heeded(self, raw: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
        """The YAML with what the JSON files beside a checkpoint say of it; as it is, unless a system asks."""
        return dict(raw)

    def said(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the LLM's configuration, by transformers' names, that take the place of its base's; none."""
        return {}

    def kept(self, state: State) -> tuple[State, dict[str, int]]:
        """The tensors to read, and how many of what kind are left out: none, unless a system's files repeat some."""
        return state, {}

    @abstractmethod
    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Tensors by the layout's names of ours -> what `model.safetensors` holds, and `tables.safetensors`."""

    @abstractmethod
    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The way back of `ours`; ValueError where the model of the configuration is not of the system's form."""


def converter(system: str, options: Mapping[str, Any]) -> Converter:
    """A system's converter with its options; ValueError for names that are none."""
    if system not in SYSTEMS:
        raise ValueError(f"system: {system!r} is not one of {', '.join(SYSTEMS)}")
    cls = find(SYSTEMS[system], "system")
    require(system, options, cls)
    made: Converter = cls(**options)
    return made


def convert(
    system: str,
    checkpoint: str | Path,
    out: str | Path,
    *,
    bases: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    any_size: bool = False,
) -> Folder:
    """Write a published checkpoint as a model folder.

    `bases` are the paths or Hub ids that the system stands on, `options` the system's own, `overrides` (`a.b=c`) values
    of the YAML. `any_size` takes widths and depths that were not published, and rows that the LLM, if it is on this
    machine, agrees to. ValueError for whatever does not fit; nothing is written then.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already; name a new folder")
    options = dict(options or {})
    made = converter(system, options)
    check_bases(system, made, bases)
    state, left_out = made.kept(checkpoints.read(checkpoint, made.files))
    what = f"{checkpoint} is no checkpoint of {system}"
    layout, match = best(made.layouts, {name: tuple(tensor.shape) for name, tensor in state.items()}, what)
    paths = {name: folders.anchored(path) for name, path in bases.items()}
    firm = () if Path(paths["llm"]).is_dir() else made.hints  # a base that is here says itself how many rows it has
    held = {letter: size for letter, size in match.sizes.items() if not any_size or letter in firm}
    check_sizes(f"{checkpoint}", made, held)
    own, tables = made.ours({match.names[name]: tensor for name, tensor in state.items()})
    for name, path in paths.items():
        if not Path(path).exists():
            log.warning("%s: %s is not on this machine; it is named in the config.yaml as it is", name, path)
    told = checkpoints.settings(checkpoint)
    raw = made.heeded(made.config(match.sizes, paths), told)
    stored = dtype_of(state, raw["llm"]["dtype"])
    holds, beside = (any(name.startswith(start) for name in own) for start in (bodies.LLM, "llm."))
    # single precision of LoRA and prompts is how they are trained: it says nothing of the LLM beside them
    if tables or holds or (beside and stored != "float32"):
        raw["llm"] = {**raw["llm"], "dtype": stored}
    origin = Origin(system, layout, options, len(state), sum(tensor.numel() for tensor in state.values()), left_out)
    repeated = [f"Left out of the checkpoint: {count} {kind}." for kind, count in left_out.items()]
    return folders.write(out, raw, overrides, own, tables, origin, [*made.notes, *repeated], made.said(told))


def export(
    system: str,
    folder: str | Path,
    checkpoint: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[int, int]:
    """Write a model folder as a file that the published code loads; the numbers of its tensors and parameters.

    A folder that `convert` wrote gives its checkpoint again, bit for bit. `dtype` stores another type. Of a system
    that is published in several files, a `checkpoint` without a suffix is a folder of them.
    """
    if Path(checkpoint).exists():
        raise ValueError(f"{checkpoint} is there already; name a new file")
    config, state, tables, origin = folders.read(folder)
    if origin is not None and origin.system != system:
        raise ValueError(f"{folder} was converted from {origin.system}, not from {system}")
    made = converter(system, {**(origin.options if origin else {}), **(options or {})})
    found = made.theirs(folders.unshared(config, state), tables, config)
    layouts = {name: layout for name, layout in made.layouts.items() if origin is None or name == origin.layout}
    what = f"{folder} has other parts than {system}"
    _, match = best(layouts, {name: tuple(tensor.shape) for name, tensor in found.items()}, what, back=True)
    stored = {theirs: found[ours] for ours, theirs in match.names.items()}
    stored = {name: x.to(dtype) if dtype and x.is_floating_point() else x for name, x in stored.items()}
    apart = made.files if not Path(checkpoint).suffix else {}
    for file, start in apart.items():
        if mine := {name: x for name, x in stored.items() if name.startswith(start)}:
            checkpoints.write(mine, Path(checkpoint, file))
    if not apart:
        checkpoints.write(stored, checkpoint)
    return len(stored), sum(tensor.numel() for tensor in stored.values())


def dtype_of(state: State, default: str) -> str:
    """The type in which most parameters of a file are stored, in the words of `llm.dtype`; else the default."""
    count: Counter[str] = Counter()
    for tensor in state.values():
        count[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    ((name, _),) = count.most_common(1)
    return name if name in get_args(DType) else default


def check_bases(system: str, made: Converter, bases: Mapping[str, str]) -> None:
    """Every base must be named, and no other."""
    known = "; ".join(f"{name}: {what}" for name, what in made.bases.items())
    if unknown := [name for name in bases if name not in made.bases]:
        raise ValueError(f"base: {unknown[0]!r} is none of what {system} stands on ({known})")
    if missing := [name for name in made.bases if not bases.get(name)]:
        raise ValueError(f"base: {' and '.join(missing)} missing; {system} stands on {known}")


def check_sizes(what: str, made: Converter, sizes: Sizes) -> None:
    """The sizes must be those of a published variant, where one is known."""
    wrong = {
        variant: {letter: size for letter, size in sizes.items() if known.get(letter, size) != size}
        for variant, known in made.published.items()
    }
    variant, nearest = min(wrong.items(), key=lambda item: len(item[1]))
    if nearest:
        told = ", ".join(f"{name} {size} instead of {made.published[variant][name]}" for name, size in nearest.items())
        hints = [made.hints[name] for name in nearest if name in made.hints] or ["if that is meant, give --any-size"]
        raise ValueError(f"{what} is not of the published sizes ({variant}): {told}; {'; '.join(hints)}")
