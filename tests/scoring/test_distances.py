"""Frechet and kernel distances, Inception score and divergence of labels: by hand, and against their definitions."""

import math

import numpy as np
import pytest
from scipy.linalg import sqrtm

from anyx.scoring.features import Features, Floats
from anyx.scoring.frechet import distance, frechet
from anyx.scoring.inception import divergence, inception
from anyx.scoring.kernel import discrepancy, kid


def drawn(n: int, d: int = 4, shift: float = 0.0, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(shift, 1, (n, d))


def of(values: Floats) -> Features:
    return Features(np.asarray(values, dtype=float), "test@1")


def test_a_frechet_distance_by_hand() -> None:
    """Of numbers: (m1 - m2)^2 + (s1 - s2)^2. -1, 1 have mean 0, variance 2; 3, 3 have mean 3, variance 0: 9 + 2."""
    assert distance(np.array([[-1.0], [1.0]]), np.array([[3.0], [3.0]])) == pytest.approx(11)
    found = frechet(of(np.array([[-1.0], [1.0]])), of(np.array([[3.0], [3.0]])))
    assert found.figures["frechet"] == pytest.approx(11)


@pytest.mark.parametrize("n", [3, 40])
def test_the_frechet_distance_is_its_definition(n: int) -> None:
    """Also with fewer media than features, where covariances are singular."""
    a, b = drawn(n, 6), drawn(50, 6, 0.5, seed=1) * 2
    one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(one @ other).real
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(one + other - 2 * root)
    assert distance(a, b) == pytest.approx(wanted, abs=1e-4)
    assert distance(a, a) == pytest.approx(0, abs=1e-9)


def test_the_floor_is_of_real_media_at_one_size() -> None:
    real, alike, shifted = drawn(200), drawn(80, seed=1), drawn(80, shift=1, seed=2)
    near, far = frechet(of(real), of(alike)), frechet(of(real), of(shifted), metric="fad")
    assert near.figures["floor_n"] == 80
    floor, same, other = near.figures["floor"], near.figures["at_floor_n"], far.figures["at_floor_n"]
    assert floor is not None
    assert same is not None
    assert other is not None
    assert 0.5 < same / floor < 2  # the same distribution stands as far off as real media do
    assert other > 5 * floor
    assert far.metric == "fad"
    assert far.figures["fad"] == pytest.approx(4, rel=0.4)  # four features, each shifted by 1
    assert frechet(of(real), of(alike)) == near
    assert frechet(of(real[:3]), of(alike)).figures["floor"] is None


def test_a_kernel_distance_by_hand() -> None:
    """One feature, k(x, y) = (xy + 1)^3. Real 0, 1: k(0, 1) = 1. Made 1, 1: k = 8. Across: k(0, 1) = 1 and k(1, 1) = 8,
    twice each, 4.5 on average. 1 + 8 - 2 * 4.5 = 0. Real 0, 0 instead: 1 + 8 - 2 * 1 = 7.
    """
    ones = np.ones((2, 1))
    assert discrepancy(np.array([[0.0], [1.0]]), ones) == pytest.approx(0)
    assert discrepancy(np.zeros((2, 1)), ones) == pytest.approx(7)
    assert kid(of(np.zeros((2, 1))), of(ones)).figures["kid"] == pytest.approx(7)


def test_the_kernel_distance_has_no_bias() -> None:
    """The mean over many pairs of small sets of one distribution is 0, within three standard errors."""
    found = [discrepancy(drawn(8, seed=seed), drawn(8, seed=seed + 1000)) for seed in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / math.sqrt(len(found))


def test_the_error_of_the_kernel_distance() -> None:
    """Over fresh draws the estimates lie about as far apart as their stated error says."""
    results = [kid(of(drawn(100, seed=s)), of(drawn(100, shift=0.5, seed=s + 500))) for s in range(40)]
    stated = np.mean([float(one.figures["kid_error"] or 0) for one in results])
    spread = np.std([float(one.figures["kid_blocks"] or 0) for one in results])
    assert 0.7 < stated / spread < 1.4
    assert kid(of(drawn(19)), of(drawn(100))).figures["kid_error"] is None


def test_an_inception_score_by_hand() -> None:
    """Half is surely one label and half surely the other: exp(ln 2) = 2. All of one label, or unsure: exp(0) = 1."""
    sure = np.array([[40.0, 0.0], [0.0, 40.0]] * 4)
    assert inception(of(sure), splits=1).figures["inception_score"] == pytest.approx(2)
    assert inception(of(sure * 0), splits=1).figures["inception_score"] == pytest.approx(1)
    parted = inception(of(sure), splits=4, seed=None).figures  # each part has one of either
    assert parted == pytest.approx({"inception_score": 2, "inception_score_std": 0})
    with pytest.raises(ValueError, match="splits: 9 given; 1 to 8"):
        inception(of(sure), splits=9)


def test_a_divergence_by_hand() -> None:
    """Softmax of (ln 3, 0) is 3/4, 1/4 and of (0, 0) halves: 3/4 ln 3/2 + 1/4 ln 1/2. Sigmoids are the same numbers for
    ln 3 and for 0, of which a half against a half adds nothing: 3/4 ln 3/2.
    """
    right, made = of(np.array([[math.log(3), 0.0]])), of(np.zeros((1, 2)))
    halves = 0.75 * math.log(1.5)
    assert divergence(right, made).figures["kl"] == pytest.approx(halves + 0.25 * math.log(0.5), abs=1e-5)
    assert divergence(right, made, labels="sigmoid").figures["kl"] == pytest.approx(halves, abs=1e-5)
    assert divergence(right, right).items == pytest.approx([0], abs=1e-5)


def test_sets_are_of_one_embedder() -> None:
    with pytest.raises(ValueError, match=r"one embedder, but test@1 of width 4 and other of width 4"):
        kid(of(drawn(4)), Features(drawn(4), "other"))
    with pytest.raises(ValueError, match="finite numbers, but one with NaN"):
        frechet(of(drawn(4)), of(np.full((4, 4), np.nan)))
    with pytest.raises(ValueError, match="two media a set or more, but 1 and 4"):
        distance(drawn(1), drawn(4))
    with pytest.raises(ValueError, match="2 targets but 3 media"):
        divergence(of(drawn(2)), of(drawn(3)))
    with pytest.raises(ValueError, match="labels: 'odds' given"):
        divergence(of(drawn(2)), of(drawn(2)), labels="odds")
