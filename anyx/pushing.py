"""A model folder, made whole and put on the Hub: `anyx push`.

What the YAML names outside the folder (an encoder's file, a decoder's folder, a file of code) would not be found by
anybody else: it is laid into `parts/` of what is uploaded and named from there. Ids of the Hub stay ids. The card is
written anew where it is ours (`library_name: anyx`), with the results of an evaluation where they are given.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi
from safetensors.torch import load_file

from anyx import config as configuration
from anyx import hub
from anyx.cards import card
from anyx.compact import restored

SECTIONS = ("llm", "encoders", "inputs", "outputs")
LEFT = ("*.pyc", "__pycache__", ".*")


class Upload(NamedTuple):
    """What would be, or was, uploaded: the card, the size of every file by its path, the commit's address."""

    card: str
    files: dict[str, int]
    address: str | None = None


def push(
    folder: str | Path,
    repo: str,
    *,
    private: bool = False,
    dry_run: bool = False,
    results: str | Path | None = None,
    message: str = "Upload an anyx model",
    token: str | None = None,
    endpoint: str | None = None,
) -> Upload:
    """Upload a model folder to `owner/name`; with `dry_run` nothing is sent, and nobody is asked.

    `results` is the `matrix.json` of `anyx evaluate`. `ValueError` where the folder is no model's, the name is none of
    the Hub's, or a path of the YAML leads nowhere.
    """
    folder = Path(folder)
    if missing := [name for name in (hub.CONFIG, hub.WEIGHTS) if not (folder / name).is_file()]:
        raise ValueError(f"{folder} is no model folder: it has no {' and no '.join(missing)}")
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise ValueError(f"repo: {repo!r} is not of the form owner/name")
    found = json.loads(Path(results).read_text(encoding="utf-8")) if results is not None else None
    with tempfile.TemporaryDirectory() as scratch:
        staged = Path(scratch, "model")
        text = stage(folder, staged, repo, found)
        files = {
            str(file.relative_to(staged)): file.stat().st_size for file in sorted(staged.rglob("*")) if file.is_file()
        }
        if dry_run:
            return Upload(text, files)
        api = HfApi(endpoint=endpoint, token=token)
        made = api.create_repo(repo, private=private, exist_ok=True).repo_id
        done = api.upload_folder(repo_id=made, repo_type="model", folder_path=staged, commit_message=message)
        return Upload(text, files, str(done.commit_url))


def stage(folder: Path, target: Path, repo: str, results: Mapping[str, Any] | None) -> str:
    """Lay out what is uploaded; returns the card."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns(*LEFT))
    config = configuration.load(folder / hub.CONFIG)
    raw, taken = dict(config.raw), dict[str, str]()
    for section in SECTIONS:
        if section in raw:
            raw[section] = moved(raw[section], section, folder.resolve(), target, taken)
    written = dataclasses.replace(config, raw=hub.relative(raw, target.resolve()))
    (target / hub.CONFIG).write_text(written.to_yaml(), encoding="utf-8")
    there = target / hub.CARD
    if not there.is_file() or "library_name: anyx" in there.read_text(encoding="utf-8"):
        there.write_text(card(config, restored(load_file(folder / hub.WEIGHTS)), results=results, name=repo))
    return there.read_text(encoding="utf-8")


def moved(value: Any, path: str, folder: Path, target: Path, taken: dict[str, str]) -> Any:
    """The same YAML with its paths in `target`, where what lies outside of `folder` is copied first."""
    if isinstance(value, Mapping):
        return {name: moved(item, f"{path}.{name}", folder, target, taken) for name, item in value.items()}
    if isinstance(value, list):
        return [moved(item, path, folder, target, taken) for item in value]
    if not isinstance(value, str) or not (os.path.isabs(value) and hub.is_path(value, path.rpartition(".")[2])):
        return value
    place, colon, name = value.rpartition(":") if ".py:" in value else (value, "", "")
    source = Path(place)
    if not source.exists():
        raise ValueError(f"{path}: {source} is not there, so that it cannot be uploaded")
    if source.resolve().is_relative_to(folder):
        return f"{target.resolve() / source.resolve().relative_to(folder)}{colon}{name}"
    if place not in taken:
        copy = target / "parts" / path / source.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*LEFT))
        else:
            shutil.copyfile(source, copy)
        taken[place] = str(copy.resolve())
    return f"{taken[place]}{colon}{name}"
