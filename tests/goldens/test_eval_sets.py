"""Which set of golden scores is read: one that is named and is not there fails, and skips nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import evals
import pytest


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    evals._read.cache_clear()
    yield
    evals._read.cache_clear()


def test_a_named_set_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mme.json").write_text('{"rows": [{}, {}], "expected": {"total": 3}, "tolerance": 0.5}')
    monkeypatch.setenv(evals.VARIABLE, str(tmp_path))
    assert evals.keys("mme", "rows") == [0, 1]
    assert evals.keys("mme", "expected") == ["total"]
    assert evals.tolerance("mme") == 0.5
    with pytest.raises(pytest.fail.Exception, match=r"has no pope\.json"):
        evals.golden("pope")


@pytest.mark.parametrize("folder", ["", "gone"])
def test_a_named_set_that_is_empty_or_missing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv(evals.VARIABLE, str(tmp_path / folder))
    [stand_in] = evals.keys("mme", "rows")
    assert stand_in.id == "no mme"
    with pytest.raises(pytest.fail.Exception, match="holds no golden file: name the folder that holds"):
        evals.golden("mme")


def test_a_set_without_cases_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test over no cases would be skipped."""
    (tmp_path / "mme.json").write_text('{"rows": [], "expected": {"total": 3}}')
    monkeypatch.setenv(evals.VARIABLE, str(tmp_path))
    assert evals.keys("mme", "rows")
    with pytest.raises(pytest.fail.Exception, match=r"mme\.json of .* has nothing in rows"):
        evals.golden("mme")


@pytest.mark.parametrize("nothing", ["{}", "[]"])
def test_a_part_of_a_part_without_cases_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing: str) -> None:
    """What a row holds may be empty: a picture without boxes."""
    text = '{"rows": [{"gt": []}], "is_kl": {"expected_kl": %s, "target": [1]}}'
    (tmp_path / "generation_distribution.json").write_text(text % nothing)
    monkeypatch.setenv(evals.VARIABLE, str(tmp_path))
    [stand_in] = evals.keys("generation_distribution", "is_kl", "expected_kl")
    assert stand_in.id == "no generation_distribution"
    with pytest.raises(pytest.fail.Exception, match=r"has nothing in is_kl\.expected_kl$"):
        evals.golden("generation_distribution")


def test_our_copy_is_read_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(evals.VARIABLE, raising=False)
    assert evals.golden("mme")["rows"]
    assert evals.tolerance("mme") == 1e-6
