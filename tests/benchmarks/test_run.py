"""A run of a benchmark: it goes on after a stop, skips and counts, scores again without a model, and compares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import released
import tiny
import torch
from seers import Seer, letter, yes_no

from anyx.benchmarks import benchmark, compare, score
from anyx.benchmarks.asking import OneByOne, chosen, stored
from anyx.benchmarks.samples import Sample, asked
from anyx.evaluation.records import Records

GQA = "testdev_balanced_questions.json"
SCIENCE = ("problems.json", "b/problems.json", "pid_splits.json")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    released.mme(tmp_path / "data")
    return tmp_path / "data"


def run(data: Path, out: Path, model: Any, name: str = "mme", **settings: Any) -> dict[str, Any]:
    found = benchmark(name, data, out, model=model, show=False, **settings)
    assert found is not None
    return found


def test_records_tell_what_was_asked(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out", Seer(yes_no), seed=3)
    first = next(iter(Records(tmp_path / "out" / "records.jsonl")))
    assert (first.job.split, first.job.route, first.job.sample, first.job.seed) == (
        "mme",
        "image->text",
        "artwork/b/0",
        3,
    )
    assert first.given == str((data / "artwork/images/b.jpg").resolve())
    assert (first.text, first.config) == ("no", {"max_new_tokens": 16})


def test_a_stopped_run_goes_on(data: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out", Seer(yes_no)
    found = run(data, out, model, batch=3)
    assert model.batches == [3, 1]
    kept = (out / "records.jsonl").read_bytes()
    (out / "records.jsonl").write_bytes(kept[: kept.index(b"\n") + 20])  # one record and a half
    again = Seer(yes_no)
    assert run(data, out, again, batch=3) == found
    assert (sum(again.batches), (out / "records.jsonl").read_bytes()) == (3, kept)


def test_two_runs_agree_exactly(data: Path, tmp_path: Path) -> None:
    """A tiny model of random weights: its answers are nonsense, and the same each time."""
    for name in ("a", "b"):
        torch.manual_seed(0)
        found = run(data, tmp_path / name, tiny.anyx().eval(), max_new_tokens=4)
        assert found["samples"] == 4
    for file in ("records.jsonl", "rows.jsonl", "result.json", "run.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_another_run_s_folder_is_refused(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out", Seer(yes_no))
    with pytest.raises(ValueError, match="holds records of another run"):
        run(data, tmp_path / "out", Seer(yes_no), seed=1)
    (data / "existence").rename(data / "position")  # the same files in the same order, of another subtask
    with pytest.raises(ValueError, match="holds records of another run"):
        run(data, tmp_path / "out", Seer(yes_no))
    (data / "position").rename(data / "existence")
    text = data / "existence/a.txt"
    text.write_text(text.read_text().replace("Is", "Was"))
    with pytest.raises(ValueError, match="holds records of another run"):
        run(data, tmp_path / "out", Seer(yes_no))


def test_old_records_are_scored_by_another_parser(data: Path, tmp_path: Path) -> None:
    """Four characters of "  yes" are no yes to the official parser, those of "  no" a no: one right of each two."""
    out = tmp_path / "out"
    official = run(data, out, Seer(lambda text, seen: f"  {yes_no(text, seen)}"))
    (data / "existence/a.png").unlink()
    lmms = score("mme", out, parser="mme@lmms", show=False)
    assert (official["figures"]["total"], lmms["figures"]["total"]) == (100, 400)
    assert (official["by"]["parser"], lmms["by"]["parser"]) == ("mme@official", "mme@lmms")
    assert score("mme", out, show=False) == official
    with pytest.raises(ValueError, match=r"--parser: 'pope@llava' is not one of mme@official, mme@lmms"):
        score("mme", out, parser="pope@llava", show=False)
    with pytest.raises(ValueError, match="holds a run of 'mme', not of 'pope'"):
        score("pope", out, show=False)


def test_broken_and_missing_pictures_are_counted(data: Path, tmp_path: Path) -> None:
    """Both questions of a picture go; what is left scores as it would alone. A mended one is asked on the next run."""
    out = tmp_path / "out"
    picture = data / "existence/a.png"
    whole = picture.read_bytes()
    picture.write_bytes(b"no picture")
    found = run(data, out, Seer(yes_no))
    assert (found["skipped"], found["samples"], found["figures"]["total"]) == ({"corrupt": 2}, 2, 200)
    picture.unlink()
    assert run(data, out, Seer(yes_no))["skipped"] == {"missing": 2}
    picture.write_bytes(whole)
    found = run(data, out, Seer(yes_no))
    assert (found["skipped"], found["samples"], found["figures"]["total"]) == ({}, 4, 400)


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, written = released.png("red"), Path.write_bytes

    def stopped(path: Path, content: bytes) -> int:
        written(path, content[:9])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", stopped)
        with pytest.raises(KeyboardInterrupt):
            stored(data, tmp_path, "mmbench")
    assert (tmp_path / stored(data, tmp_path, "mmbench")).read_bytes() == data


def test_half_a_group_is_not_scored(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(data, out, Seer(yes_no))
    lines = (out / "records.jsonl").read_text().splitlines(keepends=True)
    (out / "records.jsonl").write_text("".join(lines[:3]))
    found = score("mme", out, show=False)
    assert (found["samples"], found["skipped"]) == (2, {"incomplete": 1})
    (out / "records.jsonl").write_text(lines[0])
    with pytest.raises(ValueError, match=r"there are no answers in .* to score; skipped are 1 incomplete"):
        score("mme", out, show=False)


def test_a_broken_record_is_named(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out", Seer(yes_no))
    file = tmp_path / "out/records.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], b"\0" * 9 + b"\n", *lines[2:]]))
    with pytest.raises(ValueError, match=r"records\.jsonl, line 2, is no JSON"):
        score("mme", tmp_path / "out", show=False)


def test_skipped_are_those_that_were_wanted(data: Path, tmp_path: Path) -> None:
    """The picture of the second group is missing; a look at the first alone misses nothing."""
    out = tmp_path / "out"
    (data / "existence/a.png").unlink()
    assert run(data, out, Seer(yes_no))["skipped"] == {"missing": 2}
    assert run(data, out, Seer(yes_no), limit=1)["skipped"] == {}
    assert score("mme", out, show=False)["skipped"] == {"missing": 2}
    (data / "artwork/images/b.jpg").unlink()
    with pytest.raises(ValueError, match=r"there are no answers in .* to score; skipped are 4 missing"):
        run(data, tmp_path / "none", Seer(yes_no))


def test_a_limit_counts_groups_and_spreads_them() -> None:
    samples = [Sample(f"{group}{part}", asked("?"), {}, group=group) for group in "abcd" for part in "12"]
    assert list(chosen(iter(samples), 2)) == ["a1", "a2", "c1", "c2"]
    assert chosen(iter(samples), None)["d2"] == ("d", 2)
    with pytest.raises(ValueError, match="two samples are called 'a1'"):
        chosen(iter([samples[0], samples[0]]), None)
    with pytest.raises(ValueError, match="hold no samples"):
        chosen(iter([]), None)


def test_intervals_are_over_pictures(tmp_path: Path) -> None:
    """Three questions on two pictures; by "dark red" one picture's are worth 0.3, the other's 0."""
    released.vqav2(tmp_path / "data")
    found = run(tmp_path / "data", tmp_path / "out", Seer(lambda text, seen: "dark red"), "vqav2")
    assert (found["clusters"], found["interval"]["of"]) == (2, "accuracy")
    assert (found["interval"]["low"], found["interval"]["high"]) == pytest.approx((0, 0.3))


def test_one_picture_has_no_interval(tmp_path: Path) -> None:
    released.pope(tmp_path / "data")
    found = run(tmp_path / "data", tmp_path / "out", Seer(yes_no), "pope")
    assert (found["samples"], found["clusters"], found["interval"]) == (6, 1, None)


def test_comparing_two_runs(tmp_path: Path) -> None:
    """One is always right, the other never in all rotations of a question."""
    released.mmbench(tmp_path / "data")
    for name, say in (("a", letter), ("b", lambda text, seen: "A")):
        run(tmp_path / "data", tmp_path / name, Seer(say), "mmbench")
    found = compare("mmbench", (tmp_path / "a", tmp_path / "b"))
    assert (found["figure"], found["a"], found["b"], found["difference"]) == ("circular", 1, 0, 1)
    assert found["p"] > 0.05, "two questions prove nothing"
    released.gqa(tmp_path / "gqa")
    run(tmp_path / "gqa", tmp_path / "c", Seer(letter), "gqa")
    with pytest.raises(ValueError, match="holds a run of 'gqa'"):
        compare("mmbench", (tmp_path / "a", tmp_path / "c"))


def test_a_wrong_folder_is_told_in_one_line(tmp_path: Path) -> None:
    for name, make, wanted in (
        ("mme", lambda: None, r"there is no folder .*; expected MME_Benchmark_release_version: folders"),
        ("mme", lambda: released.put(tmp_path / "data/x.json", {}), r"no \*\.txt in .*; expected MME"),
        ("mme", lambda: released.put(tmp_path / "data/OCR/1.txt", "one line"), "not two lines of a question"),
        ("vqav2", lambda: None, r"no \*questions\.json \+ \*annotations\.json with 'val' in the name in"),
        ("mm-vet", lambda: released.put(tmp_path / "data/mm-vet.json", "{"), "mm-vet.json is no JSON"),
        (
            "mm-vet",
            lambda: released.put(tmp_path / "data/mm-vet.json", {"a": {}}),
            r"KeyError: 'question'.*expected mm",
        ),
        (
            "scienceqa",
            lambda: [released.put(tmp_path / "data" / place, {}) for place in SCIENCE],
            "several of what is read once: b/problems.json, problems.json",
        ),
        ("gqa", lambda: [released.put(tmp_path / f"data/{n}_{GQA}", {}) for n in "ab"], "several of what is read once"),
    ):
        make()
        with pytest.raises(ValueError, match=wanted) as told:
            run(tmp_path / "data", tmp_path / "out", Seer(yes_no), name)
        assert "\n" not in str(told.value)


def test_answers_that_nobody_has_are_kept_to_be_sent(tmp_path: Path) -> None:
    released.put(tmp_path / "data/test.json", [{"image": "a.jpg", "question": "?"}])
    released.put(tmp_path / "data/test/a.jpg", "red")
    with pytest.raises(ValueError, match="1 samples have no right answer: the records in"):
        run(tmp_path / "data", tmp_path / "out", Seer(letter), "vizwiz", split="test")
    assert len(Records(tmp_path / "out" / "records.jsonl")) == 1


def test_a_whole_model_answers_one_by_one() -> None:
    """Any object with its `chat` would do; a tiny AnyX has the same call."""
    torch.manual_seed(0)
    model = tiny.anyx().eval()
    turns: list[Any] = [asked("Draw"), asked("What do you hear?")]
    one = OneByOne(model).generate(turns, max_new_tokens=3, seeds=[0, 1])  # type: ignore[arg-type]
    assert [reply.text for reply in one] == [model.chat(turn, max_new_tokens=3).text for turn in turns]


def test_results_are_plain_json(data: Path, tmp_path: Path) -> None:
    found = run(data, tmp_path / "out", Seer(yes_no))
    assert json.loads(json.dumps(found)) == found
    assert found["details"]["existence"]["TP"] == 1
