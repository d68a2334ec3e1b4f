"""The vendored model of AnyWorld, measured twice."""

import json
from pathlib import Path

from anyx.evaluation.run import evaluate

WORLD = Path(__file__).parents[2] / "experiments" / "anyworld"


def test_two_runs_with_one_seed_agree_exactly(tmp_path: Path) -> None:
    """Conversations, media, verdicts and figures, byte by byte."""
    given = ["batch=7"]
    for name in ("first", "second"):
        evaluate(WORLD, tmp_path / name, given, limit=1, show=False)
    files = [file.relative_to(tmp_path / "first") for file in (tmp_path / "first").rglob("*") if file.is_file()]
    assert {str(file) for file in files} >= {"records.jsonl", "verdicts.jsonl", "matrix.json", "matrix.md"}
    assert sum(file.parts[0] == "media" for file in files) > 20
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes(), file
    cycled = json.loads((tmp_path / "first" / "matrix.json").read_text())["cycles"]["seen"]
    assert set(cycled) == {"text->image->text", "audio->image->audio"}
