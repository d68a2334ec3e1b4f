"""Every format of others, end to end: a sample file -> source -> loader -> batch -> a tiny model.

The sample files are ours, in the published shapes (see anyx/data/nextgpt.py and instruct.py); bad rows in them are
skipped and counted, and what is learnt from the good ones is spelled out here.
"""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tiny
import torch
from torch import Tensor

from anyx.data.dialogues import DialogueReader
from anyx.data.loader import Loader
from anyx.data.mixture import Batches, Mixture
from anyx.data.sources import feed
from anyx.llm import LLM
from anyx.media import Audio, Image, Video
from anyx.model import AnyX, InputPort, OutputPort
from anyx.prompt import IGNORE

KINDS: dict[str, Any] = {"image": Image, "audio": Audio, "video": Video}
TOKENS = {"image": 3, "audio": 2, "video": 4}


def opening(medium: Video) -> dict[str, Tensor]:
    return tiny.numbers(Image(medium.frames[0]))


def model() -> AnyX:
    """Every kind in and out."""
    words = tiny.tokenizer()
    llm = LLM(tiny.causal_lm(words), words, tokens=TOKENS)
    encoders = {"still": tiny.TinyEncoder(), "moving": tiny.TinyEncoder()}
    encoders["moving"].transform = opening
    reads = {"image": "still", "audio": "still", "video": "moving"}
    condition = {"prompt_embeds": (3, 5)}
    return AnyX(
        llm,
        encoders=encoders,
        inputs={
            key: InputPort(reads[key], tiny.TinyInputProjector(6, llm.dim), kind=kind) for key, kind in KINDS.items()
        },
        outputs={
            key: OutputPort(tiny.TinyOutputProjector(llm.dim, condition), ids=llm.groups[key], kind=kind)
            for key, kind in KINDS.items()
        },
    )


class Case(NamedTuple):
    """A sample file as a node of `data:`; of one pass over it: what is skipped, media in and out, what is said."""

    file: str
    node: dict[str, Any]
    rows: int
    skipped: int
    received: dict[str, int]
    shown: dict[str, list[str | None]]
    said: list[str]  # by the assistant, in order of rows


CASES = [
    Case(
        "cc3m.json", {"type": "nextgpt_pairs"}, 6, 4, {"image": 2}, {},
        ["a red fox young in the snow wild", "a red fox in the snow wild"],
    ),
    Case(
        "cc3m.json", {"type": "nextgpt_pairs", "direction": "out"}, 6, 3, {},
        {"image": ["a red fox young in the snow wild", "a red fox in the snow wild",
                   "a picture that was never downloaded"]},
        ["a red fox young in the snow wild", "a red fox in the snow wild", "a picture that was never downloaded"],
    ),
    Case("webvid.json", {"type": "nextgpt_pairs"}, 2, 1, {"video": 1}, {}, ["waves roll on a beach"]),
    Case(
        "audiocaps.json", {"type": "nextgpt_pairs", "direction": "out", "clean": False, "reply": ""}, 2, 1, {},
        {"audio": ["A dog barks twice"]}, [""],
    ),
    Case(
        "t2m.json", {"type": "t2m"}, 4, 2, {}, {"audio": ["A dog barks twice"], "image": ["a red fox"]},
        ["Here is a dog that barks twice.", "A fox, for one.Here you are."],
    ),
    Case(
        "mosit.json", {"type": "mosit"}, 2, 1, {"audio": 1, "video": 1},
        {"image": ["a red fox", "two foxes"], "audio": ["a dog barks"]},
        ["They are.And here are two:It barks. Like this:"],
    ),
    Case(
        "nextgpt_v2.json", {"type": "nextgpt_v2"}, 7, 5, {"image": 2},
        {"image": ["a red fox"], "audio": ["a dog barks"], "video": ["waves on a beach"]},
        ["This one:Its cousin barks.", "With pleasure."],
    ),
    Case("llava.json", {"type": "llava"}, 3, 1, {"image": 1}, {}, ["It is red.Yes.", "Hello, who are you?"]),
    Case("llava_repacked.json", {"type": "llava"}, 3, 1, {"image": 2}, {}, ["It is red.Yes.", "A fox."]),
    Case("alpaca.json", {"type": "alpaca"}, 3, 1, {}, {}, ["Oslo.", "Hello."]),
    Case("alpaca_repacked.json", {"type": "alpaca"}, 2, 1, {}, {}, ["Oslo."]),
    Case("videochat.json", {"type": "videochat", "flat": True}, 3, 2, {"video": 1}, {}, ["Waves.On a beach."]),
    Case("videochat_repacked.json", {"type": "videochat", "flat": True}, 1, 0, {"video": 1}, {}, ["Waves."]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file}-{case.node.get('direction', 'in')}")
def test_a_format_goes_all_the_way(case: Case, samples: Path) -> None:
    built = model()
    source = feed("sample", {"path": str(samples / case.file), **case.node})
    assert len(source.source) == case.rows
    batches = Batches(Mixture([source.source], [1], seed=0), case.rows)
    loader = Loader([source], DialogueReader(built.processor), batches)
    batch = next(itertools.islice(loader, 1))[0].batch
    assert loader.report.failed[0] == case.skipped
    assert len(loader.report.reasons) == case.skipped
    assert {key: len(media.rows) for key, media in batch.inputs.items()} == case.received
    assert {key: Counter(target.captions) for key, target in batch.targets.items()} == {
        key: Counter(captions) for key, captions in case.shown.items()
    }
    words = built.llm.tokenizer
    said = [
        words.decode([i for i in row.tolist() if i not in (IGNORE, words.eos_token_id) and i < built.llm.vocabulary])
        for row in batch.labels
    ]
    groups = sum(TOKENS[key] * len(captions) for key, captions in case.shown.items())
    assert Counter(said) == Counter(case.said)
    assert int((batch.labels >= built.llm.vocabulary).sum()) == groups
    output = built(batch)
    assert torch.isfinite(output.states).all()
    assert len(output.labels) == int((batch.labels[:, 1:] != IGNORE).sum())
    assert {key: len(condition.values["prompt_embeds"]) for key, condition in output.conditions.items()} == {
        key: len(captions) for key, captions in case.shown.items()
    }
    assert {key: len(tokens.values) for key, tokens in output.tokens.items()} == case.received
