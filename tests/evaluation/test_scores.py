"""Records are judged without a model: again, by other judges, in whatever order they came."""

from pathlib import Path

import pytest
from shapes import YAML, Clicker, Oracle

from anyx.evaluation import evaluate, score
from anyx.evaluation.judges import Judges, build
from anyx.evaluation.matrix import written
from anyx.evaluation.records import Job, Record
from anyx.evaluation.scores import digest_of


def test_records_are_scored_again_without_a_model(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = evaluate(folder, out, model=Oracle(), show=False)
    lines = (out / "verdicts.jsonl").read_text()
    (out / "verdicts.jsonl").unlink()
    assert score(folder, out, show=False) == found
    assert (out / "verdicts.jsonl").read_text() == lines
    changed = YAML.replace('{colour: {type: "shapes:ColourJudge"}}', '{tint: {type: "shapes:ColourJudge"}}')
    (folder / "evaluation.yaml").write_text(changed)
    again = score(folder, out, show=False)  # by a judge of another name
    assert again["seen"]["text->image"] == {**found["seen"]["text->image"], "judge": "tint"}
    assert (out / "verdicts.jsonl").read_text().startswith(lines)
    with pytest.raises(ValueError, match="there are no records in"):
        score(folder, tmp_path / "empty", show=False)


def test_records_that_came_at_two_times_are_judged_again(folder: Path, tmp_path: Path) -> None:
    """A run that grew has its routes in turns: one thing of each, then the others."""
    out = tmp_path / "out"
    evaluate(folder, out, model=Oracle(), limit=1, show=False)
    found = evaluate(folder, out, model=Oracle(), limit=3, show=False)
    (out / "verdicts.jsonl").unlink()
    assert score(folder, out, show=False) == found


def test_records_are_scored_by_the_cells_and_the_corpus_of_the_yaml(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(folder, out, model=Oracle(), show=False)
    assert list(score(folder, out, ["cells=[text->image]"], show=False)["seen"]) == ["text->image"]
    lines = (out / "records.jsonl").read_text()
    (out / "records.jsonl").write_text(lines.replace('"split": "unseen"', '"split": "dark"'))
    with pytest.raises(ValueError, match="holds records of 'dark', which is no split of this corpus"):
        score(folder, out, show=False)


def test_verdicts_depend_on_the_labels_and_all_weights_of_judges(tmp_path: Path) -> None:
    judges: Judges = {}
    nodes = {"image": {"a": {"type": "x:Y", "path": "weights"}}}
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.bin").write_bytes(b"1")
    before = digest_of(nodes, judges, ["red", "green"], tmp_path)
    assert before == digest_of(nodes, judges, ["red", "green"], tmp_path)
    assert before != digest_of(nodes, judges, ["green", "red"], tmp_path)
    (tmp_path / "weights" / "a.bin").write_bytes(b"2")
    assert before != digest_of(nodes, judges, ["red", "green"], tmp_path)


@pytest.mark.parametrize(("name", "another"), [("readers", True), ("world", True), ("aside", False)])
def test_verdicts_depend_on_the_code_of_judges_and_what_it_imports(tmp_path: Path, name: str, another: bool) -> None:
    """`readers.py` reads `world.py` beside it, as AnyWorld's does, and not `aside.py`."""
    texts = {
        "readers": "from anyx.imports import import_file\n\nworld = import_file(__file__.replace('readers', 'world'))\n"
        "\nNAMES = ['world.py']\n\n\nclass Reader:\n    def __init__(self, labels):\n        pass\n",
        "world": "size = 48\n",
        "aside": "size = 48\n",
    }
    digests = []
    for version in ("as it was", "again", "changed"):
        folder = tmp_path / version
        folder.mkdir()
        for file, text in texts.items():
            changed = version == "changed" and file == name
            (folder / f"{file}.py").write_text(f"{text}\n\nmore = 1\n" if changed else text)
        nodes = {"image": {"reader": {"type": "readers.py:Reader"}}}
        digests.append(digest_of(nodes, build(nodes, ["red"], folder), ["red"], folder))
    assert digests[0] == digests[1]
    assert (digests[0] != digests[2]) is another


def test_a_sound_too_short_for_a_spectrogram_is_invalid_not_an_error(folder: Path, tmp_path: Path) -> None:
    found = evaluate(folder, tmp_path / "out", ["cells=[text->audio]"], model=Clicker(), show=False)
    assert found["seen"]["text->audio"]["valid"] == 0


def test_word_errors_about_one_label_hang_together() -> None:
    """Of two labels one is never heard: of two draws both may be it, or none."""
    jobs = [Job("seen", "audio->text", str(place), 0) for place in range(8)]
    rows = [Record(job, [], [{"type": "text", "text": "red"}], 0, {}, "m") for job in jobs]
    found = written(rows, ["red"] * 4 + ["green"] * 4)
    assert (found["error_rate"], found["ci95"], found["words"]) == (0.5, [0, 1], 8)
