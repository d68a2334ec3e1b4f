from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from components import UNET_2D, VAE

from anyx.interfaces import Tokens
from anyx.llm import LLM
from anyx.media import Audio, Image
from anyx.model import AnyX, MediaEvent, Reply, TextEvent
from anyx.ports import sides
from anyx.processor import Batch
from anyx.prompt import IGNORE
from anyx.registry import resolve

RED = Image(torch.full((3, 8, 8), 200, dtype=torch.uint8))
DARK = Image(torch.full((3, 8, 8), 20, dtype=torch.uint8))
HUM = Audio(torch.full((1, 64), 0.8), 16000)


def part(key: str, media: object = None, **rest: object) -> dict[str, object]:
    return {"type": key, "media": media, **rest} if media is not None else {"type": key, **rest}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]}


def says(*parts: Any) -> dict[str, Any]:
    return user(*parts) | {"role": "assistant"}


CHATS = [
    [user("draw", part("image", RED)), says("so:", part("image", caption="red"), "and", part("audio", caption="hum"))],
    [user("only words"), says("yes")],
    [user(part("audio", HUM), part("image", DARK), "?"), says("dark"), user("again"), says(part("image", caption="d"))],
]  # fmt: skip


def batch(model: AnyX, chats: list[list[dict[str, Any]]]) -> Batch:
    return model.processor.collate([model.processor(chat) for chat in chats])


def test_a_mixed_batch_equals_its_rows_alone() -> None:
    model = tiny.anyx()
    together = model(batch(model, CHATS))
    assert together.conditions["image"].values["prompt_embeds"].shape == (2, 3, 5)
    assert together.conditions["audio"].values["prompt_embeds"].shape == (1, 3, 5)
    alone = [model(batch(model, [chat])) for chat in CHATS]
    assert len(together.labels) == sum(len(one.labels) for one in alone)
    torch.testing.assert_close(together.labels, torch.cat([one.labels for one in alone]))
    torch.testing.assert_close(together.states, torch.cat([one.states for one in alone]), atol=1e-5, rtol=1e-4)
    for key in ("image", "audio"):
        expected = [one.conditions[key].values["prompt_embeds"] for one in alone if key in one.conditions]
        got = together.conditions[key].values["prompt_embeds"]
        torch.testing.assert_close(got, torch.cat(expected), atol=1e-5, rtol=1e-4)


def test_logits_are_shifted_to_supervised_positions() -> None:
    model = tiny.anyx()
    one = batch(model, [CHATS[1]])
    whole = model.llm.logits(model.llm.states(model.llm.embed(one.ids), one.mask))
    places = (one.labels[0, 1:] != IGNORE).nonzero()[:, 0]
    torch.testing.assert_close(model.llm.logits(model(one).states), whole[0, places])
    assert model(one).labels.tolist() == one.labels[0, places + 1].tolist()


def test_cached_tokens_need_no_encoder() -> None:
    model, blind = tiny.anyx(), tiny.anyx(encoders=False)
    blind.load_own_state(model.own_state())
    blind.llm.model.load_state_dict(model.llm.model.state_dict())
    media = {id(RED): RED, id(DARK): DARK, id(HUM): HUM}

    def features(key: str, given: dict[str, Any]) -> Tokens:
        item = model.processor.transforms[key](media[id(given["media"])])
        return model.encode(key, {name: tensor[None] for name, tensor in item.items()})

    blind.processor.features = features
    torch.testing.assert_close(blind(batch(blind, CHATS)).states, model(batch(model, CHATS)).states)
    blind.processor.features = None
    with pytest.raises(ValueError, match=r"inputs.image: no encoder is loaded"):
        batch(blind, CHATS)
    with pytest.raises(ValueError, match=r"inputs.image: encoder 'eye' is not loaded \(loaded: none\)"):
        blind.encode("image", {})


def test_gradients_reach_projectors_and_signal_tokens_only() -> None:
    model = tiny.anyx(lora={"r": 2, "targets": ["q_proj"]}).train()
    out = model(batch(model, CHATS))
    loss = torch.nn.functional.cross_entropy(model.llm.logits(out.states), out.labels)
    loss = loss + sum(c.values["prompt_embeds"].square().mean() for c in out.conditions.values())
    loss.backward()
    reached = {name for name, parameters in model.parts().items() if any(p.grad is not None for p in parameters)}
    assert reached == {
        "llm.lora", "llm.signal_tokens", "inputs.image.projector", "inputs.audio.projector",
        "outputs.image.projector", "outputs.audio.projector",
    }  # fmt: skip
    assert set(model.parts()) - reached == {
        "llm.body", "llm.body.tables", "encoders.eye",
        "outputs.image.decoder.denoiser", "outputs.audio.decoder.denoiser",
    }  # fmt: skip


def test_frozen_parts_rest_and_thawed_ones_learn() -> None:
    model = tiny.anyx().train()
    assert model.inputs["image"].projector.training
    assert not model.encoders["eye"].dropout.training
    model.encoders["eye"].requires_grad_(True)
    model.train()
    assert model.encoders["eye"].dropout.training
    model(batch(model, CHATS)).states.sum().backward()
    assert model.encoders["eye"].map.weight.grad is not None


def talkative(seed: int = 0) -> AnyX:
    """A model whose signal tokens are likely enough that replies mix words and media."""
    torch.manual_seed(seed)
    model = tiny.anyx(tied=False)
    with torch.no_grad():
        model.llm.signal_tokens.head.mul_(1.5)
    return model


def mixed() -> tuple[AnyX, list[Reply]]:
    """The first seed whose greedy replies hold both media and words."""
    for seed in range(50):
        model = talkative(seed)
        replies = model.generate([chat[:1] for chat in CHATS], max_new_tokens=12, seeds=[1, 2, 3])
        keys = [key for reply in replies for key in reply.keys]
        if {"image", "audio", "text"} <= set(keys) and max(len(reply.parts) for reply in replies) > 2:
            return model, replies
    raise AssertionError("no seed gives a mixed reply")


def same(one: Reply, other: Reply) -> bool:
    """Equal but for rounding: a batch of another size multiplies its matrices in another order."""
    return one.keys == other.keys and all(map(close, one.parts, other.parts))


def close(one: Any, other: Any) -> bool:
    if isinstance(one, str):
        return bool(one == other)
    if isinstance(one, Image):
        return bool((one.pixels.int() - other.pixels.int()).abs().max() <= 1)
    return torch.allclose(one.samples, other.samples, atol=1e-4)


def test_generate_decodes_once_a_key_and_stream_says_the_same() -> None:
    model, replies = mixed()
    counts = {key: sum(len(reply.media(key)) for reply in replies) for key in ("image", "audio")}
    for key, count in counts.items():
        assert model.outputs[key].decoder.batches == [count]
    chats = [chat[:1] for chat in CHATS]
    events = []
    for event in model.stream(chats, max_new_tokens=12, seeds=[1, 2, 3]):
        assert torch.is_grad_enabled()
        events.append(event)
    assert {type(event) for event in events} == {TextEvent, MediaEvent}
    for row, reply in enumerate(replies):
        assert same(reply, Reply.gather(event for event in events if event.row == row))


def test_rows_and_seeds() -> None:
    model, replies = mixed()
    row = next(row for row, reply in enumerate(replies) if len(reply.keys) > reply.keys.count("text"))
    assert same(model.chat(CHATS[row][:1], max_new_tokens=12, seeds=row + 1), replies[row])
    other = model.chat(CHATS[row][:1], max_new_tokens=12, seeds=99)
    assert other.text == replies[row].text
    assert not same(other, replies[row])


def test_a_reply_goes_back_into_the_conversation(tmp_path: Path) -> None:
    model, replies = mixed()
    reply = max(replies, key=lambda reply: len(reply.parts))
    sample = model.processor([*CHATS[0][:1], reply.message(), user("more")], generate=True)
    assert [target.key for target in sample.targets] == [key for key in reply.keys if key != "text"]
    for target in sample.targets:
        ids = model.llm.groups[target.key]
        assert tuple(sample.ids[target.position : target.position + len(ids)]) == ids
    files = reply.save(tmp_path / "out")
    assert len(files) == len(reply.parts)
    assert all(file.stat().st_size for file in files)
    model.chat([*CHATS[0][:1], reply.message(), user("more")], max_new_tokens=3)


def test_guidance_reaches_the_decoder() -> None:
    model, replies = mixed()
    chats = [chat[:1] for chat in CHATS]
    strong = model.generate(chats, max_new_tokens=12, seeds=[1, 2, 3], decode={"image": {"guidance": 9.0}})
    assert [reply.text for reply in strong] == [reply.text for reply in replies]
    assert not all(same(one, other) for one, other in zip(strong, replies, strict=True))


def test_a_decoder_s_own_keywords_reach_it() -> None:
    model, replies = mixed()
    unet = UNET_2D | {"cross_attention_dim": 5}
    decoder = resolve("decoders", "stable_diffusion")(vae=VAE, unet=unet, length=3)
    model.outputs["image"].decoder = decoder.eval()
    chats = [chat[:1] for chat in CHATS]
    how = {"image": {"size": [24, 16], "steps": 1}}
    made = model.generate(chats, max_new_tokens=12, seeds=[1, 2, 3], decode=how)
    assert [reply.keys for reply in made] == [reply.keys for reply in replies]
    assert {part.size for reply in made for part in reply.parts if isinstance(part, Image)} == {(24, 16)}
    told = "it may have steps, guidance, size, rescale and latents"
    with pytest.raises(ValueError, match=rf"decode.image: {{'frames': 3}} given; {told}"):
        model.chat(CHATS[1][:1], max_new_tokens=1, decode={"image": {"frames": 3}})
    again = model.generate(chats, max_new_tokens=12, seeds=[1, 2, 3], decode={"image": {"size": "16x24", "steps": 1}})
    assert all(same(one, other) for one, other in zip(again, made, strict=True)), "16 wide, 24 high"
    told = "decode.image.size: 'big' given; it is WIDTHxHEIGHT, HEIGHT,WIDTH or one number"
    with pytest.raises(ValueError, match=f"^{told}$"):
        model.chat(CHATS[1][:1], max_new_tokens=1, decode={"image": {"size": "big"}})


@pytest.mark.parametrize(
    ("typed", "found"),
    [("1024x512", [512, 1024]), (" 1024 X 512 ", [512, 1024]), ("512,1024", [512, 1024]), ("64", 64)],
)
def test_a_size_is_typed_as_on_the_web_or_height_first(typed: str, found: int | list[int]) -> None:
    assert sides(typed, "size") == found
    for wrong in (f"{typed}x", f"-{typed}", f"{typed}px", "x", ""):
        with pytest.raises(ValueError, match=r"^size: .* given; it is WIDTHxHEIGHT, HEIGHT,WIDTH or one number$"):
            sides(wrong, "size")


@pytest.mark.parametrize(
    ("decode", "told"),
    [
        ({"image": {"stpes": 3}}, r"decode.image: {'stpes': 3} given; it may have steps and guidance"),
        ({"image": 3}, "decode.image: 3 given; it may have steps and guidance"),
        ({"imag": {"steps": 2}}, r"decode: {'imag': .* given; its keys are among the outputs image, audio"),
        ({"image": {"steps": 0}}, "decode.image.steps: 0 given; it is a whole number, 1 or more"),
        ({"audio": {"guidance": "strong"}}, "decode.audio.guidance: 'strong' given; it is 0 or more"),
    ],
)
def test_decode_is_checked_before_anything_is_said(decode: Any, told: str) -> None:
    model = tiny.anyx()  # it says no medium here: the check does not wait for one
    with pytest.raises(ValueError, match=told):
        model.chat(CHATS[1][:1], max_new_tokens=1, decode=decode)


@pytest.mark.parametrize("given", ["What is this?", {"role": "user", "content": "hi"}, ["a"], [["a"]], 3, None])
def test_what_is_no_conversation_is_refused(given: Any) -> None:
    model = tiny.anyx()
    with pytest.raises(ValueError, match="a conversation is a list of messages"):
        model.chat(given)
    with pytest.raises(ValueError, match="a conversation is a list of messages"):
        model.generate(given)
    with pytest.raises(ValueError, match="a conversation is a list of messages"):
        next(model.stream(given))


def test_without_decoders_training_works_and_showing_is_refused() -> None:
    model, _ = mixed()
    for port in model.outputs.values():
        port.decoder = None
    assert model(batch(model, CHATS)).conditions
    with pytest.raises(ValueError, match="its decoder is not loaded"):
        model.generate([chat[:1] for chat in CHATS], max_new_tokens=12)


def test_own_state_is_exact() -> None:
    model = tiny.anyx(tied=False)
    state = model.own_state()
    assert "outputs.image.projector.map.weight" in state
    assert not any("encoders" in name or "decoder" in name or "model.layers" in name for name in state)
    with pytest.raises(ValueError, match=r"missing \['llm.signal_tokens.head'\], unknown \['x'\]"):
        model.load_own_state({name: t for name, t in state.items() if "head" not in name} | {"x": torch.ones(1)})


def test_groups_must_be_the_llms() -> None:
    model = tiny.anyx()
    with pytest.raises(ValueError, match="are not the LLM's"):
        AnyX(model.llm, outputs={"image": model.outputs["image"]})
    with pytest.raises(ValueError, match="no conversation was given"):
        model.generate([])


def test_a_bare_llm_chats() -> None:
    words = tiny.tokenizer()
    model = AnyX(LLM(tiny.causal_lm(words), words))
    out = model(batch(model, [CHATS[1]]))
    assert model.llm.logits(out.states).shape == (len(out.labels), len(words))
    assert model.chat(CHATS[1][:1], max_new_tokens=4).keys in ([], ["text"])
    with pytest.raises(ValueError, match="'image' is not one of text"):
        model.chat(CHATS[0][:1])


def test_replies_merge_words() -> None:
    reply = Reply(["a", "b", RED, "", "c"])
    assert reply.parts == ["ab", RED, "c"]
    assert reply.keys == ["text", "image", "text"]
    assert reply.text == "abc"
    assert reply.media("image") == [RED]
    assert repr(reply) == "Reply(['ab', '<image>', 'c'])"
