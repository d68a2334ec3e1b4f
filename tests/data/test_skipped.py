"""What a report counts, tells once, writes down, and when it ends a run; what is said of a worker that died."""

import itertools
import json
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from anyx.data.loader import Loader
from anyx.data.mixture import Batches, Mixture
from anyx.data.skipped import ENOUGH, KEPT, LOGGED, READ, RECENT, BadDataError, Failure, Report
from anyx.data.sources import Feed, Record
from anyx.faults import EmptyError, MissingError


class Numbers(Sequence[Record]):
    """Records of which some are bad."""

    def __init__(self, size: int, bad: int = 0) -> None:
        self.size, self.bad = size, bad

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        if index < self.bad:
            raise MissingError(f"{index}.png") if index % 2 else EmptyError(f"{index}.png")
        return {"id": f"n/{index}", "number": index}


class Plain:
    """Reads the number of a record; of `deadly` the worker is killed, as by the system when memory runs out."""

    def __init__(self, deadly: int = -1) -> None:
        self.deadly = deadly

    def read(self, record: Record, feed: Feed, variant: int) -> int:
        if record["number"] == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return int(record["number"])

    def collate(self, samples: Sequence[int]) -> list[int]:
        return list(samples)


def loader(*sources: Numbers, workers: int = 0, deadly: int = -1, **given: Any) -> Loader:
    feeds = [Feed(f"source{i}", source) for i, source in enumerate(sources)]
    report = Report([feed.name for feed in feeds], **given)
    batches = Batches(Mixture(sources, [1] * len(sources), seed=0), 4)
    return Loader(feeds, Plain(deadly), batches, workers=workers, report=report)


def test_counts_by_source_and_fault() -> None:
    given = loader(Numbers(100, 10), Numbers(50))
    for _ in zip(range(100), given, strict=False):
        pass
    report = given.report
    assert report.failed[0] == report.faults[0, "missing"] + report.faults[0, "zero-length"] > 0
    assert report.failed[1] == 0
    assert str(report).startswith(
        f"data.source0: {report.failed[0]} of {report.tried[0]} samples skipped (10 records): "
    )
    assert f"{report.faults[0, 'missing']} missing" in str(report)


def test_strict_raises_the_first(tmp_path: Path) -> None:
    given = loader(Numbers(40, 3), strict=True)
    with pytest.raises(BadDataError, match=r"data.source0: \d is (missing|zero-length): .*\d.png \(strict\)"):
        list(itertools.islice(given, 40))
    assert given.report.failed.total() == 1
    assert len(list(itertools.islice(loader(Numbers(40), strict=True), 20))) == 20


@pytest.mark.parametrize(
    ("bad", "share", "ends"), [(40, 0.1, True), (12, 0.05, False), (0, 0.0, False), (1, 0.0, True)]
)
def test_a_run_that_loses_too_much_is_stopped(bad: int, share: float, ends: bool) -> None:
    given = loader(Numbers(100, bad), Numbers(4), bad=share, stage="encode")
    if not ends:
        list(itertools.islice(given, 60))
        return
    told = rf"\d+ of the last \d+ samples .* than the share stages.encode.bad={share:g}: data.source0: .*\.png"
    with pytest.raises(BadDataError, match=told):
        list(itertools.islice(given, 400))
    assert given.report.tried.total() >= ENOUGH, "nothing is said of a few"


def test_data_that_are_lost_late_end_a_run_soon() -> None:
    report = Report(["s"], bad=0.3, stage="encode")
    report.add([0] * 100_000, [])
    for done in range(RECENT):
        report.add([0], [Failure(0, str(done), "missing", "gone")])
        try:
            report.check()
        except BadDataError as error:
            told = str(error)
            break
    assert told.startswith(f"{done + 1} of the last {RECENT} samples")
    assert 0.3 * RECENT < done < 0.4 * RECENT


def test_skipped_records_are_written_once_also_over_a_resumed_run(tmp_path: Path) -> None:
    file = tmp_path / "stage/skipped.jsonl"
    list(itertools.islice(loader(Numbers(20, 5), file=file), 15))
    with file.open("a") as half:
        half.write('{"source": "sour')  # a kill in the midst of a line
    again = loader(Numbers(20, 5), file=file)
    assert len(again.report.reasons) == 5
    list(itertools.islice(again, 15))
    lines = file.read_text().splitlines()
    assert len(lines) == 6
    said = [json.loads(line) for line in lines[:5]]
    assert sorted(int(line["record"]) for line in said) == list(range(5))
    assert {line["fault"] for line in said} == {"missing", "zero-length"}
    assert all(line["source"] == "source0" and line["reason"].endswith(".png") for line in said)


def test_memory_log_and_file_are_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    report = Report(["s"], file=tmp_path / "skipped.jsonl")
    with caplog.at_level(logging.WARNING, logger="anyx"):
        for index in range(KEPT + 50):
            report.add([0], [Failure(0, str(index), "missing", "gone")])
    assert report.failed[0] == KEPT + 50
    assert len(report.reasons) == len((tmp_path / "skipped.jsonl").read_text().splitlines()) == KEPT
    assert len(caplog.records) == LOGGED
    assert "further ones are counted only" in caplog.text


def test_a_worker_that_is_killed_is_told_in_a_line() -> None:
    with pytest.raises(
        ChildProcessError, match=r"one of 2 data workers died .*memory has run out: give the stage fewer"
    ):
        list(itertools.islice(loader(Numbers(30), workers=2, deadly=7), 60))


def test_a_run_that_goes_on_goes_on_counting() -> None:
    sources = Numbers(40, 8), Numbers(20)
    whole, begun, resumed = loader(*sources), loader(*sources), loader(*sources)
    ends = [state for _, (_, state) in zip(range(30), whole, strict=False)]
    middle = [state for _, (_, state) in zip(range(11), begun, strict=False)][-1]
    resumed.batches.load_state_dict(middle)  # type: ignore[attr-defined]
    resumed.report.load_state_dict(middle[READ])
    again = [state for _, (_, state) in zip(range(19), resumed, strict=False)]
    assert again == ends[11:]
    assert resumed.report.failed == whole.report.failed
    assert resumed.report.failed[0] > begun.report.failed[0] > 0
    gone = Report(["source1"])
    gone.load_state_dict(middle[READ])
    assert gone.tried.total() == begun.report.tried[1]
