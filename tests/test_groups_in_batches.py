"""Signal groups wherever they stand: many in a sample, after media of several tokens, in cut samples, or none at all.

Each sample's losses and conditions are the same alone and in a batch, and the conditions are of the states at the
group's own ids in the sequence as the LLM reads it, found here by walking it id by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyx.media import Audio, Image
from anyx.model import AnyX
from anyx.processor import Processor, Sample
from anyx.prompt import PLACEHOLDER

MEDIA: list[dict[str, Any]] = [
    {"type": "image", "media": Image(torch.full((3, 4, 4), 20, dtype=torch.uint8))},  # quiet: three tokens
    {"type": "image", "media": Image(torch.full((3, 4, 4), 220, dtype=torch.uint8))},  # four tokens
    {"type": "audio", "media": Audio(torch.linspace(0, 1, 16)[None], 16000)},
]
WORDS = st.sampled_from(["a", "Here it is: ", "red fox", " "]).map(lambda words: {"type": "text", "text": words})
GROUPS = st.sampled_from([{"type": "image"}, {"type": "audio"}])
ROUNDS = st.lists(
    st.tuples(
        st.lists(st.one_of(WORDS, st.sampled_from(MEDIA)), max_size=4), st.lists(st.one_of(WORDS, GROUPS), max_size=5)
    ),
    min_size=1,
    max_size=3,
)


def model_for(template: str) -> AnyX:
    torch.manual_seed(0)
    model = tiny.anyx().requires_grad_(False)
    given = model.processor
    prompt = type(given.prompt)(given.prompt.tokenizer, template, ["image", "audio"], model.llm.groups)
    model.processor = Processor(prompt, transforms=given.transforms, kinds=given.kinds)
    return model


MODELS = {template: model_for(template) for template in ("chatml", "vicuna_v0")}


def samples_of(model: AnyX, chats: Sequence[list[tuple[list[Any], list[Any]]]], lengths: Sequence[int]) -> list[Sample]:
    """The conversations, each cut to a length of its own; those of which nothing is left to learn are left out."""
    found = []
    for rounds, length in zip(chats, lengths, strict=True):
        messages = [
            {"role": role, "content": parts}
            for pair in rounds
            for role, parts in zip(("user", "assistant"), pair, strict=True)
        ]
        model.processor.max_length = length
        try:
            found.append(model.processor(messages))
        except ValueError as error:
            if "max_length" not in str(error):
                raise
        finally:
            model.processor.max_length = None
    return found


@pytest.mark.parametrize("template", list(MODELS))
@settings(max_examples=20, deadline=None)
@given(chats=st.lists(st.tuples(ROUNDS, st.integers(12, 120)), min_size=1, max_size=4))
def test_a_sample_is_the_same_alone_and_in_a_batch(template: str, chats: list[tuple[Any, int]]) -> None:
    model = MODELS[template]
    samples = samples_of(model, [rounds for rounds, _ in chats], [length for _, length in chats])
    if not samples:
        return
    batch = model.processor.collate(samples)
    together = model(batch)
    states, labels = iter(together.states), iter(together.labels)
    seen = dict.fromkeys(together.conditions, 0)
    for sample in samples:
        alone = model(model.processor.collate([sample]))
        for state, label in zip(alone.states, alone.labels, strict=True):
            torch.testing.assert_close(next(states), state, atol=1e-4, rtol=1e-4)
            assert next(labels) == label
        for key, condition in alone.conditions.items():
            mine = condition.values["prompt_embeds"]
            theirs = together.conditions[key].values["prompt_embeds"][seen[key] : seen[key] + len(mine)]
            torch.testing.assert_close(theirs, mine, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(mine, walked(model, sample, key), atol=1e-4, rtol=1e-4)
            seen[key] += len(mine)
        assert sum(len(c.values["prompt_embeds"]) for c in alone.conditions.values()) == len(sample.targets)
    assert next(states, None) is None
    assert seen == {key: len(c.values["prompt_embeds"]) for key, c in together.conditions.items()}


def walked(model: AnyX, sample: Sample, key: str) -> torch.Tensor:
    """The conditions of a key, from states at the positions where its ids stand once media have their full length."""
    spliced, tokens = model.read(model.processor.collate([sample]))
    lengths = {name: iter(value.mask.sum(1).tolist()) for name, value in tokens.items()}
    received = iter(sample.received)
    walk: list[int] = []
    for token in sample.ids:
        walk += [PLACEHOLDER] * next(lengths[next(received).key]) if token == PLACEHOLDER else [token]
    assert len(walk) == spliced.mask.shape[1]
    ids = model.llm.groups[key]
    states = model.llm.states(spliced.embeddings, spliced.mask)[0]
    starts = [i for i, token in enumerate(walk) if token == ids[0]]
    assert all(tuple(walk[i : i + len(ids)]) == ids for i in starts)
    found = torch.stack([states[i : i + len(ids)] for i in starts])
    return model.condition(key, found).values["prompt_embeds"]


def test_a_cut_conversation_keeps_whole_groups_and_the_media_before_them() -> None:
    model = MODELS["chatml"]
    rounds = [([MEDIA[0], {"type": "text", "text": "a"}], [{"type": "text", "text": "so"}, {"type": "image"}])] * 2
    (whole,) = samples_of(model, [rounds], [500])
    for length in range(1, len(whole.ids) + 1):
        for sample in samples_of(model, [rounds], [length]):
            assert sample.ids == whole.ids[: len(sample.ids)]
            assert length - len(sample.ids) < len(model.llm.groups["image"])
            assert sum(token == PLACEHOLDER for token in sample.ids) == len(sample.received)
            signals = [token for token in sample.ids if token in model.llm.groups["image"]]
            assert signals == list(model.llm.groups["image"]) * len(sample.targets)
