"""Every family from files as they are released, through records, to figures that are worked out by hand here."""

from __future__ import annotations

import base64
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import released
from seers import Say, Seer, boxed, caption, colour, letter, yes_no

from anyx.benchmarks import benchmark, folders
from anyx.benchmarks.table import BENCHMARKS
from anyx.benchmarks.table import benchmark as named

# Of a family: its files, who answers, the parser, the figures.
# The box: left 2, top 1, 4 wide, 2 high in a picture of 8 by 4 is 0.25, 0.25, 0.75, 0.75.
RIGHT: list[tuple[str, Callable[[Path], None], Say, dict[str, float]]] = [
    ("mme", released.mme, yes_no, {"total": 400, "perception": 400, "acc": 100}),  # two subtasks of 200
    ("mmbench", released.mmbench, letter, {"circular": 1, "vanilla_first": 1, "vanilla_all": 1}),
    ("mmmu", released.mmmu, letter, {"accuracy": 1, "unread": 0}),
    ("vqav2", released.vqav2, colour, {"accuracy": 1}),
    ("textvqa", released.textvqa, colour, {"accuracy": 1}),
    ("textvqa-ocr", released.textvqa, colour, {"accuracy": 1}),
    ("vizwiz", released.vizwiz, colour, {"accuracy": 1}),
    ("gqa", released.gqa, colour, {"accuracy": 1}),
    ("docvqa", released.docvqa, colour, {"anls": 1}),
    ("scienceqa", released.scienceqa, letter, {"accuracy": 1, "image_accuracy": 1}),
    ("scienceqa", released.scienceqa_table, letter, {"accuracy": 1, "image_accuracy": 1}),
    ("seedbench", released.seedbench, letter, {"accuracy": 1}),
    ("pope", released.pope, yes_no, {"accuracy": 1, "f1": 1, "yes_ratio": 0.5}),
    ("refcoco", released.refcoco, boxed, {"acc@0.5": 1, "iou": 1, "unread": 0}),
    ("refcoco", released.refcoco_refer, boxed, {"acc@0.5": 1, "iou": 1, "unread": 0}),
    ("refcoco+", released.refcoco_json, boxed, {"acc@0.9": 1}),
    ("refcocog", released.refcoco_json, boxed, {"centre": 1}),
    # "a blue square" is three words where the nearest reference has three: 6 of 6 words, no penalty for length
    ("coco", released.coco, caption, {"bleu_1": 1}),
    ("nocaps", released.nocaps, caption, {"bleu_1": 1}),
    ("flickr30k", released.flickr30k, caption, {"bleu_1": 1}),
]
WRONG: list[tuple[str, Callable[[Path], None], str, dict[str, float]]] = [
    ("mme", released.mme, "Yes.", {"total": 100, "acc": 50, "acc_plus": 0}),  # one of each picture's two
    # rotations of the first end in A, C, B, of the second in B, A: A is right in 2 of 5, first in 1 of 2
    ("mmbench", released.mmbench, "A", {"circular": 0, "vanilla_first": 0.5, "vanilla_all": 0.4}),
    ("mmmu", released.mmmu, "A", {"accuracy": 0}),
    # one person of ten said so: a third, but nothing where that person is left out; 2 of 3 questions: 0.3 * 2 / 3
    ("vqav2", released.vqav2, "dark red", {"accuracy": 0.2}),
    ("textvqa", released.textvqa, "stop", {"accuracy": 0.3}),
    ("vizwiz", released.vizwiz, "dark red", {"accuracy": 0.3}),
    ("gqa", released.gqa, "Blue.", {"accuracy": 0.5}),
    ("docvqa", released.docvqa, "rad", {"anls": 2 / 3}),  # one edit of three letters
    ("scienceqa", released.scienceqa, "A", {"accuracy": 0.5, "image_accuracy": 0}),
    ("seedbench", released.seedbench, "B", {"accuracy": 0.5}),
    # of yes alone: precision 1/2, recall 1, so F1 is 2/3 in each category
    ("pope", released.pope, "yes", {"accuracy": 0.5, "f1": 2 / 3, "yes_ratio": 1}),
    # the left half of the box: half of it is shared, the union is the box
    ("refcoco", released.refcoco, "[0.25, 0.25, 0.5, 0.75]", {"acc@0.5": 1, "acc@0.7": 0, "iou": 0.5}),
    ("coco", released.coco, "purple", {"cider": 0, "rouge_l": 0}),
]


def figures(name: str, make: Callable[[Path], None], say: Say, tmp_path: Path) -> dict[str, Any]:
    make(tmp_path / "data")
    found = benchmark(name, tmp_path / "data", tmp_path / "out", model=Seer(say), batch=2, show=False)
    assert found is not None
    assert found == json.loads((tmp_path / "out" / "result.json").read_text())
    return found


@pytest.mark.parametrize(("name", "make", "say", "wanted"), RIGHT, ids=[row[1].__name__ + row[0] for row in RIGHT])
def test_right_answers(
    name: str, make: Callable[[Path], None], say: Say, wanted: dict[str, float], tmp_path: Path
) -> None:
    found = figures(name, make, say, tmp_path)
    assert {key: found["figures"][key] for key in wanted} == pytest.approx(wanted)
    assert (found["by"]["prompt"], found["by"].get("split", "")) == (named(name).prompt, named(name).split)
    assert not found["skipped"]


@pytest.mark.parametrize(("name", "make", "said", "wanted"), WRONG, ids=[row[0] for row in WRONG])
def test_wrong_answers(
    name: str, make: Callable[[Path], None], said: str, wanted: dict[str, float], tmp_path: Path
) -> None:
    found = figures(name, make, lambda text, seen: said, tmp_path)
    assert {key: found["figures"][key] for key in wanted} == pytest.approx(wanted)


def asked(name: str, make: Callable[[Path], None], tmp_path: Path) -> list[str]:
    make(tmp_path / "data")
    model = Seer(lambda text, seen: "")
    benchmark(name, tmp_path / "data", tmp_path / "out", model=model, show=False)
    return model.texts


def test_what_a_model_reads(tmp_path: Path) -> None:
    """The second picture comes where it is first named, the third, which no text names, nowhere."""
    short = "\nAnswer the question using a single word or phrase."
    assert asked("mme", released.mme, tmp_path / "a")[0] == f"(picture)Is it red?{short}"
    first = asked("mmmu", released.mmmu, tmp_path / "b")[0]
    assert first.startswith("Is (picture) like (picture)? See <image 2>.\nA. green\nB. blue\n")
    (text,) = asked("textvqa-ocr", released.textvqa, tmp_path / "c")
    assert text == f"(picture)What does it say?\nReference OCR token: RED, 7{short}"


def test_rotations(tmp_path: Path) -> None:
    """Three options are asked three times, each moved on by one, under the index plus a million a step."""
    texts = asked("mmbench", released.mmbench, tmp_path)
    assert [re.findall(r"[A-C]\. (\w+)", text) for text in texts[:3]] == [
        ["red", "green", "blue"], ["green", "blue", "red"], ["blue", "red", "green"],
    ]  # fmt: skip
    assert texts[0].startswith("(picture)Look. Which\ncolour? There are")
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert [(row["sample"], row["row"]["answer"]) for row in rows[:3]] == [
        ("7", "A"),
        ("1000007", "C"),
        ("2000007", "B"),
    ]
    assert len(list((tmp_path / "out" / "media" / "mmbench").iterdir())) == 2, "a picture is written once"


def test_a_table_of_rotations_is_left_as_it_is(tmp_path: Path) -> None:
    """Its second row names the picture of the first by index."""
    image = base64.b64encode(released.png("red")).decode()
    rows = ["index\tquestion\tA\tB\tanswer\timage", f"3\t?\tred\tblue\tA\t{image}", "1000003\t?\tblue\tred\tB\t3"]
    released.put(tmp_path / "data/bench.tsv", "\n".join(rows) + "\n")
    found = figures("mmbench", lambda folder: None, letter, tmp_path)
    assert (found["n"], found["samples"], found["figures"]["circular"]) == (1, 2, 1)


def referring(name: str, **changed: Any) -> dict[str, Any]:
    return {**released.REFERRING, "question_id": name, **changed}


def test_a_split_is_a_word_of_the_name(tmp_path: Path) -> None:
    """`test` is not `testA`, as `val` is no `evaluation`; a part of a word will do where no name has the word."""
    for split in ("test", "testA", "testB"):
        released.table(tmp_path / f"data/{split}-00000-of-00001.parquet", [referring(split)])
    for asked_for, wanted in (("test", ["test"]), ("testA", ["testA"]), ("testa", ["testA"])):
        files = folders.found(named("refcoco"), tmp_path / "data", asked_for)
        assert [file.name.partition("-")[0] for file in files] == wanted
    assert len(folders.found(named("refcoco"), tmp_path / "data", "tes")) == 3


def test_lists_of_several_sets_are_not_mixed(tmp_path: Path) -> None:
    for name in ("refcoco_val", "refcoco+_val"):
        released.put(tmp_path / f"data/{name}.json", [released.REFERRING])
    with pytest.raises(ValueError, match=r"several of what is read once: refcoco\+_val.json, refcoco_val.json"):
        folders.found(named("refcoco"), tmp_path / "data", "val")
    assert folders.found(named("refcoco"), tmp_path / "data", "refcoco_val") == [tmp_path / "data/refcoco_val.json"]


def test_the_release_of_refer_holds_its_splits(tmp_path: Path) -> None:
    """Its own split is read where another way to split the set lies beside it; nothing that a pickle names is run."""
    data = tmp_path / "data"
    released.refcoco_refer(data)
    told = benchmark("refcoco", data, tmp_path / "a", model=Seer(boxed), split="testA", show=False)
    assert told is not None
    assert (told["samples"], told["by"]["split"]) == (1, "testA")
    assert told["figures"]["iou"] == pytest.approx(0.25), "4 by 2 of a picture of 8 by 4"
    with pytest.raises(ValueError, match=r"--split: 'test' is not one of testA, val, those of refs\(unc\).p"):
        benchmark("refcoco", data, tmp_path / "b", model=Seer(boxed), split="test", show=False)
    (data / "refs(unc).p").write_bytes(pickle.dumps([Path("/")]))
    with pytest.raises(ValueError, match=r"refs\(unc\).p cannot be read: it names pathlib"):
        benchmark("refcoco", data, tmp_path / "c", model=Seer(boxed), show=False)
    (data / "refs(unc).p").unlink()
    told = benchmark("refcoco", data, tmp_path / "d", model=Seer(boxed), split="testA", show=False)
    assert told is not None
    assert told["samples"] == 1, "Google's split alone"


def test_objects_of_one_picture_are_of_one_source(tmp_path: Path) -> None:
    """The release names an object, `.._000000581857_16.jpg`; two of them are in one picture, named as COCO names it."""
    picture = "COCO_train2014_000000581857"
    rows = [referring(str(n), file_name=f"{picture}_{n}.jpg", answer=["it"]) for n in (1, 16)]
    rows.append(referring("3", file_name="COCO_train2014_000000000003_0.jpg"))
    released.put(tmp_path / "data/val.json", rows)
    for name in (picture, "COCO_train2014_000000000003"):
        released.put(tmp_path / f"data/train2014/{name}.jpg", "red")
    told = figures("refcoco", lambda folder: None, boxed, tmp_path)
    assert (told["samples"], told["clusters"], told["skipped"]) == (4, 2, {})


def test_a_picture_that_is_no_base64_is_skipped(tmp_path: Path) -> None:
    rows = ["index\tquestion\tA\tB\tanswer\timage", "1\t?\tred\tblue\tA\täöü" + "a" * 64]
    rows.append(f"2\t?\tred\tblue\tA\t{base64.b64encode(released.png('red')).decode()}")
    released.put(tmp_path / "data/bench.tsv", "\n".join(rows) + "\n")
    told = figures("mmbench", lambda folder: None, letter, tmp_path)
    assert (told["n"], told["skipped"]) == (1, {"corrupt": 2})


def test_a_picture_that_a_table_names_but_does_not_hold_is_missing(tmp_path: Path) -> None:
    """It is not a question without pictures."""
    row = {**released.SCIENCE["1"], "image": {"bytes": None, "path": str(tmp_path / "image.png")}}
    released.table(tmp_path / "data/test-0.parquet", [row, {**released.SCIENCE["2"], "image": None}])
    told = figures("scienceqa", lambda folder: None, letter, tmp_path)
    assert (told["n"], told["skipped"]) == (1, {"missing": 1})


def test_options_that_are_no_list_are_told(tmp_path: Path) -> None:
    row = {"id": "validation_Art_1", "question": "?", "options": "['a", "answer": "A", "question_type": "open"}
    released.table(tmp_path / "data/validation-0.parquet", [row])
    with pytest.raises(ValueError, match=r"is not of the form expected \(TypeError: \"\['a\" is no list\)"):
        figures("mmmu", lambda folder: None, letter, tmp_path)


def test_lines_end_where_files_say(tmp_path: Path) -> None:
    """U+2028 and U+0085 end lines for `str.splitlines`, not in a file."""
    asking = "Is\u2028it\x85{}?\t{}\r\n"
    released.put(tmp_path / "data/OCR/a.txt", asking.format("red", "Yes") + asking.format("blue", "No"))
    released.put(tmp_path / "data/OCR/a.jpg", "red")
    assert figures("mme", lambda folder: None, yes_no, tmp_path)["figures"]["total"] == 200


def test_domains_have_figures(tmp_path: Path) -> None:
    found = figures("nocaps", released.nocaps, caption, tmp_path)
    assert found["details"]["domain in-domain"]["bleu_1"] == pytest.approx(1)
    assert found["details"]["domain out-domain"] == found["details"]["image 2"] | {"cider": 0}, "log 1 of one image"


def test_all_families_are_tried() -> None:
    """But judged ones and LAMM's, which have files of their own."""
    here = {name for name in BENCHMARKS if not name.startswith("lamm-")}
    assert {row[0] for row in RIGHT} | {"llava-bench", "mm-vet"} == here
    with pytest.raises(ValueError, match="no benchmark 'mmme' here; there are:\n  mme "):
        named("mmme")
