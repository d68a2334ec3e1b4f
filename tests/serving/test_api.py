"""schemathesis: whatever the description of the API allows, and much that it does not, is answered as it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from live import Live, anyworld, live
from schemathesis.checks import not_a_server_error

from anyx.serving.intake import Bounds, Intake

QUIET = list(hypothesis.HealthCheck)


@pytest.fixture(scope="module")
def here() -> Iterator[Live]:
    with Intake(Bounds(workers=0)) as intake, live(anyworld(), intake=intake) as found:
        yield found


@pytest.fixture
def described(here: Live) -> Any:
    return schemathesis.openapi.from_url(f"{here.url}/openapi.json")


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@hypothesis.settings(max_examples=4, deadline=None, suppress_health_check=QUIET, derandomize=True, database=None)
def test_every_route_answers_as_it_says(case: Any) -> None:
    case.call_and_validate(timeout=60)


@pytest.mark.slow
@schema.parametrize()
@hypothesis.settings(max_examples=300, deadline=None, suppress_health_check=QUIET, database=None)
def test_every_route_answers_as_it_says_at_length(case: Any) -> None:
    case.call_and_validate(timeout=60, checks=[not_a_server_error])
