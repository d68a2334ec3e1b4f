"""The judges' ceilings on a few held-out media, and their size; the whole figures are in the report."""

from pathlib import Path

import pytest
import torch

from anyx.evaluation.classifiers import PictureJudge
from anyx.imports import import_file

EMOJI = Path(__file__).parents[2] / "experiments" / "emoji"
corpus = import_file(EMOJI / "corpus.py")
WEIGHTS = EMOJI / "judges"


@pytest.mark.parametrize("key", ["image", "video"])
def test_the_judge_of_pictures_names_held_out_media(key: str) -> None:
    world = corpus.EmojiCorpus()
    judging = PictureJudge(world.labels, path=WEIGHTS / "picture.safetensors")
    names = world.chosen("seen", 40)
    media = [world.media("seen", key, name, 5) for name in names]
    wanted = torch.tensor([world.labels.index(world.label(name)) for name in names])
    assert (judging(media).argmax(-1) == wanted).float().mean() >= 0.85


def test_the_judges_are_small() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.glob("*.safetensors")) <= 2e6
