"""OpenAI's own client against a real server of AnyWorld: every medium of a reply is decoded and read."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from live import SCENE, WORDS, Live, anyworld, attributes, data_url, live, user
from prometheus_client.parser import text_string_to_metric_families

from anyx.media import Audio, Image, Video


@pytest.fixture(scope="module")
def here() -> Iterator[Live]:
    with live(anyworld()) as found:
        yield found


def fetched(here: Live, part: Any) -> bytes:
    """The bytes at a part's address."""
    reply = here.http().get(part[part["type"]]["url"])
    assert reply.status_code == 200
    assert reply.headers["content-type"] == part["content_type"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    return reply.content


def test_models_say_what_goes_in_and_out(here: Live) -> None:
    (model,) = here.client().models.list().data
    assert model.id == "anyworld"
    assert model.model_extra is not None
    assert model.model_extra["inputs"] == ["text", "image", "audio", "video"]
    assert here.client().models.retrieve("anyworld").id == "anyworld"
    with pytest.raises(openai.NotFoundError):
        here.client().models.retrieve("gpt-4o")


def test_plain_words_are_a_string_as_the_model_says_them(here: Live) -> None:
    reply = here.ask("how are you?")
    message = reply.choices[0].message
    assert message.content == here.engine.model.chat(user("how are you?")).text == "i am well."
    assert message.model_extra == {}
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.completion_tokens > 0
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    assert here.ask("how are you?", max_completion_tokens=2).choices[0].finish_reason == "length"


@pytest.mark.parametrize("form", ["image_url", "input_image", "image", "base64"])
def test_a_picture_is_read_in_every_form(here: Live, form: str) -> None:
    picture = here.engine.model.chat(user(f"draw {WORDS}")).media("image")[0].to_bytes("png")
    sent: dict[str, Any] = {
        "image_url": {"type": "image_url", "image_url": {"url": data_url(picture)}},
        "input_image": {"type": "input_image", "image_url": data_url(picture)},
        "image": {"type": "image", "url": data_url(picture)},
        "base64": {"type": "image", "image": {"data": base64.b64encode(picture).decode(), "format": "png"}},
    }[form]
    content: Any = [sent, {"type": "text", "text": "describe what you see."}]
    reply = here.client().chat.completions.create(model="anyworld", messages=[{"role": "user", "content": content}])
    assert reply.choices[0].message.content == WORDS


def test_a_sound_is_heard_and_said(here: Live) -> None:
    reply = here.ask(f"play {WORDS}", seed=3).choices[0].message
    assert reply.audio is not None
    assert reply.audio.transcript == reply.content == WORDS
    sound = base64.b64decode(reply.audio.data)
    assert attributes(Audio.read(sound)) == SCENE
    heard: Any = [
        {"type": "input_audio", "input_audio": {"data": reply.audio.data, "format": "wav"}},
        {"type": "text", "text": "describe what you hear."},
    ]
    again = here.client().chat.completions.create(model="anyworld", messages=[{"role": "user", "content": heard}])
    assert again.choices[0].message.content == WORDS


def test_a_stream_says_words_shows_media_and_ends(here: Live) -> None:
    chunks = list(here.ask(f"animate {WORDS}", seed=5, stream=True, stream_options={"include_usage": True}))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == WORDS
    assert len([delta for delta in deltas if delta.content]) > 3
    (part,) = [part for delta in deltas for part in (delta.model_extra or {}).get("parts", [])]
    assert part["type"] == "video_url"
    clip = Video.read(fetched(here, part))
    assert attributes(clip) == SCENE
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens > 0
    whole = here.ask(f"animate {WORDS}", seed=5).choices[0].message
    other = Video.read(fetched(here, whole.model_extra["parts"][1]))
    assert (clip.frames == other.frames).all()


def test_a_stream_ends_with_done(here: Live) -> None:
    body = {"model": "anyworld", "messages": user("hi."), "stream": True}
    with here.http().stream("POST", "/v1/chat/completions", json=body) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in reply.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(line.removeprefix("data: "))["choices"] for line in lines[:-1])


def test_media_come_inline_and_go_back_by_address(here: Live) -> None:
    drawn = here.ask(f"draw {WORDS}", modalities=["text", "image"], seed=3).choices[0].message
    url = drawn.model_extra["parts"][1]["image_url"]["url"]
    assert url.startswith("data:image/png;base64,")
    assert attributes(Image.read(base64.b64decode(url.partition(",")[2]))) == SCENE
    address = here.ask(f"draw {WORDS}", seed=3).choices[0].message.model_extra["parts"][1]
    turns: Any = [
        {"role": "user", "content": [address, {"type": "text", "text": "animate this."}]},
    ]
    reply = here.client().chat.completions.create(model="anyworld", messages=turns, seed=3)
    parts = reply.choices[0].message.model_extra["parts"]  # type: ignore[index]
    assert attributes(Video.read(fetched(here, parts[1]))) == SCENE


def test_an_assistants_turn_may_hold_what_it_has_shown(here: Live) -> None:
    first = here.ask(f"draw {WORDS}", seed=3).choices[0].message.model_dump(exclude_none=True)
    turns = [*user(f"draw {WORDS}"), first, *user("now play that.")]
    reply = here.client().chat.completions.create(model="anyworld", messages=turns, seed=3)
    assert attributes(Audio.read(base64.b64decode(reply.choices[0].message.audio.data))) == SCENE  # type: ignore[union-attr]


def test_several_choices_have_seeds_of_their_own(here: Live) -> None:
    reply = here.ask(f"draw {WORDS}", n=3, seed=7)
    pictures = [fetched(here, choice.message.model_extra["parts"][1]) for choice in reply.choices]
    assert len({*pictures}) == 3
    alone = here.engine.model.chat(user(f"draw {WORDS}"), seeds=8).media("image")[0]
    assert abs(Image.read(pictures[1]).pixels.int() - alone.pixels.int()).max() <= 1


def test_words_end_at_a_stop(here: Live) -> None:
    reply = here.ask(f"draw {WORDS}", stop=["circles", "never"]).choices[0]
    assert (reply.message.content, reply.finish_reason) == ("three red ", "stop")
    assert reply.message.model_extra == {}


def test_pictures_are_generated(here: Live) -> None:
    client = here.client()
    seeded: Any = {"prompt": WORDS, "extra_body": {"seed": 7}}
    two = client.images.generate(model="anyworld", n=2, response_format="b64_json", **seeded)
    pictures = [Image.read(base64.b64decode(one.b64_json or "")) for one in two.data or ()]
    assert [attributes(picture) for picture in pictures] == [SCENE, SCENE]
    assert (pictures[0].pixels != pictures[1].pixels).any()
    url = (client.images.generate(model="anyworld", prompt=WORDS, size="64x32").data or [])[0].url
    assert url is not None
    assert Image.read(here.http().get(url).content).size == (32, 64)
    with pytest.raises(openai.BadRequestError, match="size"):
        client.images.generate(model="anyworld", prompt=WORDS, size="9999x9999")
    with pytest.raises(openai.UnprocessableEntityError, match="without one"):
        client.images.generate(model="anyworld", prompt="", extra_body={"prompt": "how are you?"})


@pytest.mark.parametrize("format", ["wav", "flac", "opus", "mp3"])
def test_speech_comes_in_the_format_asked_for(here: Live, format: Any) -> None:
    said = here.client().audio.speech.create(
        model="anyworld", input=WORDS, voice="alloy", response_format=format, extra_body={"seed": 3}
    )
    assert attributes(Audio.read(said.content)) == SCENE
    marks = {"wav": b"RIFF", "flac": b"fLaC", "opus": b"OggS", "mp3": b""}
    assert said.content.startswith(marks[format])
    assert (b"OpusHead" in said.content) == (format == "opus")


def test_a_decoder_is_told_what_a_client_says(here: Live) -> None:
    reply = here.ask(f"draw {WORDS}", extra_body={"decode": {"image": {"size": [64, 96], "steps": 3}}})
    assert Image.read(fetched(here, reply.choices[0].message.model_extra["parts"][1])).size == (64, 96)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"n": 99}, "n: 99 given"),
        ({"max_tokens": 10**6}, "the most here is 1024"),
        ({"temperature": 9}, "temperature"),
        ({"extra_body": {"temprature": 1}}, "temprature"),
        ({"modalities": ["smell"]}, "smell"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "one to four"),
        ({"extra_body": {"decode": {"image": {"steps": 10**9}}}}, "the most here is 200"),
        ({"extra_body": {"decode": {"image": {"latents": [0]}}}}, "latents"),
        ({"extra_body": {"decode": {"smell": {"steps": 3}}}}, "smell"),
        ({"extra_body": {"decode": {"image": {"size": [100000, 8]}}}}, "the most here is 192"),
    ],
)
def test_what_is_not_taken_is_refused_by_name(here: Live, more: dict[str, Any], told: str) -> None:
    with pytest.raises(openai.BadRequestError, match=told) as refused:
        here.ask("hi.", **more)
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("part", "status"),
    [
        ({"type": "image_url", "image_url": {"url": data_url(b"no picture")}}, 415),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, 400),
        ({"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a.png"}}, 400),
        ({"type": "image_url", "image_url": {"url": "/media/AAAAAAAAAAAAAAAAAAAAAAAA"}}, 404),
        ({"type": "image_url", "path": "/etc/passwd"}, 400),
        ({"type": "image_url"}, 400),
        ({"type": "depth", "url": data_url(b"x")}, 400),
        ({"type": "text"}, 400),
        ({"type": "text", "text": "\ud800"}, 400),
    ],
)
def test_what_cannot_be_read_is_refused(here: Live, part: Any, status: int) -> None:
    body = json.dumps({"model": "anyworld", "messages": [{"role": "user", "content": [part]}]})
    headers = {"Content-Type": "application/json"}
    reply = here.http().post("/v1/chat/completions", content=body, headers=headers)
    assert reply.status_code == status, reply.text
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"[" * 100_000, 400),
        ("POST", "/v1/chat/completions", b'{"model": "anyworld", "messages": [], "n": NaN}', 400),
        ("GET", "/v1/chat/completions", b"", 405),
        ("GET", "/nothing", b"", 404),
        ("GET", "/media/../../etc/passwd", b"", 404),
    ],
)
def test_errors_of_http_have_openais_body(here: Live, method: str, path: str, content: bytes, status: int) -> None:
    reply = here.http().request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_health_metrics_and_the_description_are_there(here: Live) -> None:
    here.ask("hi.")
    http = here.http()
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").status_code == 200
    assert "/v1/chat/completions" in http.get("/openapi.json").json()["paths"]
    assert "<script" not in http.get("/docs").text
    reply = http.get("/metrics")
    families = {one.name: one for one in text_string_to_metric_families(reply.text)}
    answered = {tuple(one.labels.values()): one.value for one in families["anyx_requests"].samples}
    assert answered["/v1/chat/completions", "200"] >= 1
    assert families["anyx_reply_tokens"].samples[0].value > 0
    assert families["anyx_queue_length"].samples[0].value == 0
    assert {"anyx_request_seconds", "anyx_batch_size", "anyx_media", "anyx_requests_in_flight"} <= families.keys()
    assert (
        "access-control-allow-origin" not in http.options("/v1/models", headers={"Origin": "http://a.example"}).headers
    )
