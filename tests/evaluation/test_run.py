"""A run over a tiny corpus: an oracle reaches the ceiling, a deaf model falls to chance, a stop costs nothing."""

import json
from pathlib import Path

import pytest
import tiny
import torch
from shapes import Oracle

from anyx.evaluation import evaluate
from anyx.evaluation.matrix import markdown
from anyx.evaluation.run import identity_of

YAML = """
corpus: shapes:Shapes
batch: 3
judges:
  text: {label: {type: "anyx.evaluation.labels:LabelJudge"}}
  image: {colour: {type: "shapes:ColourJudge"}}
  audio: {tone: {type: "shapes:ToneJudge"}, second: {type: "shapes:ToneJudge"}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "evaluation.yaml").write_text(YAML)
    return tmp_path


def test_an_oracle_reaches_the_ceiling(folder: Path, tmp_path: Path) -> None:
    found = evaluate(folder, tmp_path / "out", model=Oracle(), show=False)
    assert json.loads((tmp_path / "out" / "matrix.json").read_text()) == found
    for split in ("seen", "unseen"):
        assert len(found[split]) == 9
        for cell in found[split].values():
            assert {"n", "valid", "top1", "top5", "ci95", "ceiling", "chance"} <= cell.keys()
            assert (cell["n"], cell["valid"], cell["exact"], cell["top1"], cell["ceiling"]) == (4, 1, 1, 1, 1)
            assert cell["chance"] == 0
    assert found["unseen"]["image->text"]["synthetic_input"]
    assert "synthetic_input" not in found["seen"]["image->text"]
    assert found["seen"]["text->audio"]["others"]["second"]["top1"] == 1
    assert list(found["loud"]) == ["audio->text"]
    assert found["plain_chat"]["plain"] == 1
    assert "| **image** | 100 (" in markdown(found, ("text", "image", "audio"), ("seen",))


def test_a_deaf_model_falls_to_chance(folder: Path, tmp_path: Path) -> None:
    found = evaluate(folder, tmp_path / "out", model=Oracle(deaf=True), show=False)
    assert {(cell["top1"], cell["chance"]) for cell in found["seen"].values()} == {(0.25, 0.25)}


@pytest.mark.parametrize(("deaf", "wanted"), [(False, (0, 0, 4, 0.8)), (True, (3, 0, 3, 1.2))])
def test_some_cells_are_transcripts(folder: Path, tmp_path: Path, deaf: bool, wanted: tuple[float, ...]) -> None:
    """It says "A red:" of red, green, blue and dark red, five words; by hand: one word put in each, or as counted."""
    chosen = "cells: [audio->text, text->text]\ntranscripts: [audio->text]\n"
    (folder / "evaluation.yaml").write_text(YAML + chosen)
    found = evaluate(folder, tmp_path / "out", model=Oracle(deaf), show=False)
    assert list(found["seen"]) == ["text->text", "audio->text"]
    assert "words" not in found["seen"]["text->text"]
    words = found["seen"]["audio->text"]["words"]
    counts = words["substitutions"], words["deletions"], words["insertions"], words["error_rate"]
    assert counts == wanted
    assert words["words"] == 5
    low, high = words["ci95"]
    assert low <= words["error_rate"] <= high
    assert f"word errors {wanted[-1]:.1%}" in (tmp_path / "out" / "report.html").read_text()
    whole = evaluate(folder, tmp_path / "out", ["cells=null"], model=Oracle(deaf), show=False)  # the same run goes on
    assert len(whole["seen"]) == 9


def test_the_report_stands_alone(folder: Path, tmp_path: Path) -> None:
    evaluate(folder, tmp_path / "out", model=Oracle(), show=False)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") > 8
    assert page.count("<audio") > 8
    assert 'src="media' not in page
    assert "http" not in page
    assert (tmp_path / "out" / "contact_sheet_seen.png").stat().st_size > 1000


def test_a_stopped_run_goes_on(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = Oracle()
    found = evaluate(folder, out, model=first, show=False)
    lines = (out / "records.jsonl").read_text().splitlines(keepends=True)
    (out / "records.jsonl").write_text("".join(lines[:-5]))
    second = Oracle()
    assert evaluate(folder, out, model=second, show=False) == found
    assert sum(second.calls) == 5
    assert sum(first.calls) == len(lines)
    assert (out / "records.jsonl").read_text() == "".join(lines)


def test_another_run_s_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    evaluate(folder, tmp_path / "out", model=Oracle(), limit=1, show=False)
    with pytest.raises(ValueError, match="holds records of another run"):
        evaluate(folder, tmp_path / "out", model=Oracle(), limit=1, seed=1, show=False)
    (folder / "evaluation.yaml").write_text(YAML + "max_new_tokens: 8\n")
    with pytest.raises(ValueError, match="holds records of another run"):
        evaluate(folder, tmp_path / "out", model=Oracle(), limit=1, show=False)


def test_a_model_object_is_known_by_its_weights(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = tiny.anyx().eval()
    before = identity_of(model)
    assert before == identity_of(model)
    with torch.no_grad():
        next(model.inputs.parameters()).add_(1)
    assert identity_of(model) != before != identity_of(Oracle())


def test_overrides_are_part_of_the_run_but_for_its_size(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(folder, out, model=Oracle(), limit=1, show=False)
    assert evaluate(folder, out, ["limit=2"], model=Oracle(), show=False)["seen"]["text->image"]["n"] == 2
    with pytest.raises(ValueError, match="holds records of another run"):
        evaluate(folder, out, ["max_new_tokens=8"], model=Oracle(), show=False)
    evaluate(folder, tmp_path / "other", ["max_new_tokens=8"], model=Oracle(), limit=1, show=False)
    evaluate(folder, tmp_path / "other", ["max_new_tokens=8", "limit=2"], model=Oracle(), show=False)
    with pytest.raises(ValueError, match="holds records of another run"):
        evaluate(folder, tmp_path / "other", model=Oracle(), show=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("corpus:", "korpus:"), "korpus: Key 'korpus' not in 'settings'. Did you mean: 'corpus'"),
        (("batch: 3", "cells: [smell->text]"), "cells: 'smell->text' is not one of text->text, text->image"),
        (
            ("batch: 3", "transcripts: [text->image]"),
            "transcripts: 'text->image' is not one of text->text",
        ),
        (("batch: 3", "batch: many"), "batch: must be int >= 1, but 'many' was given"),
        (("shapes:Shapes", "shapes:Rounds"), "corpus: 'shapes:Rounds'"),
        (("shapes:ColourJudge", "nowhere.py:Judge"), "judges.image.colour.type"),
    ],
)
def test_errors_name_the_key(folder: Path, tmp_path: Path, change: tuple[str, str], message: str) -> None:
    (folder / "evaluation.yaml").write_text(YAML.replace(*change))
    with pytest.raises(ValueError, match=message):
        evaluate(folder, tmp_path / "out", model=Oracle(), show=False)


def test_a_real_model_runs_through_all_cells(folder: Path, tmp_path: Path) -> None:
    (folder / "evaluation.yaml").write_text(YAML + "max_new_tokens: 4\n")
    found = evaluate(folder, tmp_path / "out", model=tiny.anyx().eval(), limit=2, show=False)
    assert {cell["n"] for cell in found["unseen"].values()} == {2}
    assert all(cell["top1"] <= cell["valid"] and cell["ceiling"] == 1 for cell in found["seen"].values())
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert len(records) == sum(cell["n"] for split in ("seen", "unseen", "loud") for cell in found[split].values()) + 2
