"""Draws follow seed and weights; a state resumes them exactly, also in the middle of a window."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyx.data.mixture import Batches, Draw, Mixture, Planned


def mixture(seed: int = 0, variants: tuple[int, ...] = (1, 1)) -> Mixture:
    return Mixture([range(10), range(30)], [1, 3], seed=seed, variants=variants)


def batches(seed: int = 0, *, bucket: bool = True) -> Batches:
    return Batches(mixture(seed, (4, 0)), 4, length=(lambda draw: draw.record % 7) if bucket else None, window=5)


def take(source: Batches, count: int) -> list[Planned]:
    return list(itertools.islice(source, count))


def test_weights_and_epochs() -> None:
    draws = [(mix := mixture()).draw()] + [mix.draw() for _ in range(3999)]
    counts = Counter(draw.source for draw in draws)
    assert 900 < counts[0] < 1100
    first = [draw.record for draw in draws if draw.source == 1][:30]
    second = [draw.record for draw in draws if draw.source == 1][30:60]
    assert sorted(first) == sorted(second) == list(range(30))
    assert first != second


def test_the_seed_decides() -> None:
    def draws(seed: int) -> list[Draw]:
        mix = mixture(seed)
        return [mix.draw() for _ in range(50)]

    assert draws(1) == draws(1) != draws(2)


def test_variants_are_within_their_number_or_endless() -> None:
    mix = mixture(variants=(4, 0))
    draws = [mix.draw() for _ in range(200)]
    assert {draw.variant for draw in draws if draw.source == 0} == {0, 1, 2, 3}
    endless = [draw.variant for draw in draws if draw.source == 1]
    assert len(set(endless)) == len(endless)


@given(st.integers(0, 12), st.booleans(), st.integers(0, 5))
def test_a_state_resumes_exactly(done: int, bucket: bool, seed: int) -> None:
    whole = take(batches(seed, bucket=bucket), done + 8)
    rest = batches(seed, bucket=bucket)
    if done:
        rest.load_state_dict(whole[done - 1].state)
    assert take(rest, 8) == whole[done:]


def test_buckets_hold_like_lengths_and_lose_nothing() -> None:
    plain, bucketed = take(batches(bucket=False), 5), take(batches(), 5)
    assert sorted(d for plan in plain for d in plan.draws) == sorted(d for plan in bucketed for d in plan.draws)

    def spread(plans: list[Planned]) -> int:
        lengths = [[draw.record % 7 for draw in plan.draws] for plan in plans]
        return sum(max(group) - min(group) for group in lengths)

    assert spread(bucketed) < spread(plain)


def test_errors() -> None:
    with pytest.raises(ValueError, match="2 sources but 1 weights"):
        Mixture([range(3), range(3)], [1], seed=0)
    with pytest.raises(ValueError, match=">= 0 and not all 0"):
        Mixture([range(3)], [0], seed=0)
    with pytest.raises(ValueError, match="batch_size is >= 1"):
        Batches(mixture(), 0)
    with pytest.raises(ValueError, match="of 1 sources, this mixture has 2"):
        mixture().load_state_dict({"position": 3, "cursors": [3]})
