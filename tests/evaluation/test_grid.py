"""Grids: what varies is read from words, and differences are told with what chance would do."""

from pathlib import Path

import pytest

from anyx.evaluation.grid import markdown, parted, save, table, variants
from anyx.evaluation.records import Job

COSTS = {"overrides": [], "parameters": 1200, "seconds": 90.0}


def itself(sample: str) -> str:
    return sample


def answers(wrong: set[int], split: str = "seen") -> dict[Job, float]:
    return {Job(split, "image->text", str(place), 0): float(place not in wrong) for place in range(20)}


def test_commas_part_values_that_nothing_holds() -> None:
    assert parted("linear,mlp, resampler") == ["linear", "mlp", "resampler"]
    assert parted("{type: mlp, hidden: 4},[1,2],'a,b'") == ["{type: mlp, hidden: 4}", "[1,2]", "'a,b'"]
    assert parted("") == [""]


def test_a_grid_is_every_value_with_every_other() -> None:
    made, fixed = variants(["inputs.image.projector.type=linear,mlp", "outputs.image.tokens=1,4,16", "seed=3"])
    assert fixed == ["seed=3"]
    assert len(made) == 6
    assert made[1].name == "type=linear__tokens=4"
    assert made[1].overrides == ("inputs.image.projector.type=linear", "outputs.image.tokens=4")


def test_names_are_folders_of_their_own() -> None:
    made, _ = variants(["inputs.image.tokens=1,2", "inputs.audio.tokens=1,2", "x={a: b/../c},d"])
    names = [variant.name for variant in made]
    assert len(set(names)) == len(names) == 8
    assert not any(letter in name for name in names for letter in "/{}: ")
    one, two = (variant.name for variant in variants(["a=b c,b/c"])[0])
    assert one != two


@pytest.mark.parametrize(("words", "message"), [(["a.b"], "an override is written"), (["a=1"], "nothing varies")])
def test_words_that_span_no_grid_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        variants(words)


def test_differences_are_paired_with_the_first() -> None:
    """By hand: 20 requests, 10 wrong of the first and none of the second: +50 points; swapping signs of ten equal
    differences gives one as large in 2 of 1024 ways."""
    rights = {"a": {0: answers(set(range(10)))}, "b": {0: answers(set())}, "c": {0: answers(set(range(10)))}}
    found = table(rights, dict.fromkeys(rights, COSTS), itself)
    a, b, c = (found[name]["splits"]["seen"] for name in "abc")
    assert (a["accuracy"], b["accuracy"], b["difference"], c["difference"]) == (0.5, 1.0, 0.5, 0.0)
    assert b["p"] == pytest.approx(2 / 1024, abs=1.5e-3)
    assert b["holm"] == pytest.approx(2 * b["p"], abs=1e-5)
    assert c["p"] == c["holm"] == 1
    assert "p" not in a
    assert b["difference_ci95"][0] > 0
    assert "| b | 1,200 | 1.5 | 100% (84%-100%) | seen +50%, " in markdown(found)


def test_seeds_are_paired_with_themselves() -> None:
    rights = {"a": {0: answers({1}), 1: answers({2})}, "b": {0: answers({1}), 1: answers({3})}}
    told = table(rights, dict.fromkeys(rights, COSTS), itself)
    found = told["b"]["splits"]["seen"]
    assert (found["n"], found["accuracy"], found["difference"]) == (40, 0.95, 0.0)


def test_each_seed_s_accuracy_is_told() -> None:
    """Of other trainings, of which the intervals say nothing."""
    rights = {"a": {0: answers({1}), 1: answers({2})}, "b": {0: answers({1}), 1: answers(set(range(10)))}}
    told = table(rights, dict.fromkeys(rights, COSTS), itself)
    assert told["b"]["splits"]["seen"]["seeds"] == {"0": 0.95, "1": 0.5}
    assert "; 95%, 50%)" in markdown(told)


def test_requests_about_one_label_hang_together() -> None:
    """By hand: ten of ten won of twenty requests about two labels: signs of two equal sums are alike in 2 of 4 ways."""
    rights = {"a": {0: answers(set(range(10)))}, "b": {0: answers(set())}}
    row = table(rights, dict.fromkeys(rights, COSTS), lambda sample: str(int(sample) % 2))["b"]["splits"]["seen"]
    assert row["p"] == pytest.approx(0.5, abs=0.02)


def test_tables_and_a_picture_are_written(tmp_path: Path) -> None:
    rights = {
        "a": {0: {**answers({1}), **answers({1}, "unseen")}},
        "b": {0: {**answers({2}), **answers(set(), "unseen")}},
    }
    save(table(rights, dict.fromkeys(rights, COSTS), itself), tmp_path)
    assert (tmp_path / "ablation.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "ablation.md").read_text().count("\n") == 4
