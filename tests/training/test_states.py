"""States at signal groups that are computed once say what the model says."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file

from anyx.media import Audio, Image
from anyx.model import AnyX
from anyx.processor import Batch
from anyx.schema import Stage
from anyx.training import states as states_module
from anyx.training.states import SignalStates, names_of, passes
from anyx.training.trainee import Trainee


def batch_of(model: AnyX, *replies: list[dict[str, Any]]) -> Batch:
    chats = [[{"role": "user", "content": "draw"}, {"role": "assistant", "content": reply}] for reply in replies]
    return model.processor.collate([model.processor(chat) for chat in chats])


def part(key: str, caption: str) -> dict[str, Any]:
    return {"type": key, "caption": caption}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def seen(medium: Image) -> list[dict[str, Any]]:
    question = [{"type": "image", "media": medium}, text("draw it")]
    return [{"role": "user", "content": question}, {"role": "assistant", "content": [part("image", "it")]}]


def cached(model: AnyX, batch: Batch) -> Batch:
    media = batch.inputs["image"]
    tokens = model.encode("image", media.tensors)
    return batch._replace(inputs={"image": media._replace(tensors={}, tokens=tokens)})


@pytest.fixture
def model() -> AnyX:
    torch.manual_seed(0)
    return tiny.anyx()


def test_conditions_equal_the_models_and_the_llm_runs_once(model: AnyX) -> None:
    first = batch_of(
        model, [text("a cow"), part("image", "cow")], [text("no")], [part("audio", "owl"), part("image", "owl")]
    )
    second = batch_of(model, [part("image", "fox")], [text("a cow"), part("image", "cow")])
    states, runs, body = SignalStates(model), [], model.llm.states
    model.llm.states = lambda *given, pack=False: runs.append(len(given[0])) or body(*given, pack=pack)  # type: ignore[method-assign]
    said = [states(batch) for batch in (first, second, first, second)]
    assert runs == [2, 1]  # a row without groups never runs
    for output, batch in zip(said, (first, second, first, second), strict=True):
        expected = model(batch).conditions
        assert output.conditions.keys() == expected.keys()
        for key, condition in expected.items():
            for name, value in condition.values.items():
                torch.testing.assert_close(output.conditions[key].values[name], value, atol=1e-5, rtol=1e-4)


def test_media_with_cached_tokens_are_known_and_others_run_each_time(model: AnyX) -> None:
    cow, owl = (Image.read(torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(seed))) for seed in (1, 2))
    fresh, other = (
        model.processor.collate([model.processor(seen(medium)), model.processor(seen(owl))]) for medium in (cow, owl)
    )
    states, runs, body = SignalStates(model), [], model.llm.states
    batches = [fresh, fresh, cached(model, fresh), cached(model, fresh), cached(model, other)]
    expected = [model(batch).conditions["image"].values["prompt_embeds"] for batch in batches]
    model.llm.states = lambda *given, pack=False: runs.append(len(given[0])) or body(*given, pack=pack)  # type: ignore[method-assign]
    for batch, value in zip(batches, expected, strict=True):
        said = states(batch).conditions["image"].values["prompt_embeds"]
        torch.testing.assert_close(said, value, atol=1e-5, rtol=1e-4)
    assert runs == [2, 2, 2]  # the last batch says of the second picture, twice, what is known


def test_the_same_media_in_another_order_are_another_row(model: AnyX) -> None:
    picture = {"type": "image", "media": Image.read(torch.rand(3, 4, 4))}
    sound = {"type": "audio", "media": Audio(torch.rand(1, 16), 16000)}
    chats = [
        [{"role": "user", "content": list(media)}, {"role": "assistant", "content": [part("image", "it")]}]
        for media in ((picture, sound), (sound, picture))
    ]
    batch = model.processor.collate([model.processor(chat) for chat in chats])
    inputs = {
        key: media._replace(tensors={}, tokens=model.encode(key, media.tensors)) for key, media in batch.inputs.items()
    }
    first, second = names_of(batch._replace(inputs=inputs))
    assert first != second


def test_gradients_reach_the_projectors_only(model: AnyX) -> None:
    output = SignalStates(model)(batch_of(model, [part("image", "cow")]))
    sum(value.square().sum() for value in output.conditions["image"].values.values()).backward()
    learnt = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learnt
    assert all(name.startswith("outputs.image.projector") for name in learnt - {"llm.signal_tokens.embedding"})


@pytest.mark.parametrize("tokens", [1, 60, 1 << 20])
def test_passes_hold_rows_of_like_length_and_change_nothing(
    model: AnyX, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    replies = [[text("a cow " * n), part("image", "cow"), part("audio", "moo")] for n in (5, 1, 4, 2)]
    chats = [[{"role": "user", "content": "draw"}, {"role": "assistant", "content": reply}] for reply in replies]
    chats.append(seen(Image(torch.zeros(3, 8, 8, dtype=torch.uint8))))
    batch = cached(model, model.processor.collate([model.processor(chat) for chat in chats]))
    monkeypatch.setattr(states_module, "TOKENS", tokens)
    groups = list(passes(batch.mask, [0, 1, 2, 3, 4]))
    assert sorted(row for group in groups for row in group) == [0, 1, 2, 3, 4]
    assert len(groups) == {1: 5, 60: 4, 1 << 20: 1}[tokens]
    lengths = batch.mask.sum(1)
    assert all(len(group) == 1 or len(group) * int(lengths[group].max()) <= tokens for group in groups)
    expected = model(batch).conditions
    for key, condition in SignalStates(model)(batch).conditions.items():
        for name, value in condition.values.items():
            torch.testing.assert_close(value, expected[key].values[name], atol=1e-5, rtol=1e-4)


def test_rows_that_were_saved_are_known_again_to_the_bit(model: AnyX, tmp_path: Path) -> None:
    """Whoever goes on runs the LLM for what is new, as the one before would have, and says the same."""
    first = batch_of(model, [text("a cow"), part("image", "cow")], [part("audio", "owl"), part("image", "owl")])
    second = batch_of(model, [part("image", "fox")], [text("a cow"), part("image", "cow")], [part("audio", "moo")])
    third = batch_of(model, [part("audio", "moo")], [text("two cows"), part("image", "cows")])
    states = SignalStates(model)
    for number, batch in enumerate((first, second)):
        states(batch)
        states.save(tmp_path / f"{number}")
    states.save(tmp_path / "none")
    again, runs, body = SignalStates(model), [], model.llm.states
    for number in range(2):
        again.load(tmp_path / f"{number}", torch.device("cpu"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
    assert (len(again.rows), again.rows.bytes) == (len(states.rows), states.rows.bytes) == (4, again.rows.bytes)
    expected = [states(batch).conditions for batch in (first, second, third)]
    model.llm.states = lambda *given, pack=False: runs.append(len(given[0])) or body(*given, pack=pack)  # type: ignore[method-assign]
    for batch, conditions in zip((first, second, third), expected, strict=True):
        for key, condition in again(batch).conditions.items():
            assert all(torch.equal(value, conditions[key].values[name]) for name, value in condition.values.items())
    assert runs == [1]
    again.save(tmp_path / "2")
    assert len(load_file(tmp_path / "2")["names"]) == 1


def test_rows_past_the_bound_run_each_time(model: AnyX) -> None:
    states = SignalStates(model, bound=0)
    states(batch_of(model, [part("image", "cow")]))
    assert not states.rows


@pytest.mark.parametrize(
    ("train", "losses", "used"),
    [
        ({"outputs.*.projector": 1e-3}, {"caption": 1}, True),
        ({"outputs.*.projector": 1e-3}, {"caption": 1, "text": 1}, False),
        ({"outputs.*.projector": 1e-3, "llm.signal_tokens": 1e-3}, {"caption": 1}, False),
    ],
)
def test_only_where_nothing_before_the_states_learns(
    model: AnyX, train: dict[str, float], losses: dict[str, float], used: bool
) -> None:
    stage = Stage(name="s", train=train, losses=losses, data={"d": 1}, steps=1)
    assert (Trainee(model, stage, 1).states is not None) == used
