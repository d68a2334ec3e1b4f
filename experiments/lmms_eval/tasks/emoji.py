"""What the tasks beside this file ask of a row of `test.json`, and how replies are scored."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import soundfile
from PIL import Image as PILImage

from anyx.evaluation.judges import build, rankings
from anyx.evaluation.labels import LabelJudge
from anyx.evaluation.run import read_settings
from anyx.imports import import_file
from anyx.media import Image

EMOJI = Path(__file__).parents[2] / "emoji"
Row = dict[str, Any]


@functools.cache
def labels() -> list[str]:
    return list(import_file(EMOJI / "corpus.py").EmojiCorpus().labels)


@functools.cache
def picture_judge() -> Any:
    return next(iter(build(read_settings(EMOJI).judges, labels(), EMOJI)["image"].values()))


def picture(row: Row) -> list[Any]:
    return [PILImage.open(row["image"])]


def sound(row: Row) -> list[Any]:
    samples, rate = soundfile.read(row["audio"])
    return [{"array": samples, "sampling_rate": rate}]


def clip(row: Row) -> list[Any]:
    return [row["video"]]


def nothing(row: Row) -> list[Any]:
    return []


def named(row: Row, results: list[str]) -> dict[str, float]:
    """1 where the reply names the label, among all 233."""
    best = rankings(LabelJudge(labels()), [results[0]])[0]
    return {"named": float(bool(best) and labels()[best[0]] == row["label"])}


def painted(row: Row, results: list[str]) -> dict[str, float]:
    """1 where the judge of pictures sees the label in the first that was made."""
    if not results[0].startswith("{"):
        return {"painted": 0.0}
    best = rankings(picture_judge(), [Image.read(json.loads(results[0])["images"][0])])[0]
    return {"painted": float(labels()[best[0]] == row["label"])}


def nats(row: Row, results: list[tuple[float, bool]]) -> dict[str, float]:
    """The loss of the right label, and whether greedy decoding says it."""
    loss, greedy = results[0]
    return {"nats": loss, "greedy": float(greedy)}


def again(
    row: Row,
    lmms_eval_specific_kwargs: Any = None,
    previous_output: list[str] | None = None,
    round_idx: int | None = None,
    previous_round_info: Any = None,
) -> Any:
    """The picture first, then the sound of the same thing, then the end; the first round is a text alone."""
    if round_idx is None:
        return "What is this picture of?"
    if round_idx == 1:
        return sound(row), "Which thing do you hear?", False, previous_output, {"asked": 1}
    return None, None, True, previous_output, None


def twice(row: Row, results: list[list[str]]) -> dict[str, float]:
    """The share of the two rounds that name the label."""
    said = results[0]
    assert len(said) == 2, said
    return {"named": sum(named(row, [text])["named"] for text in said) / 2}
