"""The model folder that a conversion writes, and reading one for the way back.

config.yaml model.safetensors README.md config.json   as every model folder (`anyx.hub`)
llm/, an encoder's name/                               bodies that the checkpoint changed, as transformers reads them
tables.safetensors                                     the LLM's whole embedding and head, where the file had them
unread.safetensors                                     what no part reads, or the model computes: for the way back
adapter/                                               LoRA once more, as `peft.PeftModel.from_pretrained` reads it
tokenizer/                                             the base LLM's, where the base is on this machine
conversion.json                                        which system, layout and options: what the way back needs
"""

from __future__ import annotations

import dataclasses
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from anyx import config as configuration
from anyx import hub, yamls
from anyx import tables as whole
from anyx.compact import restored
from anyx.config import Config
from anyx.converters import bodies
from anyx.converters.pieces import UNREAD

log = logging.getLogger(__name__)

ORIGIN, ADAPTER = "conversion.json", "adapter"
LORA = "llm.lora."
SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a folder came from: the system, its file's spelling, the options, what was in it, what was left out."""

    system: str
    layout: str
    options: Mapping[str, Any]
    tensors: int
    parameters: int
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)


class Folder(NamedTuple):
    """What was written: the place, its configuration, its origin."""

    path: Path
    config: Config
    origin: Origin


def shipped(name: str) -> dict[str, Any]:
    """The model of a YAML that ships with the library, without its data and stages."""
    with as_file(files("anyx.configs") / "models" / f"{name}.yaml") as path:
        raw = yamls.read(path)
    return {key: value for key, value in raw.items() if key in ("llm", "encoders", "inputs", "outputs")}


def anchored(path: str) -> str:
    """A path on this machine from the root, as it will be seen from another folder; a Hub id as it is.

    What is not there yet is a path if it has the suffix of weights, or begins with a folder that is there.
    """
    place = Path(path)
    spelled = path.startswith(("./", "../")) or place.suffix in SUFFIXES
    return str(place.resolve()) if place.exists() or spelled or Path(*place.parts[:1]).is_dir() else path


def write(
    out: Path,
    raw: Mapping[str, Any],
    overrides: Sequence[str],
    state: Mapping[str, Tensor],
    tables: Mapping[str, Tensor],
    origin: Origin,
    notes: Sequence[str] = (),
    said: Mapping[str, Any] | None = None,
) -> Folder:
    """Check everything that can be checked without building the model, then write the folder.

    `said` are values of the LLM's configuration that a checkpoint tells otherwise than its base.
    """
    llm = dict(raw["llm"]) | ({"tables": str(out.resolve() / hub.TABLES)} if tables else {})
    config = _checked({**raw, "llm": llm}, overrides)
    assert config.llm is not None
    rows = len(tables["embedding"]) if tables else None
    tokenizer = _base_of(config.llm.path, rows, tied="head" not in tables)
    unread = {name.removeprefix(UNREAD): x for name, x in state.items() if name.startswith(UNREAD)}
    state, whole_bodies = bodies.split({name: x for name, x in state.items() if not name.startswith(UNREAD)})
    state, encoders = bodies.own_encoders(state)
    for name, tensors in whole_bodies.items():
        bodies.check(name, _base(config.raw, name), tensors, _of_the_llm(name, said))
    for name, tensors in encoders.items():
        bodies.check_own(name, config.encoders[name], tensors)
    for name, tensors in whole_bodies.items():
        place = bodies.write(out / name, _base(config.raw, name), tensors, _of_the_llm(name, said))
        config = dataclasses.replace(config, raw=_standing_on(config.raw, name, place))
    for name, tensors in encoders.items():
        place = bodies.write_own(out / name, tensors)
        config = dataclasses.replace(config, raw=_standing_on(config.raw, name, place))
    hub.write(out, config, state, tokenizer, notes)
    if tables:
        whole.save(tables, out / hub.TABLES)
    if unread:
        file, count = out / f"{UNREAD}safetensors", sum(tensor.numel() for tensor in unread.values())
        save_file({name: x.contiguous() for name, x in unread.items()}, file, metadata={"format": "pt"})
        told = "%s: %d tensors, %s numbers, which no part of the model reads; they are kept for the way back"
        log.warning(told, file, len(unread), f"{count:,}")
    lora = {name.removeprefix(LORA): tensor for name, tensor in state.items() if name.startswith(LORA)}
    if lora:
        assert config.llm is not None
        assert config.llm.lora is not None
        write_adapter(out / ADAPTER, lora, config.llm.lora, config.llm.path)
    (out / ORIGIN).write_text(json.dumps(dataclasses.asdict(origin), indent=2) + "\n")
    return Folder(out, config, origin)


def write_adapter(folder: Path, lora: Mapping[str, Tensor], options: Mapping[str, Any], base: Any) -> None:
    """LoRA in PEFT's two files; `lora` are the weights by PEFT's names under the LLM, `options` those of `llm.lora`."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"base_model.model.{name}": tensor.contiguous() for name, tensor in lora.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base if isinstance(base, str) else None,
        "inference_mode": True,
        "r": options["r"],
        "lora_alpha": options.get("alpha", options["r"]),
        "lora_dropout": options.get("dropout", 0.0),
        "target_modules": options["targets"],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def read(folder: str | Path) -> tuple[Config, dict[str, Tensor], dict[str, Tensor], Origin | None]:
    """A model folder for the way back: its configuration, weights, whole tables, and origin if it was converted."""
    folder = Path(folder)
    if missing := [name for name in (hub.CONFIG, hub.WEIGHTS) if not (folder / name).is_file()]:
        raise ValueError(f"{folder} is no model folder: it has no {' and no '.join(missing)}")
    config = configuration.load(folder / hub.CONFIG)
    state = restored(load_file(folder / hub.WEIGHTS)) | bodies.read(folder)
    state |= bodies.learnt(folder / hub.DRAWN) | bodies.learnt(folder / hub.LEARNT)
    if (unread := folder / f"{UNREAD}safetensors").is_file():
        state |= {f"{UNREAD}{name}": tensor for name, tensor in load_file(unread).items()}
    tables = whole.read(config.llm.tables) if config.llm and config.llm.tables else {}
    for name, place in bodies.TABLES.items():  # a training changed them since
        if name in tables and place in state:
            tables[name] = state.pop(place)
    note = folder / ORIGIN
    try:
        origin = Origin(**json.loads(note.read_text())) if note.is_file() else None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{note} is not what a conversion writes: {error}") from error
    return config, state, tables, origin


def unshared(config: Config, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a folder, where a shared projector stands under the name of the port that owns it, once."""
    shared = tuple(hub.twins(config))
    return {name: tensor for name, tensor in state.items() if not name.startswith(shared)}


def _of_the_llm(name: str, said: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What is said of a body: of the LLM alone."""
    return (said or {}) if name == "llm" else {}


def _base(raw: Mapping[str, Any], name: str) -> Any:
    """The path of the LLM, or of an encoder by its name."""
    return (raw["llm"] if name == "llm" else raw["encoders"][name])["path"]


def _standing_on(raw: Mapping[str, Any], name: str, place: Path) -> dict[str, Any]:
    """The YAML with the LLM, or an encoder, from another place."""
    path = {"path": str(place.resolve())}
    if name == "llm":
        return {**raw, "llm": {**raw["llm"], **path}}
    return {**raw, "encoders": {**raw["encoders"], name: {**raw["encoders"][name], **path}}}


def _checked(raw: Mapping[str, Any], overrides: Sequence[str]) -> Config:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, hub.CONFIG)
        path.write_text(yamls.dump(raw))
        return configuration.load(path, overrides)


def _base_of(path: Any, rows: int | None, *, tied: bool) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a base that is on this machine, once base and tokenizer have as many rows as the tables."""
    if not isinstance(path, str) or not Path(path).is_dir():
        return None
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path)
    vocabulary = AutoConfig.from_pretrained(path).get_text_config(decoder=True).vocab_size
    wanted = vocabulary if rows is None else rows
    cut = tied and vocabulary > wanted == len(tokenizer)  # rows that no token has, as MPT's (`tables.install`)
    if not cut and (vocabulary != wanted or len(tokenizer) > wanted):
        told = f"{path} has {vocabulary} rows and a tokenizer of {len(tokenizer)} tokens"
        advice = "take an LLM without tokens added to it (some merges add [PAD]: delete added_tokens.json)"
        raise ValueError(f"base llm: {told}, but the checkpoint was trained over {wanted}; {advice}")
    return tokenizer
