"""Frechet distance, kernel distance, Inception score, divergence and mel-cepstral distortion against the published."""

from __future__ import annotations

import re

import numpy as np
import pytest
from evals import golden, keys, tolerance

from anyx.scoring.cepstra import distortion
from anyx.scoring.features import Features
from anyx.scoring.frechet import frechet
from anyx.scoring.inception import divergence, inception
from anyx.scoring.kernel import kid

NAME = "generation_distribution"


def features(values: list[list[float]]) -> Features:
    return Features(np.asarray(values), "given")


@pytest.mark.parametrize("place", keys(NAME, "frechet_kid_cases"))
def test_distances(place: int) -> None:
    case = golden(NAME)["frechet_kid_cases"][place]
    real, made = features(case["real"]), features(case["fake"])
    bound = tolerance(NAME)
    assert frechet(real, made).figures["frechet"] == pytest.approx(case["expected_frechet"], abs=bound)
    wanted = case["expected_kid_full_mmd2_unbiased"]
    assert kid(real, made).figures["kid"] == pytest.approx(wanted, abs=bound)


@pytest.mark.parametrize("key", [key for key in keys(NAME, "is_kl") if not isinstance(key, str) or "_is_" in key])
def test_inception_score(key: str) -> None:
    """`expected_is_splits1`, `expected_is_shuffle2020_splits10`: the name says how."""
    case = golden(NAME)["is_kl"]
    shuffled, splits = re.search(r"shuffle(\d+)", key), re.search(r"splits(\d+)", key)
    assert splits
    found = inception(
        features(case["pred_logits"]), splits=int(splits[1]), seed=int(shuffled[1]) if shuffled else None
    ).figures
    wanted = case[key]["inception_score_mean"], case[key]["inception_score_std"]
    assert (found["inception_score"], found["inception_score_std"]) == pytest.approx(wanted, abs=tolerance(NAME))


@pytest.mark.parametrize("key", keys(NAME, "is_kl", "expected_kl"))
def test_divergence(key: str) -> None:
    """`kullback_leibler_divergence_sigmoid`: the last word says of which labels."""
    case = golden(NAME)["is_kl"]
    labels = key.rpartition("_")[2]
    found = divergence(features(case["target_logits"]), features(case["pred_logits"]), labels=labels)
    assert found.figures["kl"] == pytest.approx(case["expected_kl"][key], abs=tolerance(NAME))


@pytest.mark.parametrize("place", keys("mcd", "rows"))
@pytest.mark.parametrize(
    "key", ["euclid:expected_euclid_mean_c1_13", "kubichek:expected_mcd_db_c1_13", "pymcd:expected_pymcd_plain_c0_13"]
)
def test_distortion(place: int, key: str) -> None:
    row = golden("mcd")["rows"][place]
    convention, _, wanted = key.partition(":")
    found = distortion(np.asarray(row["x"]), np.asarray(row["y"]), convention=convention)
    assert found == pytest.approx(row[wanted], abs=tolerance("mcd"))
