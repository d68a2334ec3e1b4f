"""A session says what `chat` says to the whole conversation, and reads only what is new of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from anyx.media import Audio, Image
from anyx.model import AnyX
from anyx.prompt import Prompt
from anyx.reply import MediaEvent, Reply
from anyx.speaking.features import Features
from anyx.speaking.session import Session
from anyx.templates import TEMPLATES

RED = Image(torch.full((3, 8, 8), 200, dtype=torch.uint8))
DARK = Image(torch.full((3, 8, 8), 20, dtype=torch.uint8))
HUM = Audio(torch.full((1, 64), 0.8), 16000)
SYSTEM = {"role": "system", "content": "You draw."}
EXTENDS = ("chatml", "vicuna_v0", "vicuna_v1", "minigpt4", "qwen_vl")  # a reply is written into the next prompt as said


def user(*parts: Any) -> dict[str, Any]:
    kinds = {Image: "image", Audio: "audio"}
    content = [
        {"type": "text", "text": each} if isinstance(each, str) else {"type": kinds[type(each)], "media": each}
        for each in parts
    ]
    return {"role": "user", "content": content}


TURNS = [user("draw ", RED), user("and now?"), user(HUM, "like ", RED, " and ", DARK), user("more")]


def drawn(template: str, seed: int) -> AnyX:
    """A model whose signal tokens are rather likely."""
    torch.manual_seed(seed)
    model = tiny.anyx(tied=False)
    model.processor.prompt = Prompt(model.llm.tokenizer, template, list(model.inputs), model.llm.groups)
    with torch.no_grad():
        model.llm.signal_tokens.head.mul_(1.5)
    return model


@cache
def mixed(template: str) -> int:
    """The first seed whose replies mix words and media, together."""
    for seed in range(40):
        model = drawn(template, seed)
        replies = model.generate([TURNS[:1], TURNS[2:3]], max_new_tokens=10)
        if {"image", "audio", "text"} <= {key for reply in replies for key in reply.keys}:
            return seed
    raise AssertionError("no seed gives mixed replies")


def talkative(template: str = "chatml") -> AnyX:
    """A model whose replies mix words and media."""
    return drawn(template, mixed(template))


def same(one: Reply, other: Reply) -> bool:
    """The same words, and media but for the rounding of a prompt that was read in two pieces."""
    return one.keys == other.keys and all(map(close, one.parts, other.parts))


def close(one: Any, other: Any) -> bool:
    if isinstance(one, str):
        return bool(one == other)
    if isinstance(one, Image):
        return bool((one.pixels.int() - other.pixels.int()).abs().max() <= 1)
    return torch.allclose(one.samples, other.samples, atol=1e-4)


def encoded(model: AnyX) -> list[int]:
    """How many media each call of the encoder from now on is given."""
    calls: list[int] = []
    model.encoders["eye"].register_forward_hook(lambda module, given, made: calls.append(len(made.values)))
    return calls


@pytest.mark.parametrize("template", list(TEMPLATES))
@pytest.mark.parametrize("system", [False, True])
def test_every_turn_is_the_stateless_reply_under_every_template(template: str, system: bool) -> None:
    """Media in later turns, some met before, and earlier replies with signal groups in the prompt."""
    model = talkative(template)
    session = model.session(max_new_tokens=10)
    session.messages = [SYSTEM] if system else []
    reused = []
    for number, turn in enumerate(TURNS):
        history = [*session.messages, turn]
        told = session.say(turn, seed=number)
        assert same(told, model.chat(history, max_new_tokens=10, seeds=number))
        assert session.messages == [*history, session.messages[-1]]
        assert session.memory.reused + session.memory.read == session._lay(history).embeddings.shape[1]
        reused.append(session.memory.reused)
    assert reused[0] == 0
    if template in EXTENDS:
        assert all(reused[1:])


def test_a_turn_reads_itself_alone_when_replies_come_back_as_they_were_said() -> None:
    """Ids that the tokenizer itself would choose: the words of a reply are letters of a byte-level vocabulary."""
    model = talkative()
    session = model.session(max_new_tokens=6)
    session.say(TURNS[0])
    before = session.memory.reused + session.memory.read
    reply = session.messages[-1]
    prompt = model.processor.prompt
    session.say(TURNS[1])
    first, second = (prompt.encode(chat, generate=True).ids for chat in (TURNS[:1], [TURNS[0], reply, TURNS[1]]))
    assert second[: len(first)] == first  # chatml extends
    assert session.memory.reused >= before
    assert session.memory.read <= len(second) - len(first)


def test_an_edit_is_read_from_where_it_begins() -> None:
    model = talkative()
    session = model.session(max_new_tokens=10)
    for turn in TURNS[:3]:
        session.say(turn)
    whole = list(session.messages)
    assert same(session.say(whole[:-1]), model.chat(whole[:-1], max_new_tokens=10))
    assert session.memory.read == 1  # the last position's states are wanted again
    edited = [whole[0], whole[1], user("or never?")]
    assert same(session.say(edited), model.chat(edited, max_new_tokens=10))
    assert session.memory.reused > 0
    assert session.messages[:-1] == edited
    assert same(session.say(TURNS[3]), model.chat([*session.messages[:-2], TURNS[3]], max_new_tokens=10))
    session.reset()
    other = [SYSTEM, user("draw")]
    assert same(session.say(other), model.chat(other, max_new_tokens=10))


def test_media_are_encoded_once() -> None:
    model = talkative()
    calls = encoded(model)
    session = model.session(max_new_tokens=4)
    session.say(TURNS[0])
    assert calls == [1]
    session.say(TURNS[1])
    assert calls == [1]  # the second turn's encode cost is 0
    session.say(user(Image(RED.pixels.clone()), DARK, DARK))  # known by content; the new one once
    assert calls == [1, 1]
    session.say("words alone")
    session.say([user("what? ", RED, DARK)])
    assert calls == [1, 1]
    shared = model.session(max_new_tokens=4, features=session.features)
    shared.say(TURNS[0])
    assert calls == [1, 1]
    session.forget()
    session.say([user(RED, DARK)])
    assert calls == [1, 1, 2]


def test_files_are_known_by_their_bytes(tmp_path: Path) -> None:
    model = talkative()
    calls = encoded(model)
    session = model.session(max_new_tokens=3)
    path = RED.save(tmp_path / "a.png")
    asked = {"role": "user", "content": [{"type": "image", "path": str(path)}]}
    first = session.say([asked])
    again = tmp_path / "b.png"
    again.write_bytes(path.read_bytes())
    assert same(session.say([{"role": "user", "content": [{"type": "image", "path": again}]}]), first)
    assert calls == [1]
    DARK.save(path)
    assert same(session.say([asked]), model.chat([asked], max_new_tokens=3))
    assert calls == [1, 1, 1]
    session.say([user("as an array"), user(RED)])
    array = {"role": "user", "content": [{"type": "image", "media": RED.pixels.permute(1, 2, 0).numpy()}]}
    session.say([array])
    assert calls == [1, 1, 1, 1]  # a value and a file are told apart; a value and an array are not
    with pytest.raises(ValueError, match="cannot read"):
        session.say([{"role": "user", "content": [{"type": "image", "path": tmp_path / "no.png"}]}])


def test_features_are_bounded() -> None:
    model = talkative()
    calls = encoded(model)
    session = Session(model, features=Features(bound=0))
    session.sampling = model.session(max_new_tokens=2).sampling
    for _ in range(2):
        assert same(session.say([TURNS[0]]), model.chat([TURNS[0]], max_new_tokens=2))
    assert len(calls) == 4
    assert len(session.features) == session.features.size == 0
    roomy = model.session(max_new_tokens=2)
    roomy.say([user(RED, DARK, HUM)])
    assert len(roomy.features) == 3
    assert roomy.features.size <= roomy.features.bound
    roomy.features.bound = roomy.features.size
    roomy.say([user(RED)])
    calls.clear()
    roomy.say([user(Image(DARK.pixels + 1), RED)])  # the least lately used makes room: of the three, DARK
    assert calls == [1]
    assert len(roomy.features) == 3
    roomy.say([user(RED, HUM)])
    assert calls == [1]
    roomy.say([user(DARK)])
    assert calls == [1, 1]


def test_a_turn_that_fails_or_is_not_heard_out_leaves_the_conversation_as_it_was() -> None:
    model = talkative()
    session = model.session(max_new_tokens=10)
    session.say(TURNS[0])
    kept = list(session.messages)
    for _ in zip(range(2), session.stream(TURNS[2]), strict=False):
        pass
    assert session.messages == kept
    decoders = {key: port.decoder for key, port in model.outputs.items()}
    for port in model.outputs.values():
        port.decoder = None
    asked = next(turn for turn in TURNS if set(full(model, decoders, [*kept, turn])) - {"text"})
    with pytest.raises(ValueError, match="its decoder is not loaded"):
        session.say(asked)
    assert session.messages == kept
    for key, port in model.outputs.items():
        port.decoder = decoders[key]
    assert same(session.say(asked), model.chat([*kept, asked], max_new_tokens=10))


def full(model: AnyX, decoders: dict[str, Any], chat: list[Any]) -> list[str]:
    """What a reply holds, decoders lent for the moment."""
    for key, port in model.outputs.items():
        port.decoder = decoders[key]
    keys = model.chat(chat, max_new_tokens=10).keys
    for port in model.outputs.values():
        port.decoder = None
    return keys


def test_a_stream_says_the_same_as_it_comes() -> None:
    model = talkative()
    whole, stream = model.session(max_new_tokens=10), model.session(max_new_tokens=10)
    for number, turn in enumerate(TURNS):
        events = []
        for event in stream.stream(turn, seed=number):
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            events.append(event)
        assert same(Reply.gather(events), whole.say(turn, seed=number))
    assert any(isinstance(event, MediaEvent) for event in events) or whole.messages


def test_what_is_said_is_checked() -> None:
    model = talkative()
    session = model.session(max_new_tokens=3, decode={"imag": {"steps": 1}})
    with pytest.raises(ValueError, match=r"decode: .* its keys are among the outputs"):
        session.say("hi")
    session.decode = {}
    with pytest.raises(ValueError, match="a conversation is a list of messages"):
        session.say(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seeds: 'a' given"):
        session.say("hi", seed="a")  # type: ignore[arg-type]
    assert session.messages == []


def test_training_goes_on_after_a_session() -> None:
    """Nothing that generation made in inference mode stays where the backward pass finds it."""
    model = tiny.anyx(lora={"r": 2, "targets": ["q_proj"]}, tied=False)
    with torch.no_grad():
        model.llm.signal_tokens.head.mul_(2.0)
    session = model.session(max_new_tokens=12)
    for turn in TURNS:
        session.say(turn)
    model.train()
    shown = [{"type": "text", "text": "so"}, {"type": "image", "caption": "red"}]
    chat = [user("draw ", RED), {"role": "assistant", "content": shown}]
    output = model(model.processor.collate([model.processor(chat)]))
    loss = model.llm.logits(output.states).logsumexp(-1).sum()
    (loss + sum(c.values["prompt_embeds"].square().sum() for c in output.conditions.values())).backward()
    for name in ("llm.lora", "llm.signal_tokens", "inputs.image.projector", "outputs.image.projector"):
        assert all(parameter.grad is not None for parameter in model.parts()[name]), name
