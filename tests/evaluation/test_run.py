"""A run over a tiny corpus: an oracle reaches the ceiling, a deaf model falls to chance, a stop costs nothing."""

import json
from pathlib import Path

import pytest
import tiny
import torch
from shapes import YAML, Mute, Oracle, Painter

from anyx.commands import main
from anyx.evaluation import evaluate
from anyx.evaluation.matrix import markdown
from anyx.evaluation.records import Job, Records, read
from anyx.evaluation.run import identity_of


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


def test_a_run_that_goes_on_asks_in_the_same_batches(folder: Path, tmp_path: Path) -> None:
    """What is said may hang on what is asked beside it. In batches of three, two of the first four are there."""
    out, first, second = tmp_path / "out", Oracle(), Oracle()
    evaluate(folder, out, model=first, show=False)
    lines = (out / "records.jsonl").read_text().splitlines(keepends=True)
    (out / "records.jsonl").write_text("".join(lines[:2]))
    evaluate(folder, out, model=second, show=False)
    assert first.calls[:3] == [3, 1, 3]
    assert second.calls == [1, *first.calls[1:]]


def test_another_run_s_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    evaluate(folder, tmp_path / "out", model=Oracle(), limit=1, show=False)
    with pytest.raises(ValueError, match="holds records of another run"):
        evaluate(folder, tmp_path / "out", model=Oracle(), limit=1, seed=1, show=False)
    (folder / "evaluation.yaml").write_text(YAML + "max_new_tokens: 8\n")
    with pytest.raises(ValueError, match="holds records of another run"):
        evaluate(folder, tmp_path / "out", model=Oracle(), limit=1, show=False)


def test_a_run_of_a_yaml_of_another_name_may_grow(folder: Path, tmp_path: Path) -> None:
    quick = folder / "quick.yaml"
    quick.write_text(YAML + "limit: 1\n")
    evaluate(quick, tmp_path / "out", model=Oracle(), show=False)
    quick.write_text(YAML + "limit: 2\n")
    assert evaluate(quick, tmp_path / "out", model=Oracle(), show=False)["seen"]["text->image"]["n"] == 2


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
        (("batch: 3", "embedders: {image: {type: nowhere.py:E}}"), "embedders.image.type"),
        (("  image:", "  picture:"), "judges: none is named for what 'text->image' ends in"),
    ],
)
def test_errors_name_the_key_before_anything_is_asked(
    folder: Path, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    (folder / "evaluation.yaml").write_text(YAML.replace(*change))
    model = Oracle()
    with pytest.raises(ValueError, match=message):
        evaluate(folder, tmp_path / "out", model=model, show=False)
    assert not model.calls


def test_all_and_a_limit_are_not_both(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="all, limit: every concept and 2 of them were asked for; give one of the two"):
        evaluate(folder, tmp_path / "out", model=Oracle(), all=True, limit=2, show=False)
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(folder), "--all", "--limit", "2", "--out", str(tmp_path / "out")])
    assert stop.value.code not in (0, None)
    assert "--all, --limit 2: one of the two is allowed" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_a_real_model_runs_through_all_cells(folder: Path, tmp_path: Path) -> None:
    (folder / "evaluation.yaml").write_text(YAML + "max_new_tokens: 4\n")
    found = evaluate(folder, tmp_path / "out", model=tiny.anyx().eval(), limit=2, show=False)
    assert {cell["n"] for cell in found["unseen"].values()} == {2}
    assert all(cell["top1"] <= cell["valid"] and cell["ceiling"] == 1 for cell in found["seen"].values())
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert len(records) == sum(cell["n"] for split in ("seen", "unseen", "loud") for cell in found[split].values()) + 2


def test_a_cycle_meets_what_the_model_made(folder: Path, tmp_path: Path) -> None:
    (folder / "evaluation.yaml").write_text(YAML + "cycles: [text->image->text, audio->image->audio]\n")
    out = tmp_path / "out"
    found = evaluate(folder, out, model=Oracle(), show=False)
    for split in ("seen", "unseen"):
        assert {name: cell["top1"] for name, cell in found["cycles"][split].items()} == {
            "text->image->text": 1,
            "audio->image->audio": 1,
        }
    records = Records(out / "records.jsonl")
    second = records[Job("seen", "text->image->text", "2", 0)]
    first = records[Job("seen", "text->image", "2", 0)]
    assert torch.equal(read(out / (second.given or "")).pixels, read(out / (first.shown("image") or "")).pixels)  # type: ignore[union-attr]
    deaf = evaluate(folder, tmp_path / "deaf", model=Oracle(deaf=True), show=False)  # it draws all things red
    assert deaf["cycles"]["seen"]["text->image->text"]["top1"] == 0.25


def test_a_cycle_without_a_first_leg_is_wrong_not_an_error(folder: Path, tmp_path: Path) -> None:
    (folder / "evaluation.yaml").write_text(YAML + "cells: [text->image]\ncycles: [text->image->text]\n")
    found = evaluate(folder, tmp_path / "out", model=Mute(), show=False)
    assert found["cycles"]["seen"]["text->image->text"]["valid"] == 0
    assert found["decisions"]["seen"]["image"] == {
        "precision": None, "precision_ci95": [0, 1], "recall": 0, "recall_ci95": [0, 0.4899],
        "asked": 4, "came": 0, "both": 0,
    }  # fmt: skip


def test_decisions_count_media_that_nobody_asked_for(folder: Path, tmp_path: Path) -> None:
    """Asked 24 times for media over 3 x 3 cells of 4 things; it draws whatever is asked, and plain chat (2) too."""
    found = evaluate(folder, tmp_path / "out", model=Painter(), show=False)["decisions"]["seen"]
    counts = {key: (row["asked"], row["came"], row["both"]) for key, row in found.items()}
    assert counts == {"media": (24, 38, 24), "image": (12, 38, 12), "audio": (12, 0, 0)}
    assert found["image"]["precision"] == round(12 / 38, 4)
    assert found["image"]["recall"] == 1
    assert found["image"]["recall_ci95"] == [0.5101, 1]  # Wilson's of 4 of 4: the things, each asked for three times
    assert found["audio"]["precision"] is None


def test_cycles_and_decisions_are_told_wherever_figures_are(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The painter draws 38 pictures, over 3 x 3 cells of 4 things and 2 plain questions, of which 12 were asked for."""
    (folder / "evaluation.yaml").write_text(YAML + "cycles: [audio->image->audio]\n")
    out = tmp_path / "out"
    evaluate(folder, out, model=Painter(), show=True)
    printed = " ".join(capsys.readouterr().out.split())
    cycle = "audio->image->audio 0% (0-49), valid 0%, ceiling 100%, chance 0% (n 4)"
    media = "image: came in 100.0% (51.0%-100.0%) of 12 replies that were asked for it, was asked for in 31.6% ("
    never = "audio: came in 0.0% (0.0%-49.0%) of 12 replies that were asked for it, was asked for in - of 0 that had it"
    for told in (cycle, media, never):
        assert f"seen: {told}" in printed
        assert f"- {told}" in (out / "matrix.md").read_text()
        assert f"<li>{told.replace('->', '-&gt;')}" in (out / "report.html").read_text()


def test_aspects_are_right_where_labels_share_them(folder: Path, tmp_path: Path) -> None:
    """A deaf model says red to red, green, blue and dark red: not dark in three, red in hue in two."""
    found = evaluate(folder, tmp_path / "out", model=Oracle(deaf=True), show=False)
    assert {tuple(cell["aspects"].items()) for cell in found["seen"].values()} == {(("dark", 0.75), ("hue", 0.5))}
