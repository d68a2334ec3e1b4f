"""The loop against transformers' own `generate`, and the promise that no group is ever broken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyx.decoding import Group, Sampling, Words, generator, seeds_of, speak
from anyx.detokenizing import Run
from anyx.llm import LLM

WORDS = tiny.tokenizer()
TOKENS = {"image": 3, "audio": 2}


def llm(seed: int = 0, *, opening: float = 0.0) -> LLM:
    """A random LLM; `opening` makes the signal tokens that much likelier (all of them, not the first alone)."""
    torch.manual_seed(seed)
    model = LLM(tiny.causal_lm(WORDS, tied=False), WORDS, tokens=TOKENS)
    assert model.signal_tokens.head is not None
    with torch.no_grad():
        model.signal_tokens.head.mul_(opening)
    return model


def prompts(model: LLM, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.arange(longest) >= longest - torch.tensor([len(row) for row in rows])[:, None]
    return ids, model.embed(ids), mask


class Recorder:
    """An LLM that also writes down which ids every row was given."""

    def __init__(self, model: LLM, rows: int) -> None:
        self.model, self.tokenizer, self.groups = model, model.tokenizer, model.groups
        self.logits = model.logits
        self.live = list(range(rows))
        self.ids: list[list[int]] = [[] for _ in range(rows)]
        self.steps = 0

    def prefill(self, embeddings: Any, mask: Any, context: Any = None) -> tuple[Recorder, torch.Tensor]:
        self.cache, states = self.model.prefill(embeddings, mask, context)
        return self, states

    def keep(self, rows: list[int]) -> None:
        self.live = [self.live[row] for row in rows]
        self.cache.keep(rows)

    def step(self, ids: list[tuple[int, ...]], cache: object) -> list[torch.Tensor]:
        assert cache is self
        assert all(ids)
        self.steps += 1
        for row, appended in zip(self.live, ids, strict=True):
            self.ids[row].extend(appended)
        return self.model.step(ids, self.cache)


def test_greedy_equals_transformers_generate() -> None:
    for seed in range(3):
        model = llm(seed)
        rows = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 16, 17]]
        ids, embeddings, mask = prompts(model, rows)
        recorder = Recorder(model, 3)
        list(speak(recorder, embeddings, mask, sampling=Sampling(20), seeds=[0] * 3, stop=model.stop))
        expected = model.model.generate(input_ids=ids, attention_mask=mask.long(), max_new_tokens=20, do_sample=False)
        for row in range(3):
            theirs = expected[row, ids.shape[1] :].tolist()
            ours = recorder.ids[row]
            assert len(ours) >= min(len(theirs) - 1, 19)
            assert ours == theirs[: len(ours)]


def test_sampling_equals_transformers_processors_in_distribution() -> None:
    """With a top-k of one or a tiny nucleus, sampling is greedy; with neither, seeds differ and repeat."""
    model = llm()
    _, embeddings, mask = prompts(model, [[5, 6, 7]])

    def said(sampling: Sampling, seed: int = 0) -> str:
        steps = speak(model, embeddings, mask, sampling=sampling, seeds=[seed])
        return "".join(item.text for step in steps for item in step if isinstance(item, Words))

    greedy = said(Sampling(12))
    assert said(Sampling(12, temperature=1.0, top_k=1)) == greedy
    assert said(Sampling(12, temperature=0.7, top_p=1e-6)) == greedy
    hot = [said(Sampling(12, temperature=2.0), seed) for seed in (1, 2, 1)]
    assert hot[0] == hot[2] != hot[1]
    assert said(Sampling(12, repetition_penalty=1e6)) != greedy


def test_repetition_penalty_equals_transformers() -> None:
    model = llm(2)
    _, embeddings, mask = prompts(model, [[5, 6, 7]])
    recorder = Recorder(model, 1)
    list(speak(recorder, embeddings, mask, sampling=Sampling(15, repetition_penalty=1.5), seeds=[0]))
    theirs = model.model.generate(
        inputs_embeds=embeddings,
        attention_mask=mask.long(),
        max_new_tokens=15,
        do_sample=False,
        repetition_penalty=1.5,
        eos_token_id=None,
    )
    assert recorder.ids[0] == theirs[0, : len(recorder.ids[0])].tolist()
    assert len(recorder.ids[0]) == 14


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    opening=st.floats(0.5, 8.0),
    temperature=st.sampled_from([0.0, 1.0, 5.0]),
    budget=st.integers(1, 12),
)
def test_no_group_is_ever_broken(seed: int, opening: float, temperature: float, budget: int) -> None:
    model = llm(seed, opening=opening)
    _, embeddings, mask = prompts(model, [[5, 6, 7], [8]])
    recorder = Recorder(model, 2)
    sampling = Sampling(budget, temperature=temperature)
    steps = list(speak(recorder, embeddings, mask, sampling=sampling, seeds=[seed, seed + 1], stop=model.stop))
    for row, ids in enumerate(recorder.ids):
        groups = [item for step in steps for item in step if isinstance(item, Group) and item.row == row]
        heard = []
        place = 0
        while place < len(ids):
            key = next((key for key, group in model.groups.items() if ids[place] in group), None)
            if key is None:
                place += 1
                continue
            assert tuple(ids[place : place + TOKENS[key]]) == model.groups[key]
            heard.append((key, len(heard)))
            place += TOKENS[key]
        assert heard == [(group.key, group.number) for group in groups]
        assert all(len(group.states) == TOKENS[group.key] for group in groups)


def test_a_group_costs_one_forward_and_its_states_are_those_of_training() -> None:
    for seed in range(20):
        model = llm(seed, opening=3.0)
        _, embeddings, mask = prompts(model, [[5, 6, 7]])
        recorder = Recorder(model, 1)
        steps = list(speak(recorder, embeddings, mask, sampling=Sampling(10), seeds=[0]))
        groups = [item for step in steps for item in step if isinstance(item, Group)]
        if groups and len({group.key for group in groups}) == 2:
            break
    assert len({group.key for group in groups}) == 2
    ids = torch.tensor([[5, 6, 7, *recorder.ids[0]]])
    states = model.states(model.embed(ids), torch.ones_like(ids, dtype=torch.bool))[0]
    place = 3
    for group in groups:
        first = model.groups[group.key][0]
        place += ids[0, place:].tolist().index(first)
        torch.testing.assert_close(group.states, states[place : place + TOKENS[group.key]], atol=1e-5, rtol=1e-4)
        place += 1
    extra = sum(TOKENS[group.key] - 1 for group in groups)
    assert recorder.steps == len(recorder.ids[0]) - extra


def test_rows_do_not_see_their_neighbours() -> None:
    model = llm(4, opening=2.5)
    rows = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 16, 17]]
    sampling = Sampling(16, temperature=1.0)

    def said(chosen: list[int]) -> list[list[int]]:
        _, embeddings, mask = prompts(model, [rows[row] for row in chosen])
        recorder = Recorder(model, len(chosen))
        list(speak(recorder, embeddings, mask, sampling=sampling, seeds=[40 + row for row in chosen], stop=model.stop))
        return recorder.ids

    together = said([0, 1, 2])
    for row in range(3):
        alone = said([row])[0]
        assert together[row][: len(alone)] == alone


def test_a_row_that_has_ended_leaves_the_batch() -> None:
    model = llm(1)
    _, embeddings, mask = prompts(model, [[5, 6, 7], [8], [9, 10]])
    free, ended = Recorder(model, 3), Recorder(model, 3)
    list(speak(free, embeddings, mask, sampling=Sampling(9), seeds=[0] * 3))
    stop = free.ids[1][3]
    list(speak(ended, embeddings, mask, sampling=Sampling(9), seeds=[0] * 3, stop=[stop]))
    assert ended.ids == [ids[: ids.index(stop)] if stop in ids else ids for ids in free.ids]
    lengths = [len(ids) for ids in ended.ids]
    assert len(set(lengths)) > 1
    assert ended.live == [row for row in range(3) if lengths[row] == max(lengths)]
    assert len(ended.cache.mask) == len(ended.live)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=30), ids=st.lists(st.integers(0, len(WORDS) - 1), max_size=30))
def test_letters_are_those_of_all_ids_decoded_together(text: str, ids: list[int]) -> None:
    """Bytes of letters cut anywhere, pieces that begin with spaces, and special tokens that are not written."""
    llama = tiny.llama_tokenizer()
    for tokenizer, said in ((WORDS, ids), (WORDS, WORDS.encode(text)), (llama, [1, *llama.encode(f" {text}")])):
        run, heard = Run(tokenizer), ""
        for token in said:
            heard = run.hear(token)
        assert heard == tokenizer.decode(said, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def test_letters_are_decoded_once() -> None:
    """What is looked at again does not grow with the reply."""
    lengths: list[int] = []

    class Counting:
        def decode(self, ids: list[int], **how: Any) -> str:
            lengths.append(len(ids))
            return str(WORDS.decode(ids, **how))

    run = Run(Counting())  # type: ignore[arg-type]
    for token in WORDS.encode("Draw a red fox, please. " * 20):
        run.hear(token)
    assert max(lengths) <= 4


def test_a_stop_text_is_not_said_and_its_beginning_is_held_back() -> None:
    model = llm(1)
    _, embeddings, mask = prompts(model, [[5, 6, 7]])

    def said(mark: str) -> list[str]:
        steps = speak(model, embeddings, mask, sampling=Sampling(30), seeds=[0], stop_text=mark)
        return [item.text for step in steps for item in step if isinstance(item, Words)]

    whole = "".join(said(""))
    assert len(whole) > 12
    for mark in (whole[8:11], whole[5:6], whole[-4:]):
        assert "".join(said(mark)) == whole[: whole.index(mark)]


def test_seeds_and_settings() -> None:
    assert seeds_of(3, 2) == [3, 3]
    assert seeds_of([1, 2], 2) == [1, 2]
    with pytest.raises(ValueError, match="seeds: 3 given for 2 conversations"):
        seeds_of([1, 2, 3], 2)
    noise = [torch.rand(3, generator=generator(7, number)) for number in (0, 1, 0)]
    assert torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0], noise[1])
    assert torch.equal(noise[0], torch.rand(3, generator=torch.Generator().manual_seed(7)))
    assert seeds_of(np.int64(3), 2) == [3, 3]
    assert seeds_of(np.arange(2), 2) == [0, 1]
    for wrong in (1.5, "3", None, 2**64, [0, None]):
        with pytest.raises(ValueError, match=r"seeds: .* given; a seed is a whole number of at most 64 bits"):
            seeds_of(wrong, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        {"max_new_tokens": 0},
        {"max_new_tokens": 2.5},
        {"temperature": -1.0},
        {"temperature": "hot"},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_p": 5},
        {"top_k": -1},
        {"repetition_penalty": 0},
    ],
    ids=str,
)
def test_sampling_out_of_range_is_refused(given: dict[str, Any]) -> None:
    ((name, value),) = given.items()
    with pytest.raises(ValueError, match=f"{name}: {value!r} given; it is "):
        Sampling(**given)


def test_any_number_will_do() -> None:
    """Transformers' processors want Python's own floats and ints; a caller need not know."""
    model = llm()
    _, embeddings, mask = prompts(model, [[5, 6, 7]])
    whole = Sampling(6, temperature=2, top_p=1, top_k=np.int64(5), repetition_penalty=3)
    exact = Sampling(6, temperature=2.0, top_p=1.0, top_k=5, repetition_penalty=3.0)
    first, second = (list(speak(model, embeddings, mask, sampling=each, seeds=[0])) for each in (whole, exact))
    assert first == second
