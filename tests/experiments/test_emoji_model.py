"""The vendored model says what it was asked for, from noise and conditions alone: nothing is looked up."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from anyx import AnyX
from anyx.evaluation.judges import build, rankings
from anyx.evaluation.run import read_settings
from anyx.imports import import_file
from anyx.packaged import PACKAGED, folder
from anyx.reply import Reply

EMOJI = Path(__file__).parents[2] / "experiments" / "emoji"
corpus = import_file(EMOJI / "corpus.py")
WORLD = corpus.EmojiCorpus()
CONCEPTS = WORLD.chosen("seen", 6)
KEYS = ("image", "audio", "video")
pytestmark = pytest.mark.skipif(
    not all(folder(name).is_dir() for name in PACKAGED), reason="weights are not in the cache; run `make setup`"
)


@pytest.fixture(scope="module")
def model() -> AnyX:
    return AnyX.from_pretrained(EMOJI / "model").eval()


def ask(model: AnyX, key: str, seed: int = 0, concepts: list[str] = CONCEPTS) -> list[Reply]:
    requests = [WORLD.request("seen", "text", key, concept, 0) for concept in concepts]
    return model.generate(requests, seeds=seed, max_new_tokens=24)


def shown(replies: list[Reply], key: str) -> list[Any]:
    return [reply.parts[reply.keys.index(key)] for reply in replies]


def right(media: list[Any], key: str) -> int:
    """How many the bar's judge names as they were asked for."""
    judge = next(iter(build(read_settings(EMOJI).judges, WORLD.labels, EMOJI)[key].values()))
    named = [WORLD.labels[row[0]] if row else None for row in rankings(judge, media)]
    return sum(found == WORLD.label(concept) for found, concept in zip(named, CONCEPTS, strict=True))


@pytest.mark.parametrize("key", KEYS)
def test_outputs_are_what_was_asked_for_and_vanish_with_their_projector(model: AnyX, key: str) -> None:
    assert right(shown(ask(model, key), key), key) >= 4
    deaf = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in deaf.outputs[key].projector.parameters():
            parameter.zero_()
    assert right(shown(ask(deaf, key), key), key) <= 1


@pytest.mark.parametrize("key", KEYS)
def test_two_seeds_make_two_media_and_one_seed_makes_one(model: AnyX, key: str) -> None:
    first, again, second = (shown(ask(model, key, seed, CONCEPTS[:1]), key)[0] for seed in (3, 3, 4))
    values = [made.samples if key == "audio" else made.frames if key == "video" else made.pixels for made in
              (first, again, second)]  # fmt: skip
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_no_weight_has_a_row_for_every_thing() -> None:
    things = {len(WORLD.labels), len(corpus.concepts())}
    files = [EMOJI / "model" / "model.safetensors", *(EMOJI / "backbones" / "decoders").rglob("*.safetensors")]
    assert len(files) > 4
    for file in files:
        with safe_open(file, "pt") as weights:
            rows = {size for name in weights.keys() for size in weights.get_slice(name).get_shape()}  # noqa: SIM118
        assert not rows & things, file


def test_it_answers_alike_where_there_is_no_corpus(model: AnyX, tmp_path: Path) -> None:
    for name in ("model", "backbones"):
        shutil.copytree(EMOJI / name, tmp_path / name)
    away = AnyX.from_pretrained(tmp_path / "model").eval()
    here, there = (shown(ask(one, "image", 0, CONCEPTS[:2]), "image") for one in (model, away))
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(here, there, strict=True))
