"""What clients send, in OpenAI's words and a few of our own; what is not named here is refused by name.

`plain` names fields whose every other value would ask for what nothing here does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class Sent(BaseModel):
    """No field that is not known, no NaN, no infinity."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    plain: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def beyond(self) -> str | None:
        """The first field that asks for what nothing here does."""
        said = ((name, vars(self)[name]) for name in self.plain)
        return next((name for name, value in said if value is not None and value not in self.plain[name]), None)


class Part(BaseModel):
    """A part of a message: `text`, or a medium under the name of its type."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    type: str = Field(max_length=64)
    text: str | None = None


class Message(Sent):
    """A turn; `parts` and `audio` are what this server's own replies hold beside `content`.

    The rest is what OpenAI's client writes of a reply: nothing is read of it.
    """

    plain = {"tool_calls": ([],), "function_call": ({},)}
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part] | None = None
    parts: list[Part] | None = None
    audio: dict[str, Any] | None = None
    name: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    tool_calls: list[Any] | None = None
    function_call: dict[str, Any] | None = None


class StreamOptions(Sent):
    """`include_usage` adds a last chunk that counts tokens."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class AudioOptions(Sent):
    """How `message.audio` is encoded; a model has one voice, so `voice` chooses nothing."""

    format: Literal["wav", "mp3", "flac", "opus", "pcm16"] = "wav"
    voice: Any = None


class Told(Sent):
    """Fields of OpenAI's that ask nothing of a reply here."""

    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None


Settings = dict[str, dict[str, Any]]  # output key -> what its decoder takes


class ChatRequest(Told):
    """`/v1/chat/completions`; `top_k`, `repetition_penalty`, `media` and `decode` are ours."""

    plain = {
        "frequency_penalty": (0,), "presence_penalty": (0,), "logprobs": (False,), "top_logprobs": (0,),
        "logit_bias": ({},), "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],),
        "function_call": ("none", "auto"), "response_format": ({"type": "text"},), "reasoning_effort": ("none",),
        "verbosity": ("medium",), "web_search_options": (), "moderation": (),
    }  # fmt: skip
    model: str
    messages: list[Message] = Field(min_length=1)
    n: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, lt=2**31)
    repetition_penalty: float | None = Field(None, ge=0.01, le=10)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    modalities: list[str] | None = None
    audio: AudioOptions | None = None
    media: Literal["url", "inline"] | None = None
    decode: Settings | None = None
    response_format: dict[str, Any] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    functions: list[Any] | None = None
    function_call: Any = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    web_search_options: Any = None
    moderation: Any = None
    prediction: Any = None


class ImagesRequest(Told):
    """`/v1/images/generations`; `seed` and `decode` are ours, and `quality` and `style` choose nothing."""

    plain = {
        "background": ("auto", "opaque"), "output_compression": (100,), "partial_images": (0,), "stream": (False,)
    }  # fmt: skip
    prompt: str = Field(min_length=1)
    model: str | None = None
    n: int | None = Field(None, ge=1)
    size: str | None = Field(None, max_length=32)
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: int | None = None
    quality: str | None = None
    style: str | None = None
    background: str | None = None
    moderation: str | None = None
    partial_images: int | None = None
    stream: bool | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    decode: dict[str, Any] | None = None


class SpeechRequest(Told):
    """`/v1/audio/speech`; a model has one voice, so `voice` chooses nothing. `seed` and `decode` are ours."""

    plain = {"speed": (1,), "instructions": ("",), "stream_format": ("audio",)}
    model: str
    input: str = Field(min_length=1)
    voice: Any = None
    response_format: Literal["mp3", "opus", "flac", "wav", "pcm"] = "mp3"
    speed: float | None = None
    instructions: str | None = None
    stream_format: Literal["audio", "sse"] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    decode: dict[str, Any] | None = None
