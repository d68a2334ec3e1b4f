"""Errors and intervals by hand, and how often they hold what they should."""

import math

import numpy as np
import pytest

from anyx.scoring.arena import arena, strengths
from anyx.scoring.bootstrap import (
    cluster_means,
    drawn_means,
    edges,
    paired_bootstrap,
    percentiles,
    permutation_test,
    widened,
)
from anyx.scoring.compare import compare, interval
from anyx.scoring.mme import mme
from anyx.scoring.result import Result
from anyx.scoring.statistics import clustered_error, paired_t, standard_error, wilson


def test_errors_by_hand() -> None:
    # mean 3/4; squares 9/16 and three of 1/16 over 3 are 1/4; the root over the root of 4
    assert standard_error([0, 1, 1, 1]) == pytest.approx(0.25)
    # sums of deviations -1/2 and 1/2: 1/16 + (1/4 + 1/4 - 3/4) / 16
    assert clustered_error([0, 1, 1, 1], ["p", "p", "q", "q"]) == pytest.approx(math.sqrt(1 / 16 - 1 / 64))
    # all alike within: products of 4 items, twice 2 * 1/4, and 1/4 * 4/3 / 4
    assert clustered_error([0, 0, 1, 1], ["p", "p", "q", "q"]) == pytest.approx(math.sqrt(1 / 12 + 1 / 16))
    with pytest.raises(ValueError, match="1 items given; an error can be told from two or more"):
        standard_error([1])
    with pytest.raises(ValueError, match="3 clusters but 4 items; each item has one cluster"):
        clustered_error([0, 1, 1, 1], ["p", "q", "q"])


def test_paired_t_by_hand() -> None:
    # differences 1, 0, 1, 0: mean 1/2, error sqrt(1/3 / 4), t = sqrt 3; with 3 degrees of freedom the distribution
    # function there is 1/2 + (1/2 + pi/4) / pi; the 97.5% point is 3.182446
    found = paired_t([1, 0, 1, 1], [0, 0, 0, 1])
    error = math.sqrt(1 / 12)
    assert found[:2] == pytest.approx((0.5, error))
    assert (found.low, found.high) == pytest.approx((0.5 - 3.182446 * error, 0.5 + 3.182446 * error), abs=1e-6)
    assert (found.t, found.p) == pytest.approx((math.sqrt(3), 1 - 2 * (0.5 + math.pi / 4) / math.pi))
    assert paired_t([1, 2], [1, 2])[4:6] == (0, 1)
    assert paired_t([1, 2], [2, 3])[4:6] == (-math.inf, 0)
    with pytest.raises(ValueError, match="2 items but 3 of the baseline"):
        paired_t([1, 2], [1, 2, 3])


def test_draws_by_hand() -> None:
    assert drawn_means([0, 3, 6], [[0, 0, 0], [0, 1, 2], [2, 2, 1]]).tolist() == [0, 3, 5]
    assert percentiles(range(101)) == pytest.approx((2.5, 97.5))
    # two clusters, 0 and 1: of two draws both are the first (1/4), one is each (1/2), both are the second (1/4)
    means = cluster_means([0, 0, 0, 1], ["p", "p", "p", "q"], repeats=4000)
    assert set(means) == {0, 0.25, 1}  # over items: 1 of 4 where both were drawn
    assert np.mean(means == 0.25) == pytest.approx(0.5, abs=0.03)
    assert (means == cluster_means([0, 0, 0, 1], ["p", "p", "p", "q"], repeats=4000)).all()


def test_tests_of_a_difference_by_hand() -> None:
    # five wins of five: of 32 ways to set the signs two are as far from 0
    assert permutation_test([1] * 5, [0] * 5) == pytest.approx(2 / 32, abs=0.01)
    # as one cluster there are two ways, and both are
    assert permutation_test([1] * 5, [0] * 5, ["p"] * 5) == 1
    # one lost: 1 + 5 ways of 32, on both sides
    assert permutation_test([1, 1, 1, 1, 0, 3], [0, 0, 0, 0, 1, 3]) == pytest.approx(12 / 32, abs=0.02)
    assert permutation_test([1, 2], [1, 2]) == 1
    assert paired_bootstrap([1] * 5, [0] * 5) == (1, 1)


def result(items: list[float], clusters: str = "", *, share: bool = True, scale: float = 1.0) -> Result:
    return Result("m", {}, {"figure": None}, len(items), items, [*clusters], scale, share)


@pytest.mark.parametrize(("share", "n"), [(0.5, 100), (0.9, 150), (0.3, 400)])
def test_wilson_holds_the_share_19_times_of_20(share: float, n: int) -> None:
    low, high = np.transpose([wilson(hits, n) for hits in range(n + 1)])
    hits = np.random.default_rng(0).binomial(n, share, size=20_000)
    assert 0.93 < np.mean((low[hits] <= share) & (share <= high[hits])) < 0.97


def test_the_bootstrap_over_clusters_holds_the_mean_19_times_of_20() -> None:
    """2000 measurements of 60 pictures with 1 to 6 questions, which are easy or hard as their picture is."""
    generator = np.random.default_rng(0)
    clusters = np.repeat(np.arange(60), generator.integers(1, 7, size=60))
    chance = generator.beta(1.4, 0.6, size=(60, 2000))[clusters]  # mean 0.7
    right = (generator.random(chance.shape) < chance).astype(float)
    found = [percentiles(column) for column in cluster_means(right, clusters.tolist()).T]
    assert 0.93 < np.mean([low <= 0.7 <= high for low, high in found]) < 0.97
    plain = [percentiles(column) for column in cluster_means(right[:, :500]).T]
    assert np.mean([low <= 0.7 <= high for low, high in plain]) < 0.9  # as if questions were independent


@pytest.mark.parametrize("n", [32, 72, 288])  # as many as in cells of reports
def test_intervals_of_shares_hold_them_19_times_of_20(n: int) -> None:
    """Whatever the share is: 10,000 shares between 0 and 1, each measured once."""
    generator = np.random.default_rng(0)
    chance = generator.random(10_000)
    edges = np.array([interval(result([1.0] * hits + [0.0] * (n - hits))) for hits in range(n + 1)])
    low, high = edges[generator.binomial(n, chance)].T
    assert 0.93 < np.mean((low <= chance) & (chance <= high)) < 0.97


def test_intervals_over_clusters_hold_the_mean_19_times_of_20() -> None:
    """1000 measurements of 60 pictures with 1 to 6 questions each, other pictures and numbers each time."""
    generator = np.random.default_rng(0)
    held = []
    for _ in range(1000):
        clusters = np.repeat(np.arange(60), generator.integers(1, 7, size=60))
        right = generator.random(len(clusters)) < generator.beta(1.4, 0.6, size=60)[clusters]  # mean 0.7
        found = Result("m", {}, {}, len(right), right.astype(float).tolist(), list(map(str, clusters)), share=True)
        low, high = interval(found, repeats=500) or (0, 0)
        held.append(low <= 0.7 <= high)
    assert 0.93 < np.mean(held) < 0.97


@pytest.mark.parametrize(("a", "b"), [(1.4, 0.6), (14.0, 6.0), (9.0, 1.0), (1.0, 1.0)])
def test_intervals_over_twelve_clusters_hold_the_mean_19_times_of_20(a: float, b: float) -> None:
    """1000 measurements of 12 scenes by 4 copies each, scenes unlike each other or nearly alike."""
    generator = np.random.default_rng(0)
    held, plain = [], []
    for _ in range(1000):
        clusters = np.repeat(np.arange(12), 4)
        right = (generator.random(48) < generator.beta(a, b, size=12)[clusters]).astype(float).tolist()
        low, high = interval(result(right, "".join(map(chr, 97 + clusters))), repeats=500) or (0, 0)
        held.append(low <= a / (a + b) <= high)
        low, high = percentiles(cluster_means(right, clusters.tolist(), repeats=500))
        plain.append(low <= a / (a + b) <= high)
    assert 0.93 < np.mean(held) < 0.97
    assert np.mean(plain) < np.mean(held) - 0.01


def test_few_clusters_take_percentiles_further_out() -> None:
    # t of 11 degrees of freedom at 97.5%: 2.200985; times the root of 12 / 11: 2.298851, beyond which lie 1.0757%
    assert widened(12) == pytest.approx(1 - 2 * 0.010757, abs=1e-5)
    assert widened(100_000) == pytest.approx(0.95, abs=1e-5)
    assert edges(range(101), 12) == pytest.approx((1.0757, 98.9243), abs=1e-3)
    assert widened(1) == 0.95


def test_intervals_of_differences_hold_them_19_times_of_20() -> None:
    """1000 times two systems on the same 100 items, easy or hard for both: right in 0.7 and in 0.6 of them."""
    generator = np.random.default_rng(0)
    held = []
    for _ in range(1000):
        chance = generator.beta(1.2, 0.8, size=100)  # mean 0.6
        one, other = (generator.random(100) < some for some in (chance * 0.75 + 0.25, chance))
        low, high = paired_bootstrap(one.astype(float).tolist(), other.astype(float).tolist(), repeats=500)
        held.append(low <= 0.1 <= high)
    assert 0.93 < np.mean(held) < 0.97


def test_the_interval_of_a_share() -> None:
    """Wilson's of items that stand each for itself; the bootstrap's of clusters, and of answers right in part."""
    assert interval(result([1, 0, 1, 0], scale=100)) == pytest.approx([100 * edge for edge in wilson(2, 4)])
    assert interval(result([1, 0, 1, 0], "pqrs")) == pytest.approx(wilson(2, 4))  # each is its own source
    assert interval(result([1, 1, 0, 0], "ppqq")) == (0, 1)  # of two sources both, one and one, or the other
    assert interval(result([0.5, 0.7])) == pytest.approx((0.5, 0.7))


def test_the_interval_where_all_are_alike() -> None:
    """Two right answers on each of two pictures say no more of a third picture than one on each."""
    assert interval(result([1, 1, 1, 1], "ppqq")) == wilson(2, 2)
    assert interval(result([0.9, 0.1, 0.1, 0.9], "ppqq")) == pytest.approx(wilson(1, 2))
    assert interval(result([1, 1])) == wilson(2, 2)
    assert interval(result([0.0, 0.0, 0.0], share=False)) is None  # of what may be anything nothing is known


def test_what_is_no_share_has_no_interval_of_one() -> None:
    """Edit counts that happen to be 0 and 1: the bootstrap's, which is not Wilson's; MME's points of 0 show nothing."""
    low, high = interval(result([0.0, 1.0] * 8, share=False)) or (0, 0)
    assert (low, high) == pytest.approx((0.25, 0.75))  # of 16 draws 4 to 12 are ones 97.9% of the time, 5 to 11 92.3%
    rows = [
        {"category": "OCR", "question_id": f"{place // 2}", "answer": "yes", "prediction": "no"} for place in range(8)
    ]
    assert mme(rows).items == [0] * 4
    assert interval(mme(rows)) is None


def test_one_source_has_no_interval() -> None:
    assert interval(result([])) is None
    assert interval(result([1])) is None
    assert interval(result([1, 0, 1], "ppp")) is None
    found = compare(result([1, 0, 1], "ppp"), result([0, 0, 1], "ppp"))
    assert (found.low, found.high, found.p) == (None, None, 1)


def test_results_are_compared_on_the_same_items() -> None:
    one, other = Result("m", {}, {}, 5, [1.0] * 5, scale=100.0), Result("m", {}, {}, 5, [0.0] * 5, scale=100.0)
    found = compare(one, other)
    assert found[:3] == (100, 100, 100)  # no width, for all differ alike: p says how sure that is
    assert found.p == pytest.approx(2 / 32, abs=0.01)
    with pytest.raises(ValueError, match=r"\{\} does not compare with \{'parser': 'x@1'\}; score both alike"):
        compare(one, Result("m", {"parser": "x@1"}, {}, 5, [0.0] * 5))
    with pytest.raises(ValueError, match="the clusters of two results differ"):
        compare(one, Result("m", {}, {}, 5, [0.0] * 5, ["p"] * 5))


def votes(one: str, other: str, /, **times: int) -> list[dict[str, str]]:
    return [{"a": one, "b": other, "winner": winner} for winner, count in times.items() for _ in range(count)]


def test_strengths_of_two_are_the_odds() -> None:
    # three to one: ln 3 apart
    assert strengths(np.array([[[0.0, 3.0], [1.0, 0.0]]]))[0] == pytest.approx([math.log(3) / 2, -math.log(3) / 2])
    # two wins and two draws are three to one; a tenth of a draw more on each side: 3.05 to 1.05
    found = arena(votes("x", "y", b=2, draw=2))
    assert list(found.figures) == ["y", "x"]
    assert found.figures["y"] == pytest.approx(math.log(3.05 / 1.05) / 2)
    assert (found.details["y"]["votes"], found.details["y"]["won"]) == (4, 0.75)


def test_strengths_are_found_from_votes_and_are_in_their_intervals() -> None:
    generator = np.random.default_rng(0)
    true = {"p": 0.8, "q": 0.0, "r": -0.8}
    rows = []
    for a, b in [("p", "q"), ("q", "r"), ("r", "p")] * 300:
        wins = generator.random() < 1 / (1 + math.exp(true[b] - true[a]))
        rows.append({"a": a, "b": b, "winner": "a" if wins else "b"})
    found = arena(rows, repeats=500)
    for name, strength in true.items():
        low, high = found.details[name]["low"], found.details[name]["high"]
        assert low is not None
        assert high is not None
        assert low < strength < high < low + 0.5
    assert found.details == arena(rows, repeats=500).details


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (votes("x", "y", a=1) + votes("p", "q", a=1), "no votes lead from p to x, y; their strengths do not compare"),
        (votes("x", "x", a=1), "row 0 is .*; two models, and a winner of a, b, draw"),
        (votes("x", "y", tie=1), "row 0 is .*; two models, and a winner of a, b, draw"),
        ([], "arena: no rows to score"),
    ],
)
def test_arena_refuses(rows: list[dict[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arena(rows)


def test_arena_needs_a_prior() -> None:
    with pytest.raises(ValueError, match="prior is 0; allowed: above 0"):
        arena(votes("x", "y", a=1), prior=0)
