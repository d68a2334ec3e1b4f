"""What clients of OpenAI send beside a conversation: harmless fields are taken, the others refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from live import SCENE, WORDS, Live, anyworld, attributes, live, user

from anyx.media import Audio, Image
from anyx.serving.settings import Settings

CHAT, PICTURES, SPEECH = "/v1/chat/completions", "/v1/images/generations", "/v1/audio/speech"


@pytest.fixture(scope="module")
def here() -> Iterator[Live]:
    """A server that was told nothing of how media are asked for: the model's YAML says it."""
    with live(anyworld(), Settings(name="anyworld")) as found:
        yield found


def refused(reply: httpx.Response, param: str | None, told: str) -> None:
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, param), reply.text
    assert told in error["message"]


def test_a_reply_goes_back_as_openais_client_writes_it(here: Live) -> None:
    first = here.ask(f"draw {WORDS}").choices[0].message.model_dump()
    assert {"annotations", "function_call", "tool_calls", "refusal", "audio"} <= first.keys()
    plain = here.ask("how are you?").choices[0].message.model_dump()
    empty = plain | {"tool_calls": [], "annotations": [], "audio": {}, "function_call": {}, "refusal": ""}
    turns: Any = [*user(f"draw {WORDS}"), first, *user("hi."), plain, *user("hi."), empty, *user("how are you?")]
    reply = here.client().chat.completions.create(model="anyworld", messages=turns)
    assert reply.choices[0].message.content
    assert reply.usage is not None
    lean = [one if one["role"] == "user" else {**one, **dict.fromkeys(empty.keys() - plain.keys())} for one in turns]
    lean = [{name: value for name, value in one.items() if value} for one in lean]
    again = here.client().chat.completions.create(model="anyworld", messages=lean)  # type: ignore[arg-type]
    assert again.usage is not None
    assert again.usage.prompt_tokens == reply.usage.prompt_tokens, "what is empty says nothing to the model"
    called = plain | {"tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
    with pytest.raises(openai.BadRequestError, match=r"messages\.1\.tool_calls: this server cannot do"):
        here.client().chat.completions.create(model="anyworld", messages=[*user("hi."), called, *user("hi.")])


@pytest.mark.parametrize(
    "more",
    [
        {"parallel_tool_calls": False, "tool_choice": "auto", "tools": [], "functions": [], "function_call": "none"},
        {"store": True, "metadata": {"a": "b"}, "service_tier": "auto", "user": "me", "safety_identifier": "me"},
        {"prompt_cache_key": "a", "prompt_cache_retention": "24h", "prompt_cache_options": {}, "prediction": None},
        {"logprobs": False, "top_logprobs": 0, "logit_bias": {}, "presence_penalty": 0.0, "frequency_penalty": 0},
        {"response_format": {"type": "text"}, "reasoning_effort": "none", "verbosity": "medium"},
    ],
)
def test_what_asks_for_nothing_is_taken(here: Live, more: dict[str, Any]) -> None:
    assert here.ask("how are you?", **more).choices[0].message.content == "i am well."


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (CHAT, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        (CHAT, {"tool_choice": "required"}),
        (CHAT, {"functions": [{"name": "f"}]}),
        (CHAT, {"function_call": {"name": "f"}}),
        (CHAT, {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}}),
        (CHAT, {"logprobs": True}),
        (CHAT, {"top_logprobs": 3}),
        (CHAT, {"logit_bias": {"3": 1}}),
        (CHAT, {"reasoning_effort": "high"}),
        (CHAT, {"verbosity": "low"}),
        (CHAT, {"web_search_options": {}}),
        (CHAT, {"moderation": {"model": "x"}}),
        (PICTURES, {"background": "transparent"}),
        (PICTURES, {"output_compression": 50}),
        (PICTURES, {"partial_images": 2}),
        (PICTURES, {"stream": True}),
        (SPEECH, {"speed": 2}),
        (SPEECH, {"instructions": "whisper"}),
        (SPEECH, {"stream_format": "sse"}),
    ],
)
def test_what_cannot_be_done_is_named(here: Live, path: str, more: dict[str, Any]) -> None:
    own: dict[str, Any] = {CHAT: {"messages": user("hi.")}, PICTURES: {"prompt": "x"}, SPEECH: {"input": "x"}}[path]
    (name,) = more
    reply = here.http().post(path, json={"model": "anyworld", **own, **more})
    refused(reply, name, f"{name}: this server cannot do what it asks for; leave it out")
    assert reply.json()["error"]["code"] == "unsupported_parameter"


JSON = "application/json"
MESSAGES = {"model": "anyworld", "messages": user("hi.")}


@pytest.mark.parametrize(
    ("content", "sent_as", "param", "told"),
    [
        (b"{", JSON, None, "the body is no JSON: Expecting property name enclosed in double quotes, at character 1"),
        (b"", JSON, None, "the body is empty; send a JSON object with Content-Type: application/json"),
        (b"[1]", JSON, None, "the body is JSON, but no object"),
        (b"[1]", "application/vnd.x+json; charset=utf-8", None, "the body is JSON, but no object"),
        (json.dumps(MESSAGES), "text/plain", None, "the body is sent as 'text/plain'; send a JSON object with Content"),
        (json.dumps(MESSAGES), "application/x-www-form-urlencoded", None, "sent as 'application/x-www-form-"),
        (json.dumps(MESSAGES), None, None, "the body is sent without a type; send a JSON object with Content"),
        (json.dumps({**MESSAGES, "smell": 1}), JSON, "smell", "smell: this server knows no such field; leave it out"),
        (json.dumps({**MESSAGES, "messages": [*user("hi."), {"role": "user", "content": 5}]}), JSON,
         "messages.1.content", "messages.1.content: Input should be a valid string"),
        (json.dumps({**MESSAGES, "messages": [{"role": "user", "content": [{"text": "hi."}]}]}), JSON,
         "messages.0.content.0.type", "messages.0.content.0.type: Field required"),
    ],
)  # fmt: skip
def test_a_body_that_is_none_is_told_in_a_sentence(
    here: Live, content: bytes, sent_as: str | None, param: str | None, told: str
) -> None:
    headers = {} if sent_as is None else {"Content-Type": sent_as}
    reply = here.http().post(CHAT, content=content, headers=headers)
    refused(reply, param, told)
    assert not any(word in reply.json()["error"]["message"] for word in ("dictionary", "list[Part]", "Extra inputs"))


def test_how_media_are_asked_for_is_the_models_own_to_say(here: Live) -> None:
    url = (here.client().images.generate(model="anyworld", prompt=WORDS, extra_body={"seed": 7}).data or [])[0].url
    assert attributes(Image.read(here.http().get(url or "").content)) == SCENE
    said = here.client().audio.speech.create(
        model="anyworld", input=WORDS, voice="alloy", response_format="wav", extra_body={"seed": 3}
    )
    assert attributes(Audio.read(said.content)) == SCENE
    with live(here.engine.model, Settings(name="anyworld", asks={"image": "tell me: {prompt}?"})) as other:
        reply = other.http().post(PICTURES, json={"prompt": "how are you"})
    assert reply.status_code == 422
    told = reply.json()["error"]["message"]
    assert "the model was asked 'tell me: {prompt}?' and answered without one: " in told
    assert '`anyx serve --ask image="... {prompt} ..."`' in told


@pytest.mark.parametrize(("form", "mark"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF")])
def test_pictures_come_in_the_format_asked_for_by_address(here: Live, form: Any, mark: bytes) -> None:
    asked: Any = {"model": "anyworld", "prompt": WORDS, "output_format": form, "extra_body": {"seed": 7}}
    made = here.client().images.generate(response_format="url", **asked)
    (one,) = made.data or ()
    assert (one.b64_json, made.output_format) == (None, form)
    reply = here.http().get(one.url or "")
    assert (reply.headers["content-type"], reply.content[: len(mark)]) == (f"image/{form}", mark)
    assert attributes(Image.read(reply.content)) == SCENE
    alone = here.client().images.generate(**asked)
    assert [(one.url, bool(one.b64_json)) for one in alone.data or ()] == [(None, True)]


@pytest.mark.parametrize("quality", ["standard", "auto", "low", "medium", "high", "hd"])
def test_how_openais_pictures_are_made_better_chooses_nothing(here: Live, quality: Any) -> None:
    more: dict[str, Any] = {"style": "natural", "background": "auto", "moderation": "low", "user": "me"}
    more |= {"output_compression": 100, "partial_images": 0, "extra_body": {"seed": 1, "decode": {"steps": 1}}}
    assert here.client().images.generate(model="anyworld", prompt=WORDS, size="auto", quality=quality, **more).data


def test_a_picture_that_is_too_large_for_its_decoder_is_refused_at_once(here: Live) -> None:
    """1024 a side of a decoder that was made for 48 keeps a core for minutes."""
    for size in ("256x256", "1024x1024", "1792x1024"):
        reply = here.http().post(PICTURES, json={"prompt": WORDS, "size": size})
        refused(reply, "size", f"size: {size} given; the most here is 192, and `anyx serve --most size=NUMBER` sets it")
    asked = {**MESSAGES, "decode": {"image": {"size": [8, 200]}}}
    refused(here.http().post(CHAT, json=asked), "decode", "decode.image.size: [8, 200] given; the most here is 192")
    url = (here.client().images.generate(model="anyworld", prompt=WORDS, size="192x192").data or [])[0].url  # type: ignore[call-overload]
    assert Image.read(here.http().get(url).content).size == (192, 192)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/nothing"])
def test_head_is_answered_as_get_without_a_body(here: Live, path: str) -> None:
    with here.http() as http:
        bare, whole = http.head(path), http.get(path)
        assert bare.status_code == whole.status_code
        assert bare.content == b""
        assert bare.headers["content-length"] == str(len(whole.content))
        assert http.head(path).status_code == whole.status_code, "the connection is still in step"
