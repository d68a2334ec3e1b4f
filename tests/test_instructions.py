"""A projector that reads the instruction gets it, from the processor's workers to the model: InstructBLIP's way."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import pytest
import tiny
import torch

from anyx.interfaces import TextBatch
from anyx.media import Image
from anyx.model import AnyX, InputPort
from anyx.processor import instructions
from anyx.queries import QFormerInputProjector
from anyx.training.states import chosen

PICTURE = {"type": "image", "image": Image(torch.full((3, 4, 4), 200, dtype=torch.uint8))}


def letters(text: str) -> list[int]:
    """A vocabulary of 26 letters; it travels to workers."""
    return [1, *(ord(letter) % 26 + 2 for letter in text.lower() if letter.isalpha())]


def asked(text: str, *, answer: str | None = "No.") -> list[Mapping[str, Any]]:
    chat: list[Mapping[str, Any]] = [{"role": "user", "content": [PICTURE, {"type": "text", "text": text}]}]
    return chat if answer is None else [*chat, {"role": "assistant", "content": answer}]


@pytest.fixture(scope="module")
def model() -> AnyX:
    torch.manual_seed(0)
    words = tiny.tokenizer()
    llm = tiny.LLM(tiny.causal_lm(words), words)
    projector = QFormerInputProjector(
        6, llm.dim, queries=2, width=8, layers=1, heads=2, reads=True, vocabulary=28, positions=40
    )
    projector.words = letters
    torch.nn.init.normal_(projector.qformer.bert["embeddings"]["word_embeddings"].weight)
    inputs = {"image": InputPort("eye", projector, kind=Image)}
    return AnyX(llm, encoders={"eye": tiny.TinyEncoder()}, inputs=inputs)


def test_every_medium_gets_what_its_turn_says() -> None:
    chat = [
        {"role": "user", "content": [{"type": "text", "text": "Here: "}, PICTURE, PICTURE]},
        {"role": "assistant", "content": [PICTURE, {"type": "text", "text": "And this?"}]},
        {"role": "user", "content": "Only words."},
        {"role": "user", "content": [PICTURE, {"type": "text", "text": " What is "}, {"type": "text", "text": "it? "}]},
    ]
    assert instructions(chat) == ["Here:", "Here:", "What is it?"]


def test_samples_carry_it_padded_to_the_longest(model: AnyX) -> None:
    make = model.processor
    samples = [
        make(asked("Is it a cow?")),
        make(asked("Why")),
        make([{"role": "user", "content": "Hm"}], generate=True),
    ]
    batch = make.collate(pickle.loads(pickle.dumps(samples)))
    text = batch.inputs["image"].text
    assert text is not None
    assert text.ids.shape == (2, 9)
    assert text.mask.sum(1).tolist() == [9, 4]
    assert text.ids[1].tolist() == [*letters("Why"), 0, 0, 0, 0, 0]
    moved = batch.to("cpu").inputs["image"].text
    assert isinstance(moved, TextBatch)
    assert torch.equal(moved.ids, text.ids)
    kept = chosen(batch, [1]).inputs["image"].text
    assert kept is not None
    assert torch.equal(kept.ids, text.ids[1:])


@torch.no_grad()
def test_the_media_tokens_depend_on_it_and_not_on_the_neighbours(model: AnyX) -> None:
    make = model.processor

    def read(*questions: str) -> torch.Tensor:
        return model.read(make.collate([make(asked(text)) for text in questions]))[1]["image"].values

    alone, beside = read("Is it a cow?"), read("Is it a cow?", "Why, and of what colour is the pig?")
    torch.testing.assert_close(beside[:1], alone)
    assert not torch.allclose(beside[1], beside[0], atol=1e-4)
    answers = model.generate([asked("Is it a cow?", answer=None)], max_new_tokens=3)
    assert len(answers) == 1
