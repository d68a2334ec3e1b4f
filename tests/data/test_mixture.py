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


def long(draw: Draw) -> int:
    """Lengths of 0 (it cannot be read) to 22."""
    return draw.record * 7 % 23


def budget(seed: int = 0, *, padded: bool, tokens: int = 40, size: int = 6) -> Batches:
    return Batches(mixture(seed, (4, 0)), size, length=long, window=5, tokens=tokens, padded=padded)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("tokens", [10, 40, 200])
def test_a_budget_is_kept_and_no_record_comes_twice(padded: bool, tokens: int) -> None:
    plans = take(budget(padded=padded, tokens=tokens), 60)
    for plan in plans:
        lengths = [max(1, long(draw)) for draw in plan.draws]
        positions = max(lengths) * len(lengths) if padded else sum(lengths)
        assert len(lengths) == 1 or (positions <= tokens and len(lengths) <= 6)
        assert len({draw[:2] for draw in plan.draws}) == len(plan.draws)
        assert lengths == sorted(lengths, reverse=True)  # every so manieth draw is as long as its neighbours


def test_packed_batches_are_full() -> None:
    mix = Mixture([range(2000)], [1], seed=0)
    plans = take(Batches(mix, 50, length=lambda draw: 1 + draw.record % 40, tokens=200, padded=False), 80)
    assert sum(1 + draw.record % 40 for plan in plans for draw in plan.draws) > 0.95 * 200 * len(plans)


@pytest.mark.parametrize("padded", [False, True])
def test_a_budget_loses_nothing(padded: bool) -> None:
    source = budget(padded=padded)
    plans = take(source, 1)
    while plans[-1].state["taken"]:
        plans = take(budget(padded=padded), len(plans) + 1)
    mix = mixture(0, (4, 0))
    draws = sorted(draw for plan in plans for draw in plan.draws)
    assert draws == sorted(mix.draw() for _ in draws)
    assert plans[-1].state["mixture"] == mix.state_dict()


@given(st.integers(0, 12), st.booleans(), st.integers(0, 3))
def test_a_state_within_a_budget_resumes_exactly(done: int, padded: bool, seed: int) -> None:
    whole = take(budget(seed, padded=padded), done + 8)
    rest = budget(seed, padded=padded)
    if done:
        rest.load_state_dict(whole[done - 1].state)
    assert take(rest, 8) == whole[done:]


def test_few_records_are_not_copied_to_fill_a_batch() -> None:
    source = Batches(Mixture([range(5)], [1], seed=0), 64, length=lambda draw: 3, tokens=4096, padded=False)
    assert all(sorted(draw.record for draw in plan.draws) == list(range(5)) for plan in take(source, 20))
    assert [source.count(5 * epochs) for epochs in (1, 3, 100)] == [1, 3, pytest.approx(100, rel=0.02)]


@pytest.mark.parametrize("padded", [False, True])
def test_batches_of_an_epoch_are_counted_without_moving(padded: bool) -> None:
    def made() -> Batches:
        mix = Mixture([range(3000)], [1], seed=0)
        return Batches(mix, 64, length=lambda draw: 1 + draw.record % 50, tokens=400, padded=padded)

    source = made()
    told = source.count(3000)
    assert take(source, 3) == take(made(), 3)
    held = itertools.accumulate(len(plan.draws) for plan in made())
    needed = 1 + sum(1 for _ in itertools.takewhile(lambda draws: draws < 3000, held))
    assert told == pytest.approx(needed, rel=0.03)


def test_errors() -> None:
    with pytest.raises(ValueError, match="2 sources but 1 weights"):
        Mixture([range(3), range(3)], [1], seed=0)
    with pytest.raises(ValueError, match=">= 0 and not all 0"):
        Mixture([range(3)], [0], seed=0)
    with pytest.raises(ValueError, match="batch_size is >= 1"):
        Batches(mixture(), 0)
    with pytest.raises(ValueError, match="tokens: 0 given; a budget is >= 1"):
        Batches(mixture(), 1, length=long, tokens=0)
    with pytest.raises(ValueError, match="needs to know how long draws are"):
        Batches(mixture(), 1, tokens=9)
    with pytest.raises(ValueError, match="of 1 sources, this mixture has 2"):
        mixture().load_state_dict({"position": 3, "cursors": [3]})
