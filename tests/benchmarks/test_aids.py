"""Corrections, marks and CHAIR of whole runs: figures before and after are derived by hand from three flat pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import released
from PIL import Image as PILImage
from PIL import ImageDraw
from seers import Seer
from sights import Cutter, Painter, Sights

from anyx.benchmarks import benchmark, compare, score
from anyx.benchmarks.aids import Aids
from anyx.benchmarks.chairs import Chair, objects_of, table
from anyx.evaluation.records import Records, whole_lines
from anyx.tools.correction import Corrector, Rules
from anyx.tools.marks import Marker

COLOURED = Corrector(Sights(), Rules(["red", "green", "blue"]))
SHAPES = {"square": [], "dog": ["puppy"], "wall": []}
INSTANCES = {
    "images": [{"id": 1}, {"id": 2}],
    "categories": [{"id": 5, "name": "square"}, {"id": 9, "name": "wall"}],
    "annotations": [{"image_id": image, "category_id": kind} for image, kind in ((1, 5), (2, 5), (2, 9))],
}


def run(name: str, tmp_path: Path, model: Any, **settings: Any) -> dict[str, Any]:
    found = benchmark(name, tmp_path / "data", tmp_path / "out", model=model, show=False, **settings)
    assert found is not None
    return found


def test_pope_before_and_after(tmp_path: Path) -> None:
    """One red picture; in each category "Is there red" (yes) and another colour (no); the model always says Yes.

    Raw 3 of 6 are right, and a category has TP 1, FP 1: precision 1/2, recall 1, F1 2/3. Corrected all are right.
    """
    released.pope(tmp_path / "data")
    raw = {"accuracy": 1 / 2, "f1": 2 / 3, "yes_ratio": 1}
    found = run("pope", tmp_path, Seer(lambda text, seen: "Yes"), aids=Aids(corrector=COLOURED))
    assert found["figures"] == {"accuracy": 1, "f1": 1, "yes_ratio": 1 / 2}
    assert found["uncorrected"] == pytest.approx(raw)
    assert found["by"]["correction"] == COLOURED.name
    assert "detector sights" in COLOURED.name
    kept = whole_lines(tmp_path / "out/corrections.jsonl")
    assert [(one["reply"], one["corrected"]) for one in kept] == [("Yes", "Yes"), ("Yes", "No")] * 3
    assert (kept[1]["things"], kept[1]["found"], kept[1]["claims"]) == (["blue"], [], ["blue: none found."])
    assert kept[0]["claims"] == ["red: 1 found, at [0.000, 0.000, 1.000, 1.000]."]
    assert {record.text for record in Records(tmp_path / "out/records.jsonl")} == {"Yes"}, "records are as they were"
    plain = score("pope", tmp_path / "out", show=False)
    assert plain["figures"] == pytest.approx(raw)
    assert ("uncorrected" in plain, "correction" in plain["by"]) == (False, False)


def test_a_reply_is_corrected_once(tmp_path: Path) -> None:
    released.pope(tmp_path / "data")
    run("pope", tmp_path, Seer(lambda text, seen: "Yes"))
    first = score("pope", tmp_path / "out", aids=Aids(corrector=COLOURED), show=False)
    size = (tmp_path / "out/corrections.jsonl").stat().st_size
    assert score("pope", tmp_path / "out", aids=Aids(corrector=COLOURED), show=False) == first
    assert (tmp_path / "out/corrections.jsonl").stat().st_size == size
    other = Corrector(Sights(), Rules(["red"]))
    found = score("pope", tmp_path / "out", aids=Aids(corrector=other), show=False)
    assert found["figures"]["accuracy"] == 1 / 2, "it knows no other colour"
    assert (tmp_path / "out/corrections.jsonl").stat().st_size > size


def caption(text: str, seen: list[str]) -> str:
    return "a red square and a dog on a wall"


def test_captions_and_chair_before_and_after(tmp_path: Path) -> None:
    """Of a red square and a blue one on a wall, the same is said: "a red square and a dog on a wall".

    Raw both captions have a dog, the first a wall that is not there: CHAIR_s 2/2, CHAIR_i 3 of 6 mentions. Corrected,
    the first is "a red square", the second "a blue square on a wall", as their references: CHAIR 0, BLEU-1 1.
    """
    released.coco(tmp_path / "data")
    released.put(tmp_path / "instances.json", INSTANCES)
    there = Chair(SHAPES, objects_of(tmp_path / "instances.json"), source="instances.json")
    corrector = Corrector(Sights(), Rules(SHAPES), Painter())
    found = run("coco", tmp_path, Seer(caption), aids=Aids(corrector=corrector, chair=there))
    before, after = found["uncorrected"], found["figures"]
    assert (before["chair_s"], before["chair_i"]) == (1, 1 / 2)
    assert (after["chair_s"], after["chair_i"], after["bleu_1"]) == (0, 0, pytest.approx(1))
    assert before["bleu_1"] < 1
    assert found["by"]["objects"] == "instances.json and references"
    kept = whole_lines(tmp_path / "out/corrections.jsonl")
    assert [one["corrected"] for one in kept] == ["a red square", "a blue square on a wall"]
    assert kept[1]["grounded"].startswith("a blue square([0.000, 0.000, 1.000, 1.000]) on a wall(")


def test_chair_by_a_detector(tmp_path: Path) -> None:
    """The detector sees a square in both and a wall in the second, as the table has it; what it saw is kept."""
    released.coco(tmp_path / "data")
    found = run("coco", tmp_path, Seer(caption), aids=Aids(chair=Chair(SHAPES, detector=Sights(), references=False)))
    assert (found["figures"]["chair_s"], found["figures"]["chair_i"]) == (1, 1 / 2)
    assert found["by"]["objects"] == "detector sights"
    kept = whole_lines(tmp_path / "out/objects.jsonl")
    assert [one["objects"] for one in kept] == [["square"], ["square", "wall"]]
    for file in (tmp_path / "data/val2017").iterdir():
        file.unlink()
    again = score("coco", tmp_path / "out", aids=Aids(chair=Chair(SHAPES, detector=Sights())), show=False)
    assert again["figures"]["chair_i"] == 1 / 2


def test_what_references_name_is_there(tmp_path: Path) -> None:
    """The table has no wall; a reference of the second picture has. Not there are two dogs and one wall, or both."""
    released.coco(tmp_path / "data")
    run("coco", tmp_path, Seer(caption))
    for references, wanted in ((True, 3 / 6), (False, 4 / 6)):
        asked = Chair(SHAPES, {"1": ["square"], "2": ["square"]}, references=references)
        found = score("coco", tmp_path / "out", aids=Aids(chair=asked), show=False)
        assert found["figures"]["chair_i"] == pytest.approx(wanted)


def test_what_chair_wants(tmp_path: Path) -> None:
    released.pope(tmp_path / "data")
    with pytest.raises(ValueError, match="pope has no captions; allowed: coco, nocaps, flickr30k"):
        run("pope", tmp_path, Seer(lambda text, seen: "Yes"), aids=Aids(chair=Chair(SHAPES, {})))
    with pytest.raises(ValueError, match="by one of them"):
        Chair(SHAPES)
    released.coco(tmp_path / "captions")
    settings: dict[str, Any] = {"model": Seer(caption), "show": False}
    with pytest.raises(ValueError, match="says nothing of 1 pictures, such as '2'"):
        benchmark("coco", tmp_path / "captions", tmp_path / "b", aids=Aids(chair=Chair(SHAPES, {"1": []})), **settings)
    released.put(tmp_path / "words.txt", "dog, puppy\n\nbench\n")
    released.put(tmp_path / "words.json", {"dog": ["puppy"], "bench": []})
    assert table(tmp_path / "words.txt") == table(tmp_path / "words.json") == {"dog": ["puppy"], "bench": []}
    panoptic = {"categories": [{"id": 1, "name": "dog"}], "annotations": [{"image_id": 1, "segments_info": []}]}
    released.put(tmp_path / "panoptic.json", panoptic)
    with pytest.raises(ValueError, match=r"panoptic\.json: .*an annotation has no category"):
        objects_of(tmp_path / "panoptic.json")
    released.put(tmp_path / "broken.json", {"dog": 1})
    for read in (table, objects_of):
        with pytest.raises(ValueError, match=r"broken\.json: .*expected"):
            read(tmp_path / "broken.json")


def referring(folder: Path) -> None:
    """The referred one of two boxes is the smaller, of 30 x 30 at (40, 30) of a picture of 120 x 90."""
    canvas = PILImage.new("RGB", (120, 90), (255, 255, 255))
    ImageDraw.Draw(canvas).rectangle((40, 30, 69, 59), fill=(250, 5, 5))
    ImageDraw.Draw(canvas).rectangle((80, 10, 117, 79), fill=(5, 5, 250))
    stream = io.BytesIO()
    canvas.save(stream, "PNG")
    released.put(folder / "refcoco_val.json", [{**released.REFERRING, "bbox": [40.0, 30.0, 30.0, 30.0]}])
    released.put(folder / "images/a.jpg", stream.getvalue())


def number(text: str, seen: list[str]) -> str:
    return "It is [2]." if "marked with the numbers 1 to 2" in text else "It is left."


def test_marks_change_the_question_and_are_read_back(tmp_path: Path) -> None:
    """By area the blue box is 1, the red one 2, which the model names: right by its box. Unmarked it names none."""
    referring(tmp_path / "data")
    marker = Marker(Cutter())
    model = Seer(number)
    found = run("refcoco", tmp_path, model, aids=Aids(marker=marker))
    assert (found["figures"]["acc@0.9"], found["figures"]["iou"]) == (1, pytest.approx(1, abs=0.01))
    assert found["by"]["marks"] == marker.name
    assert model.texts[0].startswith("(picture)Regions of the picture are marked with the numbers 1 to 2. ")
    (first, _) = Records(tmp_path / "out/records.jsonl")
    assert first.given is not None
    assert first.given.startswith("media/refcoco/")
    with PILImage.open(tmp_path / "out" / first.given) as shown, PILImage.open(tmp_path / "data/images/a.jpg") as bare:
        assert shown.convert("RGB").tobytes() != bare.convert("RGB").tobytes()
    (line, _) = whole_lines(tmp_path / "out/marks.jsonl")
    assert (line["size"], line["boxes"]) == ([120, 90], [[80, 10, 118, 80], [40, 30, 70, 60]])
    assert line["picture"] == str((tmp_path / "data/images/a.jpg").resolve())
    with pytest.raises(ValueError, match="holds records of another run"):
        run("refcoco", tmp_path, model)
    assert score("refcoco", tmp_path / "out", show=False) == found, "marks are of the run, its score says so again"
    bare_found = benchmark("refcoco", tmp_path / "data", tmp_path / "bare", model=Seer(number), show=False)
    assert bare_found is not None
    assert (bare_found["figures"]["acc@0.5"], bare_found["figures"]["unread"]) == (0, 2)
    assert compare("refcoco", (tmp_path / "out", tmp_path / "bare"))["difference"] == 1


def test_what_has_no_regions_is_asked_as_it_is(tmp_path: Path) -> None:
    """The flat pictures of POPE are 8 x 4 pixels: no number fits. The correction then sees the question alone."""
    released.pope(tmp_path / "data")
    model = Seer(lambda text, seen: "Yes")
    found = run("pope", tmp_path, model, aids=Aids(marker=Marker(Cutter()), corrector=COLOURED))
    assert model.texts[0].startswith("(picture)Is there red")
    assert (found["figures"]["accuracy"], (tmp_path / "out/marks.jsonl").exists()) == (1, False)
    assert list(found["by"]) == ["parser", "prompt", "marks", "correction"]


def test_a_marked_picture_is_corrected_by_the_bare_one(tmp_path: Path) -> None:
    """The question that is corrected has no words about marks, and the detector sees no marks."""
    referring(tmp_path / "data")
    rows = [{"question_id": 1, "image": "a.jpg", "text": "Is there red in the image?", "label": "no"}]
    released.put(tmp_path / "pope/coco_pope_random.json", released.lines(*rows))
    released.put(tmp_path / "pope/val2014/a.jpg", (tmp_path / "data/images/a.jpg").read_bytes())
    seen = []

    class Watching(Sights):
        def __call__(self, image: Any, words: Any) -> Any:
            seen.append(image.pixels.reshape(3, -1).unique(dim=1).shape[1])
            return []

    aids = Aids(marker=Marker(Cutter()), corrector=Corrector(Watching(), Rules(["red"])))
    settings: dict[str, Any] = {"model": Seer(lambda text, seen: "Yes"), "show": False, "aids": aids}
    found = benchmark("pope", tmp_path / "pope", tmp_path / "out", **settings)
    assert found is not None
    assert (found["figures"]["accuracy"], seen) == (1, [3]), "white, red and blue"
    (kept,) = whole_lines(tmp_path / "out/corrections.jsonl")
    assert kept["question"].startswith("Is there red in the image?")
    assert json.loads((tmp_path / "out/run.json").read_text())["marks"] == aids.marker.name  # type: ignore[union-attr]
