"""Corrupt and missing files are skipped and counted; workers change nothing; a hopeless source is an error."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from anyx.data.dialogues import DialogueReader
from anyx.data.loader import Loader
from anyx.data.mixture import Batches, Mixture
from anyx.data.sources import Feed, JSONLSource
from anyx.media import Image


def line(path: str) -> str:
    ask = [{"type": "image", "path": path}, {"type": "text", "text": "What?"}]
    return json.dumps({"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": "A fox."}]})


def loader(folder: Path, lines: list[str], *, workers: int = 0, seed: int = 0, more: Feed | None = None) -> Loader:
    file = folder / f"chat{len(lines)}.jsonl"
    file.write_text("\n".join(lines))
    feeds = [Feed("chat", JSONLSource(file)), *([more] if more else [])]
    batches = Batches(Mixture([feed.source for feed in feeds], [1] * len(feeds), seed=seed), 3)
    return Loader(feeds, DialogueReader(tiny.anyx().processor), batches, workers=workers)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in "abcd":
        Image(torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:30])
    return tmp_path


GOOD = [line(f"{name}.png") for name in "abcd"]
BAD = [line("broken.png"), line("missing.png"), "{not json"]
SHAPELESS = [json.dumps(record) for record in ({"messages": 5}, {"messages": ["hi"]}, {"media": ["a.png"]})]


def test_bad_files_are_skipped_and_counted(files: Path) -> None:
    source = loader(files, GOOD + BAD)
    rows = sum(len(batch.batch.ids) for batch, _ in itertools.islice(source, 7))
    assert source.report.tried[0] == 21
    assert rows == 21 - source.report.failed[0] == 12
    assert "data.chat: 9 of 21 samples skipped (3 records)" in str(source.report)
    assert any("missing.png" in reason for reason in source.report.reasons.values())
    source.report.check()


def test_records_of_another_shape_are_skipped_too(files: Path) -> None:
    source = loader(files, GOOD + SHAPELESS)
    rows = sum(len(batch.batch.ids) for batch, _ in itertools.islice(source, 7))
    assert rows == 12
    assert "data.chat: 9 of 21 samples skipped (3 records)" in str(source.report)


def test_nothing_skipped_is_said_too(files: Path) -> None:
    source = loader(files, GOOD)
    next(iter(source))
    assert str(source.report) == "all of 3 samples were read"


def test_workers_and_a_killed_run_see_the_same_batches(files: Path) -> None:
    def ids(pairs: Any) -> list[list[list[int]]]:
        return [batch.batch.ids.tolist() for batch, _ in pairs]

    alone = list(itertools.islice(loader(files, GOOD + BAD), 8))
    assert ids(itertools.islice(loader(files, GOOD + BAD, workers=2), 8)) == ids(alone)
    resumed = loader(files, GOOD + BAD)
    resumed.batches.load_state_dict(alone[3][1])
    assert ids(itertools.islice(resumed, 4)) == ids(alone[4:])


def test_a_draw_that_comes_again_is_not_read_again(files: Path) -> None:
    expected = [batch.batch.ids.tolist() for batch, _ in itertools.islice(loader(files, GOOD), 12)]
    source = iter(loader(files, GOOD))
    found = [next(source)[0].batch for _ in range(6)]  # 18 draws of 4 records
    for name in "abcd":
        (files / f"{name}.png").unlink()
    found += [next(source)[0].batch for _ in range(6)]
    assert [batch.ids.tolist() for batch in found] == expected
    assert all(len(batch.inputs["image"].rows) == 3 for batch in found)


def test_copies_that_are_never_the_same_are_read_each_time(files: Path) -> None:
    read: list[int] = []

    def noisy(key: str, media: Any, generator: torch.Generator) -> Any:
        read.append(1)
        return media

    feed = Feed("noisy", JSONLSource(_file(files / "noisy.jsonl", GOOD)), noisy, 0)
    batches = Batches(Mixture([feed.source], [1], seed=0, variants=[0]), 4)
    source = iter(Loader([feed], DialogueReader(tiny.anyx().processor), batches))
    for _ in range(3):
        next(source)
    assert len(read) == 12


def test_reading_leaves_the_runs_random_state_alone(files: Path) -> None:
    source = loader(files, GOOD)
    before = torch.get_rng_state()
    next(iter(source))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_source_of_which_nothing_can_be_read_is_an_error(files: Path) -> None:
    good = Feed("good", JSONLSource(_file(files / "good.jsonl", GOOD)))
    source = loader(files, BAD, more=good)
    with pytest.raises(ValueError, match=r"data.chat: none of \d+ records can be read: .*png"):
        list(itertools.islice(source, 20))


def _file(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines))
    return path
