"""Judges: what they said is kept and said again, and the scores from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import released
from released import lines
from seers import Seer

from anyx.benchmarks import benchmark, compare, rank, score
from anyx.benchmarks.comparing import right
from anyx.benchmarks.judges import Kept, Replay, digest
from anyx.benchmarks.llava_bench import LLAVA_BENCH
from anyx.benchmarks.results import shown
from anyx.benchmarks.samples import Review


class Points:
    """Gives points by what it reads: the reference always 8, an answer with its picture's colour 6, another 2."""

    name = "points"

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, prompts: Any) -> list[str]:
        self.asked += len(prompts)
        return ["8 6\nIt is there." if "a red thing" in prompt else "8, 2" for prompt in prompts]


def test_llava_bench_by_a_judge(tmp_path: Path) -> None:
    """Two answers of 6 and one of 2 beside 8 each: 100 * 14 / 24; conv has one of each: 100 * 8 / 16."""
    released.llava_bench(tmp_path / "data")
    out, judge = tmp_path / "out", Points()
    model = Seer(lambda text, seen: f"a {seen[0]} thing")
    assert benchmark("llava-bench", tmp_path / "data", out, model=model, show=False) is None, "nobody judges yet"
    with pytest.raises(ValueError, match="is scored by a judge: name one"):
        score("llava-bench", out, show=False)
    found = score("llava-bench", out, judge=judge, show=False)
    assert found["figures"] == {"relative": pytest.approx(100 * 14 / 24), "reference": 80, "answer": pytest.approx(140 / 3), "unread": 0}  # fmt: skip  # noqa: E501
    assert found["details"]["conv"]["relative"] == 50
    assert found["by"] == {
        "parser": "review@line",
        "prompt": "the question alone",
        "judge": "points",
        "judge_prompt": "llava-bench@anyx-1",
    }
    assert score("llava-bench", out, show=False) == found, "what was said is kept"
    assert score("llava-bench", out, judge=judge, show=False) == found
    assert judge.asked == 3
    own = tmp_path / "own.txt"
    own.write_text("{question} {nothing}")
    with pytest.raises(ValueError, match=r"--judge-prompt: \{nothing\} is not one of \{category\}, \{question\}"):
        score("llava-bench", out, judge=judge, judge_prompt=own, show=False)
    own.write_text("{prediction}, {context}")
    assert score("llava-bench", out, judge=judge, judge_prompt=own, show=False)["by"]["judge_prompt"].startswith(
        "own.txt@"
    )


def test_reviews_that_cannot_be_read_break_no_pairs(tmp_path: Path) -> None:
    """Two questions on one picture, two on another; of run a the first review is not read, of b the third.

    What is left of b is of two pictures. Both were read of the second and the fourth question: 6 + 8 points and 2 + 4,
    beside 16, are 87.5 and 37.5.
    """
    released.llava_bench(tmp_path / "data")
    for file, line in (
        ("questions", {"question_id": 3, "image": "b.jpg", "category": "conv", "text": "Why?"}),
        ("answers_gpt4", {"question_id": 3, "text": "So."}),
    ):
        with (tmp_path / f"data/{file}.jsonl").open("a") as held:
            held.write(lines(line))
    points = {"a": ("none", "8 6", "8 4", "8 8"), "b": ("8 2", "8 2", "none", "8 4")}

    class Moody:
        name = "moody"

        def __call__(self, prompts: Any) -> list[str]:
            asked = ("Which {colour}?", "Tell all.", "Eh?", "Why?")
            return [points[p.split("said by ")[1][0]][[q in p for q in asked].index(True)] for p in prompts]

    found = {}
    for name in points:
        model = Seer(lambda text, seen, name=name: f"said by {name}")  # type: ignore[misc]
        found[name] = benchmark(
            "llava-bench", tmp_path / "data", tmp_path / name, model=model, judge=Moody(), show=False
        )
    assert found["b"] is not None
    assert (found["b"]["n"], found["b"]["clusters"]) == (3, 2)
    told = compare("llava-bench", (tmp_path / "a", tmp_path / "b"))
    assert (told["n"], told["a"], told["b"], told["difference"]) == (2, 87.5, 37.5, 50)
    points["b"] = ("none",) * 4
    (tmp_path / "b/judgements.jsonl").unlink()
    with pytest.raises(ValueError, match="no sample in common of which the judge's reviews can be read"):
        compare("llava-bench", (tmp_path / "a", tmp_path / "b"), judge=Moody())


def test_mm_vet_from_a_file_of_another_s_words(tmp_path: Path) -> None:
    """Grades 0.5 and 1 and the same by another judge of 0: a total of 75; maths alone 50."""
    released.mm_vet(tmp_path / "data")
    out = tmp_path / "out"
    benchmark("mm-vet", tmp_path / "data", out, model=Seer(lambda text, seen: seen[0]), show=False)
    asked: list[str] = []

    class Listening:
        name = "listening"

        def __call__(self, prompts: Any) -> list[str]:
            asked.extend(prompts)
            return ["?"] * len(prompts)

    unread = score("mm-vet", out, judge=Listening(), show=False)
    assert unread["figures"] == {"total": 0, "unread": 2}
    assert "red <AND> 5\nAnswer: red\n" in asked[0]
    rows = [(asked[0], "a", "0.5"), (asked[1], "a", "Grade: 1.0"), (asked[0], "b", "0"), (asked[1], "b", "0")]
    file = tmp_path / "said.jsonl"
    file.write_text(lines(*({"prompt": digest(p), "judge": j, "answer": a} for p, j, a in rows)))
    found = score("mm-vet", out, judge=Replay(file, "a"), show=False)
    assert found["figures"] == {"total": 75, "unread": 0}
    assert found["details"] == {"capability": {"ocr": 75, "math": 50}, "integration": {"math+ocr": 50, "ocr": 100}}
    assert found["by"]["judge"] == "a"
    with pytest.raises(ValueError, match=r"None given; .* has answers of a, b"):
        Replay(file)
    with pytest.raises(ValueError, match="has no answer of b to 1 of 1 prompts"):
        Replay(file, "b")(["never asked"])
    file.write_text('{"prompt": "x"}\n')
    with pytest.raises(ValueError, match="each line is"):
        Replay(file)
    file.write_text('{"prompt": ')
    with pytest.raises(ValueError, match=r"said\.jsonl, line 1, is no JSON"):
        Replay(file)


def test_a_file_of_another_s_words_is_only_read(tmp_path: Path) -> None:
    """Its last line has no end, as editors leave it: it counts, and stays."""
    file = tmp_path / "said.jsonl"
    file.write_text(lines(*({"prompt": digest(p), "judge": "j", "answer": p.upper()} for p in "ab")).rstrip("\n"))
    before = file.read_bytes()
    assert Replay(file)(["a", "b"]) == ["A", "B"]
    assert file.read_bytes() == before


def test_what_was_said_is_not_asked_again(tmp_path: Path) -> None:
    inner = Points()
    assert Kept(inner, tmp_path / "said.jsonl")(["a red thing", "x"]) == ["8 6\nIt is there.", "8, 2"]
    assert Kept(inner, tmp_path / "said.jsonl")(["x", "y", "x"]) == ["8, 2"] * 3
    assert inner.asked == 3
    assert Replay(tmp_path / "said.jsonl")(["y"]) == ["8, 2"]


def test_rankings_are_drawn_by_picture(tmp_path: Path) -> None:
    """Three questions on two pictures; of the one on the second no review is read."""
    released.vqav2(tmp_path / "data")
    for name in "ab":
        benchmark("vqav2", tmp_path / "data", tmp_path / name, model=Seer(lambda text, seen: "x"), show=False)

    class First:
        name = "first"

        def __call__(self, prompts: Any) -> list[str]:
            return ["?" if "What colour?" in prompt and "navy" in prompt else "1" for prompt in prompts]

    found = rank("vqav2", (tmp_path / "a", tmp_path / "b"), First(), tmp_path / "kept.jsonl")
    assert (found["n"], found["figures"]["unread"]) == (2, 2)
    assert (found["clusters"], found["interval"]) == (1, None), "both that are left are on one picture"


def test_braces_in_answers_are_no_fields() -> None:
    assert shown(Review("x", "{a} {b}"), {"a": "{b}", "b": "{a}"}) == "{b} {a}"
    assert LLAVA_BENCH.review is not None
    assert "{prediction}" in LLAVA_BENCH.review.template


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"answers": ["red", "red", "crimson"]}, "Right: red; crimson\n"),
        ({"choices": ["so", "thus"], "answer": 1}, "Right: thus\n"),
        ({"answer": "the red one", "box": [0.0, 0.5, 1.0, 1.0]}, "Right: [0.0, 0.5, 1.0, 1.0]\n"),
        ({"question": "?"}, ""),
    ],
)
def test_right_answers_in_words(row: dict[str, Any], wanted: str) -> None:
    assert right(row) == wanted
