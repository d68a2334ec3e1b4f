import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyx.evaluation.metrics import bounds, chance, hits, sound
from anyx.media import Audio, Image, Video
from anyx.scoring.statistics import wilson


def test_wilson_equals_the_published_example() -> None:
    # Wilson (1927) as worked in Newcombe (1998), table I: 81 of 263 -> 0.2553 to 0.3662
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 400), st.data())
def test_wilson_holds_the_share_and_stays_in_bounds(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, total))
    low, high = wilson(count, total)
    assert 0 <= low <= count / total + 1e-9
    assert count / total - 1e-9 <= high <= 1
    assert high - low < 2 / math.sqrt(total) + 0.6


def test_bounds_of_labels_that_are_all_alike_are_wilson_s() -> None:
    assert bounds([1, 1, 1, 1], ["a", "a", "b", "b"]) == wilson(2, 2)
    assert bounds([1, 0, 1, 0], ["a", "a", "b", "b"]) == wilson(1, 2)
    assert bounds([1, 0, 0], ["a", "a", "a"]) == wilson(1 / 3, 1)
    assert bounds([], []) == (0, 1)
    assert bounds([1, 0, 1, 0], list("abcd")) == wilson(2, 4)  # each label has one answer


def test_hits_count_targets_among_the_first_k() -> None:
    ranked = [[3, 1], [0, 2], []]
    assert hits(ranked, [3, 2, 0], 1) == 1
    assert hits(ranked, [3, 2, 0], 2) == 2
    with pytest.raises(ValueError, match="3 rankings but 1 targets"):
        hits(ranked, [3], 1)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=9), st.data())
def test_chance_is_the_mean_over_all_wrong_pairs(targets: list[int], data: st.DataObject) -> None:
    first = data.draw(st.lists(st.integers(0, 5), min_size=len(targets), max_size=len(targets)))
    wrong = [said == wanted for i, said in enumerate(first) for j, wanted in enumerate(targets) if i != j]
    assert chance([[said] for said in first], targets) == pytest.approx(sum(wrong) / len(wrong))


def test_chance_of_a_perfect_cell_is_nil_and_of_one_that_says_all_alike_one_over_its_requests() -> None:
    targets = list(range(20))
    assert chance([[t] for t in targets], targets) == 0
    assert chance([[0] for _ in targets], targets) == pytest.approx(1 / 20)
    assert chance([[] for _ in targets], targets) == 0
    assert chance([[0]], [0]) == 0


def test_sound_refuses_blank_media() -> None:
    grey = torch.full((3, 4, 4), 128, dtype=torch.uint8)
    noise = torch.randint(0, 255, (3, 4, 4), dtype=torch.uint8)
    assert not sound(Image(grey))
    assert sound(Image(noise))
    assert not sound(Video(noise[None], 8.0))
    assert sound(Video(torch.stack([noise, noise]), 8.0))
    assert not sound(Audio(torch.zeros(1, 16000), 16000))
    assert not sound(Audio(torch.full((1, 16000), math.nan), 16000))
    assert sound(Audio(torch.randn(1, 16000).clamp(-1, 1), 16000))
    assert not sound("  ")
