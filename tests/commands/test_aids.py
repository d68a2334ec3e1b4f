"""`--correct`, `--marks`, `--chair` from the command line, with oracles and with random models of the real classes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import released
import tiny_tools
import torch
from components import TINY
from seers import Seer

from anyx.benchmarks import benchmark
from anyx.benchmarks.judges import digest
from anyx.build import build
from anyx.commands import main
from anyx.commands.aids import parted
from anyx.config import check
from anyx.evaluation.records import whole_lines
from anyx.tools.prompted import CORRECTED, THINGS

Run = Callable[..., tuple[int, str, str]]
SIGHTS = Path(__file__).parent.parent / "benchmarks" / "sights.py"
INSTANCES = {"1": ["square"], "2": ["square", "wall"]}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> tuple[int, str, str]:
        torch.manual_seed(0)  # a folder holds no encoder: it is drawn anew
        with pytest.raises(SystemExit) as ended:
            main(["benchmark", *map(str, words), "--device", "cpu"])
        return ended.value.code, *capsys.readouterr()  # type: ignore[return-value]

    return run


def asked(name: str, tmp_path: Path, say: str) -> Path:
    released_by: dict[str, Callable[[Path], None]] = {"pope": released.pope, "coco": released.coco}
    released_by[name](tmp_path / "data")
    model = Seer(lambda text, seen: say)
    benchmark(name, tmp_path / "data", tmp_path / "out", model=model, show=False)
    return tmp_path / "out"


def held(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "result.json").read_text())
    return found


def test_old_answers_of_pope_are_corrected(run: Run, tmp_path: Path) -> None:
    """Always Yes is right in 3 of 6, with F1 2/3 and yes ratio 1; corrected all are right, the half of them yes."""
    out = asked("pope", tmp_path, "Yes")
    (tmp_path / "words.txt").write_text("red\ngreen\nblue\n")
    assert held(out)["figures"] == pytest.approx({"accuracy": 0.5, "f1": 2 / 3, "yes_ratio": 1})
    words = f"{SIGHTS}:Sights,words={tmp_path / 'words.txt'},answerer={SIGHTS}:Painter"
    code, said, error = run("pope", "--out", out, "--score-only", "--correct", words)
    assert (code, "uncorrected" in said) == (0, True), error
    found = held(out)
    assert found["figures"] == {"accuracy": 1, "f1": 1, "yes_ratio": 0.5}
    assert found["uncorrected"] == pytest.approx({"accuracy": 0.5, "f1": 2 / 3, "yes_ratio": 1})
    assert found["by"]["correction"].endswith("3 words#" + found["by"]["correction"].split("#")[1])
    assert found["by"]["correction"].endswith("detector sights, answers painter")


def test_captions_are_corrected_and_measured_by_chair(run: Run, tmp_path: Path) -> None:
    """Both captions invent a dog, one a wall: 2 of 2 captions, 3 of 6 mentions; corrected, none."""
    out = asked("coco", tmp_path, "a square and a dog on a wall")
    released.put(tmp_path / "synonyms.json", {"square": [], "dog": ["puppy"], "wall": []})
    released.put(tmp_path / "objects.json", INSTANCES)
    chair = f"{tmp_path / 'synonyms.json'},objects={tmp_path / 'objects.json'}"
    code, _, error = run("coco", "--out", out, "--score-only", "--chair", chair)
    assert (code, held(out)["figures"]["chair_s"], held(out)["figures"]["chair_i"]) == (0, 1, 0.5), error
    correct = f"detector={SIGHTS}:Sights,words={tmp_path / 'synonyms.json'}"
    seen = f"{tmp_path / 'synonyms.json'},detector={SIGHTS}:Sights,references=false"
    for measured in (chair, seen):
        assert run("coco", "--out", out, "--score-only", "--chair", measured, "--correct", correct)[0] == 0
        found = held(out)
        assert (found["figures"]["chair_s"], found["figures"]["chair_i"]) == (0, 0)
        assert (found["uncorrected"]["chair_s"], found["uncorrected"]["chair_i"]) == (1, 0.5)
    assert found["by"]["objects"] == "detector sights"


def test_a_language_model_s_recorded_words_correct(run: Run, tmp_path: Path) -> None:
    """Its words are found by the digests of our prompts; nothing else is asked."""
    out = asked("pope", tmp_path, "Yes")
    lines = []
    for record in whole_lines(out / "records.jsonl"):
        question = record["inputs"][0]["content"][-1]["text"]
        colour = question.split()[2]
        seen = f"{colour}: 1 found, at [0.000, 0.000, 1.000, 1.000]." if colour == "red" else f"{colour}: none found."
        given = {"question": question, "reply": "Yes"}
        answer = "Yes." if colour == "red" else "No."
        for prompt, said in (
            (THINGS.format(**given), colour),
            (CORRECTED.format(claims=seen, **given), answer),
        ):
            lines.append({"prompt": digest(prompt), "judge": "scribe", "answer": said})
    (tmp_path / "said.jsonl").write_text(released.lines(*lines))
    correct = f"{SIGHTS}:Sights,language={tmp_path / 'said.jsonl'}"
    code, _, error = run("pope", "--out", out, "--score-only", "--correct", correct)
    assert (code, held(out)["figures"]["accuracy"]) == (0, 1), error
    assert "scribe by anyx-correct-1" in held(out)["by"]["correction"]


def test_random_models_of_the_real_classes(run: Run, tiny_llm_folder: str, tmp_path: Path) -> None:
    """Nonsense in and out, through all of it, twice the same: a model, a Grounding DINO and a SAM."""
    torch.manual_seed(0)
    raw = {
        "llm": {"path": tiny_llm_folder},
        "encoders": {"eye": {"type": "clip"} | TINY["encoders"]["clip"][0]},
        "inputs": {"image": {"encoder": "eye", "projector": {"type": "linear"}}},
    }
    model = build(check(raw)).save_pretrained(tmp_path / "model")
    released.pope(tmp_path / "data")
    seen = tiny_tools.picture(120, 90, (10, 10, 60, 80))
    (tmp_path / "data/val2014/a.jpg").write_bytes(seen.to_bytes("png"))
    (tmp_path / "words.txt").write_text("red\nblue\ndog\n")
    dino, sam = tiny_tools.grounding_dino(tmp_path / "dino"), tiny_tools.sam(tmp_path / "sam")
    helped = [
        *("--correct", f"{dino},words={tmp_path / 'words.txt'},threshold=0.5,text_threshold=0,area=0"),
        *("--marks", f"{sam},mode=box,side=2,quality=-1e9,stability=-1"),
    ]
    for name in ("a", "b"):
        asking = (
            "pope",
            "--data",
            tmp_path / "data",
            "--out",
            tmp_path / name,
            "--model",
            model,
            "--max-new-tokens",
            3,
        )
        code, _, error = run(*asking, *helped)
        assert code == 0, error
    for file in ("result.json", "corrections.jsonl", "run.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    by = held(tmp_path / "a")["by"]
    marks = r"set-of-mark@anyx-1 box 0\.1 of sam#[0-9a-f]{8}@2x2/-1e\+09/-1/0\.7, 50 at most"
    assert re.fullmatch(marks, by["marks"])
    assert re.search(r"detector dino#[0-9a-f]{8}@0\.5/0/0/0\.95$", by["correction"])
    assert len(whole_lines(tmp_path / "a/marks.jsonl")) == 6
    kept = whole_lines(tmp_path / "a/corrections.jsonl")
    assert [one["things"] for one in kept] == [["red"], ["blue"], ["red"], [], ["red"], ["blue"]], "green is no word"
    assert all(one["corrected"] in ("Yes", "No", one["reply"]) or "there is" in one["corrected"] for one in kept)


def test_how_options_are_read() -> None:
    own, tool = parted("--correct", "a,b/dino,words=w.txt,threshold=0.3,area=0,name=x")
    assert (own, tool) == ({"detector": "a,b/dino", "words": "w.txt"}, {"threshold": 0.3, "area": 0, "name": "x"})
    assert parted("--marks", "mode=box,segmenter=f.py:Mine") == ({"mode": "box", "segmenter": "f.py:Mine"}, {})


def test_mistakes_are_one_line(run: Run, tmp_path: Path) -> None:
    out = asked("pope", tmp_path, "Yes")
    (tmp_path / "words.txt").write_text("red\n")
    words = f"words={tmp_path / 'words.txt'}"
    sights = f"{SIGHTS}:Sights"
    scoring = ("pope", "--out", out, "--score-only")
    for given, wanted in (
        (("--correct", sights), "--correct: one of two is wanted"),
        (("--correct", words), "--correct: detector= is missing; its keys are detector, words,"),
        (("--correct", f"{sights},{words},{words}"), "a key is given twice"),
        (("--correct", f"{sights},words=,model=x"), "--correct: words is without a value"),
        (("--correct", f"{sights},{words},threshold=0.3"), "detector.threshold"),
        (("--correct", f"{sights},words={tmp_path / 'x'}"), "--correct words: there is no file"),
        (("--correct", f"{tmp_path},{words}"), "is neither module:Class nor has a config.json"),
        (("--correct", f"{sights},language=http://x"), "--correct: model=NAME"),
        (("--correct", f"{SIGHTS}:Nothing,{words}"), "cannot be imported as"),
        (("--marks", sights), "--marks: marks are of the question"),
        (("--chair", tmp_path / "words.txt"), "--chair: pope has no captions"),
        (("--compare", out, out, "--correct", sights), "--correct, --marks and --chair are of one run"),
    ):
        code, _, error = run(*scoring, *given)
        assert (code, wanted in error, error.count("\n")) == (2, True, 1), error
    code, _, error = run("pope", "--data", tmp_path / "data", "--marks", f"{SIGHTS}:Cutter,mode=dots", "--out", out)
    assert (code, "mode: 'dots' is not one of" in error) == (2, True), error
    coco = asked("coco", tmp_path / "more", "a")
    for given, wanted in (
        (f"{tmp_path / 'words.txt'}", "told by objects=FILE or detector=PATH"),
        (f"{tmp_path / 'words.txt'},objects=x,references=no", "true and false are allowed"),
        (f"{tmp_path / 'words.txt'},object=x", "--chair: object given; its keys are synonyms, objects"),
    ):
        code, _, error = run("coco", "--out", coco, "--score-only", "--chair", given)
        assert (code, wanted in error, error.count("\n")) == (2, True, 1), error
