"""Standard errors, the paired t-test and the bootstrap's percentiles against published scorers and numpy."""

from __future__ import annotations

import pytest
from evals import golden, keys, tolerance

from anyx.scoring.bootstrap import drawn_means, percentiles
from anyx.scoring.statistics import clustered_error, paired_t, standard_error

NAMES = {"difference": "mean_diff", "error": "se_diff", "low": "ci_lower", "high": "ci_upper", "t": "t_stat", "p": "p_value", "n": "n"}  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("place", keys("statistics", "cases"))
def test_errors(place: int) -> None:
    case, near = golden("statistics")["cases"][place], tolerance("statistics")
    wanted = case["expected"]
    assert sum(case["scores"]) / len(case["scores"]) == pytest.approx(wanted["mean"], abs=near)
    assert standard_error(case["scores"]) == pytest.approx(wanted["stderr"], abs=near)
    assert clustered_error(case["scores"], case["clusters"]) == pytest.approx(wanted["clustered_stderr"], abs=near)


@pytest.mark.parametrize("place", keys("statistics", "cases"))
def test_paired_t(place: int) -> None:
    case = golden("statistics")["cases"][place]
    found = paired_t(case["scores"], case["baseline"])._asdict()
    renamed = {NAMES[name]: value for name, value in found.items()}
    assert renamed == pytest.approx(case["expected"]["paired_ttest"], abs=tolerance("statistics"))


def test_bootstrap_on_given_draws() -> None:
    case, near = golden("statistics")["bootstrap"], tolerance("statistics")
    draws = drawn_means(case["values"], case["indices"])
    assert percentiles(draws) == pytest.approx(case["expected_ci95"], abs=near)
    assert draws.std(ddof=1) == pytest.approx(case["expected_se"], abs=near)
