"""Files are there whole or not at all: the order of system calls, what failures leave, a disk without room."""

import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from anyx import durable


def test_data_reach_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []
    fsync, replace = os.fsync, os.replace

    def synced(number: int) -> None:
        done.append(("fsync", os.fstat(number).st_ino))
        fsync(number)

    def replaced(source: Path, target: Path) -> None:
        done.append(("replace", os.stat(source).st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    path = tmp_path / "a.safetensors"
    durable.save_tensors({"x": torch.ones(3)}, path, {"step": "1"})
    file, folder = path.stat().st_ino, tmp_path.stat().st_ino
    assert done == [("fsync", file), ("replace", file), ("fsync", folder)]
    assert torch.equal(load_file(path)["x"], torch.ones(3))


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    def failing(error: BaseException) -> None:
        with durable.replacing(tmp_path / "a") as part:
            part.write_text("half")
            raise error

    (tmp_path / "a").write_text("before")
    with pytest.raises(KeyboardInterrupt):
        failing(KeyboardInterrupt())
    with pytest.raises(OSError, match=r"a cannot be written, what was there before is untouched: unlucky"):
        failing(RuntimeError("unlucky"))
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "before"


@pytest.fixture
def little_room() -> Any:
    """No file of this process may grow past 20,000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_without_room_every_writer_says_so_in_one_line(tmp_path: Path, little_room: None) -> None:
    def pickled() -> None:
        with durable.replacing(tmp_path / "a") as part, open(part, "wb") as file:
            torch.save({"x": torch.ones(9000)}, file)

    writers = [
        lambda: durable.save_tensors({"x": torch.ones(9000)}, tmp_path / "a"),
        lambda: durable.write_text(tmp_path / "a", "x" * 36_000),
        pickled,
    ]
    (tmp_path / "a").write_text("before")
    for writer in writers:
        with pytest.raises(OSError, match=r"a cannot be written, what was there before is untouched: .*File too large"):
            writer()
        assert [file.name for file in tmp_path.iterdir()] == ["a"]
        assert (tmp_path / "a").read_text() == "before"


def test_a_folder_is_refilled_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "a").write_text("old")
    (tmp_path / "words" / "other").write_text("stays")
    with durable.refilling(tmp_path / "words") as made:
        (made / "a").write_text("new")
        (made / "deep").mkdir()
        (made / "deep" / "b").write_text("b")
    texts = {str(file.relative_to(tmp_path)): file.read_text() for file in tmp_path.rglob("*") if file.is_file()}
    assert texts == {"words/a": "new", "words/other": "stays", "words/deep/b": "b"}
    assert [file.name for file in tmp_path.iterdir()] == ["words"]


def test_what_killed_processes_left_is_dropped(tmp_path: Path) -> None:
    (tmp_path / ".a.123.part").write_text("half")
    (tmp_path / ".words.123.part").mkdir()
    (tmp_path / ".words.123.part" / "a").write_text("half")
    (tmp_path / "a").write_text("whole")
    durable.drop_parts(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
