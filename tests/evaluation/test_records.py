from pathlib import Path

import pytest

from anyx.evaluation.records import Job, Record, Records


def record(concept: str) -> Record:
    return Record(
        Job("seen", "text->image", concept, 0), "draw", "A: ", ["text", "image"], True, True, ranked={"a": [1]}
    )


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    records = Records(tmp_path / "deep" / "records.jsonl")
    for name in "abc":
        records.add(record(name))
    again = Records(records.path)
    assert list(again) == [record(name) for name in "abc"]
    assert Job("seen", "text->image", "b", 0) in again
    assert Job("unseen", "text->image", "b", 0) not in again


def test_a_half_written_line_is_done_again(tmp_path: Path) -> None:
    records = Records(tmp_path / "records.jsonl")
    records.add(record("a"))
    records.add(record("b"))
    whole = records.path.read_bytes()
    records.path.write_bytes(whole[:-20])
    again = Records(records.path)
    assert len(again) == 1
    again.add(record("b"))
    assert records.path.read_bytes() == whole


def test_records_of_another_form_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"job": 1}\n')
    with pytest.raises(ValueError, match="records: keys"):
        Records(path)
