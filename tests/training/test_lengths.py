"""Records are as long as the LLM reads them: words, template, signal groups, and every position of their media."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from anyx.data.cache import FeatureCache
from anyx.data.dialogues import DialogueReader
from anyx.data.mixture import Draw
from anyx.data.sources import Feed, Record
from anyx.interfaces import Tokens
from anyx.media import Image
from anyx.model import AnyX
from anyx.schema import Stage
from anyx.training.lengths import heard_of, lengths
from anyx.training.prepare import fill
from anyx.training.readers import make_reader
from anyx.training.trainee import Trainee


def record(index: int) -> Record:
    picture = {"type": "image", "media": Image(torch.full((3, 4, 4), 250 - 25 * index, dtype=torch.uint8))}
    asked = {"role": "user", "content": [picture, {"type": "text", "text": "what?" * (index + 1)}]}
    if index % 3 == 2:
        asked = {"role": "user", "content": "only words"}
    said: list[Any] = [{"type": "text", "text": "A red fox."}, *([{"type": "image", "caption": "a fox"}] * (index % 3))]
    return {"id": str(index), "messages": [asked, {"role": "assistant", "content": said}]}


FEEDS = [Feed("dialogues", [record(index) for index in range(9)])]


class Halved(tiny.TinyInputProjector):
    """Keeps every second token: a medium is as long as its projector makes it."""

    def forward(self, x: Tokens) -> Tokens:
        return Tokens(self.map(x.values)[:, ::2], x.mask[:, ::2])


def readers(folder: Path, **given: Any) -> tuple[AnyX, DialogueReader]:
    model = tiny.anyx()
    stage = Stage("s", {"inputs.*.projector": 1e-3}, {"text": 1}, {"d": 1}, steps=1, **given)
    reader = make_reader(Trainee(model, stage, 1), FEEDS, FeatureCache(folder), {})
    assert isinstance(reader, DialogueReader)
    return model, reader


@pytest.mark.parametrize("cached", [False, True])
def test_lengths_are_those_of_the_spliced_rows(tmp_path: Path, cached: bool) -> None:
    model, reader = readers(tmp_path, cache=cached)
    if cached:
        fill(model, reader, FEEDS, FeatureCache(tmp_path))
    length = lengths(FEEDS, reader, model)
    for index in range(9):
        spliced, _ = model.read(reader.collate([reader.read(record(index), FEEDS[0], 0)]).batch)
        pads = 1 if index % 3 < 2 and 250 - 25 * index < 128 else 0  # a dark picture's last token is padding
        assert length(Draw(0, index, 0)) - int(spliced.mask.sum()) in (0, pads)


def test_media_are_as_long_as_their_projector_makes_them(tmp_path: Path) -> None:
    model, reader = readers(tmp_path)
    bright = [Feed("dialogues", [record(0)])]
    assert heard_of(bright, reader, model) == {"image": 4}
    model.inputs["image"].projector = Halved(6, 32)
    assert heard_of(bright, reader, model) == {"image": 2}


def test_looking_changes_nothing(tmp_path: Path) -> None:
    model, reader = readers(tmp_path)
    modes = [module.training for module in model.modules()]
    state = {name: x.clone() for name, x in model.state_dict().items()}
    heard_of(FEEDS, reader, model)
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(x, state[name]) for name, x in model.state_dict().items())


def test_what_cannot_be_read_has_no_length_and_long_ones_are_cut(tmp_path: Path) -> None:
    model, reader = readers(tmp_path, max_length=9)
    broken = {"id": "x", "messages": [{"role": "nobody", "content": "hi"}]}
    feeds = [Feed("dialogues", [broken, record(1)])]
    length = lengths(feeds, reader, model)
    assert [length(Draw(0, index, 0)) for index in (0, 1)] == [0, 9]
