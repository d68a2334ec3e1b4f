"""Fidelity: real media lie at their floor, spoiled ones farther off, words are compared with right replies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shapes import LABELS, Shapes

from anyx.evaluation.fidelity import APART, Fidelity
from anyx.evaluation.records import Job, Record, write
from anyx.evaluation.scores import Verdict
from anyx.media import Image
from anyx.scoring.features import Features
from anyx.scoring.kernel import discrepancy, kid

COUNT = 40


def noisy(sample: str, seed: int, level: int = 40) -> Image:
    dice = torch.Generator().manual_seed(1000 * int(sample) + seed)
    base = torch.tensor([200, 120, 40])[:, None, None]
    return Image((base + torch.randint(-level, level + 1, (3, 16, 16), generator=dice)).clamp(0, 255).to(torch.uint8))


class Noise(Shapes):
    def real(self, split: str, key: str, concept: str, seed: int) -> Any:
        return f"A {LABELS[int(concept) % 4]}." if key == "text" else noisy(concept, seed)


class Stills(Noise):
    def real(self, split: str, key: str, concept: str, seed: int) -> Any:
        return super().real(split, key, concept, 0)


def rows(route: str, outputs: Sequence[Any], folder: Path) -> list[Record]:
    found = []
    for place, output in enumerate(outputs):
        job = Job("seen", route, str(place), 0)
        part = (
            {"type": "text", "text": output}
            if isinstance(output, str)
            else {"type": "image", "path": write(output, folder, job, "out0")}
        )
        found.append(Record(job, [], [part], 0, {}, "m"))
    return found


def figures(
    folder: Path, outputs: Sequence[Any], route: str = "text->image", corpus: Shapes | None = None, **nodes: Any
) -> Any:
    records = rows(route, outputs, folder)
    return Fidelity(corpus or Noise(), nodes, folder)(records, [Verdict(True, True, {})] * len(records))


def test_real_media_lie_at_the_floor_and_spoiled_ones_beyond(tmp_path: Path) -> None:
    real = figures(tmp_path / "a", [noisy(str(place), 7) for place in range(COUNT)])
    spoiled = figures(tmp_path / "b", [noisy(str(place), 7, level=120) for place in range(COUNT)])
    assert (real["metric"], real["embedder"], real["n"]) == ("kid", "handcrafted@1", COUNT)
    assert real["floor"] == spoiled["floor"]
    assert abs(real["value"] - real["floor"]) < 4 * real["error"] + 1e-6
    assert spoiled["value"] > real["value"] + 4 * real["error"]
    assert spoiled["frechet"] > 2 * spoiled["frechet_floor"]


def test_the_floor_is_what_other_real_media_score(tmp_path: Path) -> None:
    other = figures(tmp_path, [noisy(str(place), APART) for place in range(COUNT)])
    assert other["value"] == other["floor"]
    assert other["frechet"] == other["frechet_floor"]


def test_one_real_medium_a_sample_is_no_floor(tmp_path: Path) -> None:
    found = figures(tmp_path, [noisy(str(place), 7) for place in range(COUNT)], corpus=Stills())
    assert (found["floor"], found["frechet_floor"]) == (None, None)
    assert found["value"] is not None


def test_sets_that_show_the_same_things_have_no_distance_on_average() -> None:
    """Two copies of twelve things: with pairs of copies counted, equal distributions come out below 0."""
    dice = np.random.default_rng(0)
    found = []
    for _ in range(300):
        things = dice.normal(size=(12, 4))
        a, b = (things + 0.3 * dice.normal(size=things.shape) for _ in range(2))
        found.append((discrepancy(a, b, matched=True), discrepancy(a, b)))
    (matched, plain), error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    assert abs(matched) < 3 * error[0]
    assert plain < -5 * error[1]
    with pytest.raises(ValueError, match="matched sets are of one size, but 12 and 11 media were given"):
        kid(Features(a, "e"), Features(b[:-1], "e"), matched=True)


def test_words_are_compared_with_right_replies(tmp_path: Path) -> None:
    """By hand: "a green cow" to "a green": 2 words in common of 3 said and 2 wanted, P 2/3, R 1, beta 1.2: 0.8299."""
    assert figures(tmp_path, ["A red.", "A green cow."], "image->text")["value"] == pytest.approx(
        (1 + 0.82993) / 2, abs=1e-5
    )
    assert figures(tmp_path, ["A red."], "image->text")["floor"] == 1


def test_few_or_invalid_outputs_tell_nothing(tmp_path: Path) -> None:
    assert figures(tmp_path, [noisy("0", 7)] * 7) is None
    records = rows("text->image", [noisy("0", 7)], tmp_path)
    assert Fidelity(Noise(), {}, tmp_path)(records, [Verdict(False, False, {})]) is None


def test_embedders_are_named_in_the_yaml(tmp_path: Path) -> None:
    node = {"type": "anyx.scoring.embedders:RandomConv", "seed": 3}
    found = figures(tmp_path, [noisy(str(place), 7) for place in range(10)], image=node)
    assert found["embedder"].startswith("random-conv@1 seed 3#")
    for wrong, message in (({"seed": 3}, "embedders.image.type: missing"), ({**node, "sed": 1}, "embedders.image: ")):
        with pytest.raises(ValueError, match=message):
            Fidelity(Noise(), {"image": wrong}, tmp_path)
