"""A malformed entry is one sample that is skipped and counted; a file without a good one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import released
from seers import Say, Seer, colour, letter, yes_no

from anyx.benchmarks import benchmark
from anyx.evaluation.records import whole_lines


def figures(name: str, say: Say, tmp_path: Path, limit: int | None = None) -> dict[str, Any]:
    data, out = tmp_path / "data", tmp_path / f"out{limit}"
    found = benchmark(name, data, out, model=Seer(say), limit=limit, show=False)
    assert found is not None
    return found


def edited(file: Path, change: Callable[[Any], Any]) -> None:
    held = json.loads(file.read_text())
    change(held)
    file.write_text(json.dumps(held))


def test_a_question_without_words(tmp_path: Path) -> None:
    released.gqa(tmp_path / "data")
    (file,) = (tmp_path / "data").glob("**/*.json")
    edited(file, lambda held: held["q1"].pop("question"))
    found = figures("gqa", colour, tmp_path)
    assert (found["samples"], found["skipped"], found["figures"]["accuracy"]) == (1, {"malformed": 1}, 1)
    assert list(whole_lines(tmp_path / "outNone" / "skipped.jsonl")) == [
        {"sample": "entry 0", "fault": "malformed", "why": "KeyError: 'question'"}
    ]


def test_an_annotation_that_is_lost_or_has_no_answers(tmp_path: Path) -> None:
    """Three questions: one has no annotation that says so, of another nobody answered."""
    released.vqav2(tmp_path / "data")
    (file,) = (tmp_path / "data").glob("*annotations.json")

    def change(held: Any) -> None:
        held["annotations"][0].pop("question_id")
        held["annotations"][1]["answers"] = None

    edited(file, change)
    found = figures("vqav2", colour, tmp_path)
    assert (found["samples"], found["skipped"]) == (1, {"malformed": 2})


def test_a_caption_of_nobody_knows_what(tmp_path: Path) -> None:
    released.coco(tmp_path / "data")
    (file,) = (tmp_path / "data").glob("**/captions_val*.json")
    before = figures("coco", lambda text, seen: "a red square", tmp_path)
    edited(file, lambda held: held["annotations"].append({"caption": "whose?"}))
    found = benchmark("coco", tmp_path / "data", tmp_path / "again", model=Seer(lambda text, seen: "a"), show=False)
    assert found is not None
    assert (found["samples"], found["skipped"]) == (before["samples"], {"malformed": 1})
    assert whole_lines(tmp_path / "again" / "skipped.jsonl")[0]["sample"] == "annotation 0"


def test_both_questions_of_a_picture_go(tmp_path: Path) -> None:
    released.mme(tmp_path / "data")
    (tmp_path / "data/existence/a.txt").write_text("Is it red?\tYes\n")
    found = figures("mme", yes_no, tmp_path)
    assert (found["samples"], found["skipped"], found["figures"]["total"]) == (2, {"malformed": 1}, 200)


def test_a_question_goes_with_its_malformed_rotation(tmp_path: Path) -> None:
    """Of a file that has the rotations: those of question 7 are two, one without a picture's cell to refer to."""
    picture = released.base64.b64encode(released.png("red")).decode()
    heads = "index\tquestion\tA\tB\tanswer\timage"
    rows = [f"7\t?\tred\tblue\tA\t{picture}", "1000007\t?", f"8\t?\tblue\tred\tB\t{picture}"]
    rows += [f"1000008\t?\tred\tblue\tA\t{picture}", f"none\t?\tred\tblue\tA\t{picture}"]
    released.put(tmp_path / "data/bench.tsv", "\n".join([heads, *rows]) + "\n")
    found = figures("mmbench", letter, tmp_path)
    assert found["skipped"]["malformed"] >= 1
    assert found["figures"]["circular"] == 1


def test_a_look_at_some_counts_those_that_were_wanted(tmp_path: Path) -> None:
    released.gqa(tmp_path / "data")
    (file,) = (tmp_path / "data").glob("**/*.json")
    edited(file, lambda held: held["q2"].pop("imageId"))
    assert figures("gqa", colour, tmp_path, limit=1)["skipped"] == {}


def test_a_file_without_a_good_entry_is_refused(tmp_path: Path) -> None:
    released.gqa(tmp_path / "data")
    (file,) = (tmp_path / "data").glob("**/*.json")
    edited(file, lambda held: [one.pop("question") for one in held.values()])
    with pytest.raises(ValueError, match=r"is not of the form expected \(KeyError: 'question'\); expected GQA"):
        figures("gqa", colour, tmp_path)
