"""LAMM-Benchmark from lists of the form that its rows have in the goldens, to figures worked out by hand here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from released import put
from seers import Say, Seer

from anyx.benchmarks import benchmark, score
from anyx.benchmarks.lamm import PARTS
from anyx.benchmarks.table import BENCHMARKS

CHOICE = {"choices": ["blue", "red"], "gt_choice": 1, "question": "Which colour?"}
DOG = {"label": "dog", "bbox": [0.25, 0.25, 0.75, 0.75]}
CHAIR = {"label": "chair", "bbox": [0, 0, 0, 2, 2, 2]}
JOINTS = [[at % 8, at % 4, 0] for at in range(14)]  # in pixels of a picture of 8 by 4
HALF = "a dog [0.25, 0.25, 0.75, 0.51]"  # 0.13 of 0.25: more than a half
SMALL = "a chair (0, 0, 0, 2, 2, 1)"  # half of the box, which is not more than a half


def said(answer: str) -> Say:
    return lambda text, seen: answer


def part_of(text: str) -> int:
    """The joint that is asked for."""
    return next(place for place, part in enumerate(PARTS) if part in text)


def right_joint(text: str, seen: list[str]) -> str:
    across, down, _ = JOINTS[part_of(text)]
    return f"[{across / 8}, {down / 4}]"


def half_the_joints(text: str, seen: list[str]) -> str:
    return right_joint(text, seen) if part_of(text) % 2 else "unknown"


# Of a task: the lists by file, who answers, the figures.
TASKS: list[tuple[str, dict[str, list[dict[str, Any]]], Say, dict[str, float]]] = [
    ("lamm-cifar10", {"Classification_CIFAR10": [{"label": "ship"}, {"label": "dog"}]}, said("Ships."), {"acc": 0.5}),
    ("lamm-ucmerced", {"UCMerced": [{"label": "beach"}]}, said("a sandy beach"), {"acc": 1}),
    ("lamm-celeba-smile", {"CelebA(Smile)": [{"attr": 1}, {"attr": "-1"}]}, said("no"), {"acc": 0.5}),
    ("lamm-celeba-hair", {"CelebA(Hair)": [{"attr": "black"}]}, said("It is black."), {"acc": 1}),
    # errors 1 and 10, the second of a picture of many
    ("lamm-fsc147", {"counting_FSC147": [{"num": 3}, {"num": 12}]}, said("two of them"), {"mae_total": 5.5}),
    ("lamm-svt", {"OCR_SVT": [{"word_list": ["Exit", "Main"]}]}, said("It says EXIT"), {"word_acc": 0.5}),
    (
        "lamm-flickr30k",
        {"flickr30k": [{"references": ["a red dog runs."]}]},
        said("a red dog runs"),
        {"bleu4_x100": 100},
    ),
    ("lamm-sqaimage", {"VQA_SQAimage": [CHOICE]}, lambda text, seen: f"It is {seen[0]}.", {"acc": 1}),
    ("lamm-ai2d", {"VQA_AI2D": [CHOICE]}, said("The answer is (A)."), {"acc": 0}),
    ("lamm-voc2012", {"detection_VOC2012": [{"objects": [DOG, {**DOG, "label": "cat"}]}]}, said(HALF), {"score": 0.5}),
    ("lamm-lsp", {"keypoints_LSP": [{"joints": JOINTS}]}, right_joint, {"pck": 1}),
    ("lamm-lsp", {"keypoints_LSP": [{"joints": JOINTS, "image_size": [8, 4]}]}, half_the_joints, {"pck": 0.5}),
    (
        "lamm-locating",
        {
            "locating_VOC2012": [{"objects": [DOG]}],
            "locating_LSP": [{"joints": JOINTS}],  # from 0, 0 to 7/8, 3/4: the point lies in it
            "locating_FSC147": [{"points": [[4, 2], [8, 4]]}, {"points": [[4, 2]] * 10}],  # of many nothing is asked
        },
        said("the dog [0.5, 0.5]"),
        {"acc": 0.75},
    ),
    ("lamm-scannet", {"Detection_ScanNet": [{"objects": [CHAIR]}]}, said(SMALL), {"score": 0}),
    ("lamm-scanrefer", {"VG_ScanRefer": [{"bbox": CHAIR["bbox"], "query": "Where?"}]}, said(SMALL), {"acc@0.25": 1}),
    ("lamm-scanqa", {"VQA_ScanQA_multiplechoice": [CHOICE]}, said("red"), {"acc": 1}),
]
CLOUDS = ("lamm-scannet", "lamm-scanrefer", "lamm-scanqa")


def released(folder: Path, name: str, lists: dict[str, list[dict[str, Any]]]) -> None:
    """Lists with a medium for each entry, a folder above them."""
    cloud = name in CLOUDS
    for file, entries in lists.items():
        media = [f"{file}_{place}.{'npy' if cloud else 'png'}" for place in range(len(entries))]
        held = [{"pcl" if cloud else "image": medium, **one} for medium, one in zip(media, entries, strict=True)]
        put(folder / "meta" / f"{file}.json", held)
        for medium in media:
            put(folder / medium, "red")
            if cloud:
                np.save(folder / medium, np.arange(36, dtype=np.float32).reshape(3, 12))


@pytest.mark.parametrize(("name", "lists", "say", "wanted"), TASKS, ids=[row[0] for row in TASKS])
def test_figures(
    name: str, lists: dict[str, list[dict[str, Any]]], say: Say, wanted: dict[str, float], tmp_path: Path
) -> None:
    released(tmp_path / "data", name, lists)
    found = benchmark(name, tmp_path / "data", tmp_path / "out", model=Seer(say), show=False)
    assert found is not None
    assert {key: found["figures"][key] for key in wanted} == pytest.approx(wanted)
    assert (found["by"]["parser"], found["by"]["prompt"], found["skipped"]) == ("lamm@2023", "lamm@anyx-1", {})


def test_all_tasks_are_tried() -> None:
    assert {row[0] for row in TASKS} == {name for name in BENCHMARKS if name.startswith("lamm-")}


def asked(name: str, entries: list[dict[str, Any]], file: str, tmp_path: Path) -> list[str]:
    released(tmp_path, name, {file: entries})
    model = Seer(said("none"))
    benchmark(name, tmp_path, tmp_path / "out", model=model, show=False)
    return model.texts


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        (
            {},
            "(picture)Which colour?\n(A) blue\n(B) red\nAnswer with 'The answer is (X).', where X is the right letter.",
        ),
        ({"query": "Pick (A) or (B)."}, "(picture)Pick (A) or (B)."),
        ({"conversations": [{"from": "human", "value": "<image>\nWhich?"}]}, "(picture)Which?"),
    ],
)
def test_an_entry_asks_in_its_own_words_or_ours(more: dict[str, Any], wanted: str, tmp_path: Path) -> None:
    assert asked("lamm-ai2d", [{**CHOICE, **more}], "VQA_AI2D", tmp_path) == [wanted]


def test_a_joint_is_a_question(tmp_path: Path) -> None:
    texts = asked("lamm-lsp", [{"joints": JOINTS}], "keypoints_LSP", tmp_path)
    assert len(texts) == 14
    assert texts[0].startswith("(picture)Where is the right ankle of this person?")
    assert "left ankle" in texts[5]
    assert "top of the head" in texts[13]


def test_the_published_bug_of_pck(tmp_path: Path) -> None:
    released(tmp_path, "lamm-lsp", {"keypoints_LSP": [{"joints": JOINTS}] * 2})
    found = benchmark("lamm-lsp", tmp_path, tmp_path / "out", model=Seer(right_joint), limit=1, show=False)
    assert found is not None
    assert (found["samples"], found["clusters"], found["figures"]) == (14, 1, {"pck": 1})
    found = score("lamm-lsp", tmp_path / "out", parser="lamm@2023-as-published", show=False)
    assert (found["figures"], found["by"]["pck"]) == ({"pck": 0}, "as published: always 0")


BAD: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("lamm-lsp", lambda one: one["joints"].pop(), "a person has 14 joints, but 13 were given"),
    ("lamm-lsp", lambda one: one["joints"].insert(0, [1]), r"2 or 3 numbers are expected, but \[1\] was given"),
    ("lamm-lsp", lambda one: one.pop("image"), "KeyError: 'image'"),
]


@pytest.mark.parametrize(("name", "change", "wanted"), BAD)
def test_a_malformed_entry_is_skipped(
    name: str, change: Callable[[dict[str, Any]], Any], wanted: str, tmp_path: Path
) -> None:
    released(tmp_path, name, {"keypoints_LSP": [{"joints": JOINTS}, {"joints": JOINTS}]})
    file = tmp_path / "meta" / "keypoints_LSP.json"
    held = json.loads(file.read_text())
    change(held[0])
    file.write_text(json.dumps(held))
    found = benchmark(name, tmp_path, tmp_path / "out", model=Seer(right_joint), show=False)
    assert found is not None
    assert (found["samples"], found["skipped"]) == (14, {"malformed": 1})
    change(held[1])
    file.write_text(json.dumps(held))
    with pytest.raises(ValueError, match=rf"not of the form expected \(.*{wanted}.*\); expected LAMM-Benchmark's JSON"):
        benchmark(name, tmp_path, tmp_path / "again", model=Seer(right_joint), show=False)


def test_what_is_no_list_or_lacks_a_cloud(tmp_path: Path) -> None:
    put(tmp_path / "a/VQA_ScanQA.json", {"data": []})
    with pytest.raises(ValueError, match=r"VQA_ScanQA\.json is no list of entries"):
        benchmark("lamm-scanqa", tmp_path / "a", tmp_path / "out", model=Seer(said("")), show=False)
    with pytest.raises(ValueError, match=r"no \*ocating\*VOC2012\*\.json \+ \*ocating\*LSP"):
        benchmark("lamm-locating", tmp_path / "a", tmp_path / "out", model=Seer(said("")), show=False)
    released(tmp_path / "b", "lamm-scanqa", {"VQA_ScanQA": [CHOICE, CHOICE]})
    (tmp_path / "b" / "VQA_ScanQA_0.npy").unlink()
    found = benchmark("lamm-scanqa", tmp_path / "b", tmp_path / "out", model=Seer(said("red")), show=False)
    assert found is not None
    assert (found["n"], found["skipped"]) == (1, {"missing": 1})
