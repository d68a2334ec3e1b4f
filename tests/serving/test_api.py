"""schemathesis: whatever the description of the API allows, and much that it does not, is answered as it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from live import Live, anyworld, live
from schemathesis.specs.openapi.checks import positive_data_acceptance  # of what a model does not know, it cannot

from anyx.serving.intake import Bounds, Intake

QUIET = list(hypothesis.HealthCheck)


@pytest.fixture(scope="module")
def here() -> Iterator[Live]:
    with Intake(Bounds(workers=0)) as intake, live(anyworld(), intake=intake) as found:
        yield found


@pytest.mark.parametrize("examples", [4, pytest.param(300, marks=pytest.mark.slow)])
def test_every_route_answers_as_it_says(here: Live, examples: int) -> None:
    schema = schemathesis.openapi.from_url(f"{here.url}/openapi.json")
    asked: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(
            max_examples=examples, deadline=None, suppress_health_check=QUIET, derandomize=True, database=None
        )
        def answers(case: Any) -> None:
            asked[case.operation.label] += 1
            if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
                case.body["model"] = "anyworld"  # or all would end there
            case.call_and_validate(timeout=60, excluded_checks=[positive_data_acceptance])

        answers()
    print(dict(asked))
    assert {"POST /v1/chat/completions", "POST /v1/audio/speech", "GET /v1/models"} <= asked.keys()
    assert here.http().get("/healthz").json() == {"status": "ok"}
