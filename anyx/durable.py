"""Files that are there whole or not at all, whatever moment a process or the machine stops at.

What is written goes under a temporary name, to the disk, and only then by a rename in the place of what was there; the
folder's entry goes to the disk last. A disk that is full, or any other failure, leaves what was there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

PART = ".part"  # the end of a temporary name; one that a killed process left is nobody's


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write under; at the end it takes the place of `path`.

    `OSError`, naming the path, where it cannot be written; what was there before is then untouched.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        yield part
        with open(part, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        sync(path.parent)
    except Exception as error:  # serialisers of third parties raise anything on a full disk
        part.unlink(missing_ok=True)
        raise OSError(f"{path} cannot be written, what was there before is untouched: {root(error)}") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file of contiguous tensors."""
    with replacing(path) as part:
        save_file(dict(tensors), part, dict(metadata or {}))


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def refilling(folder: Path) -> Iterator[Path]:
    """A temporary folder to write files into; at the end each takes the place of the one of its name in `folder`."""
    made = folder.with_name(f".{folder.name}.{os.getpid()}{PART}")
    made.mkdir(parents=True, exist_ok=True)
    try:
        yield made
        for file in sorted(path for path in made.rglob("*") if path.is_file()):
            target = folder / file.relative_to(made)
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as part:
                os.replace(file, part)
    finally:
        shutil.rmtree(made)


def drop_parts(folder: Path) -> None:
    """Remove what killed processes left half written in a folder that nobody else writes to."""
    for part in folder.glob(f".*{PART}"):
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def root(error: BaseException) -> BaseException:
    """What the system said, where a serialiser hides it behind an error of its own."""
    below = error.__cause__ or error.__context__
    return error if below is None or isinstance(error, OSError) else root(below)


def sync(folder: Path) -> None:
    """Write a folder's entries to the disk, where the system does so on demand."""
    if os.name != "posix":
        return
    entry = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems keep folders no other way than by themselves
            os.fsync(entry)
    finally:
        os.close(entry)
