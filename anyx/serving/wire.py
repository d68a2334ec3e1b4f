"""What clients send, in OpenAI's words and a few of our own; what is not named here is refused by name."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Sent(BaseModel):
    """No field that is not known, no NaN, no infinity."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Part(BaseModel):
    """A part of a message: `text`, or a medium under the name of its type."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    type: str = Field(max_length=64)
    text: str | None = None


class Message(Sent):
    """A turn; `parts` and `audio` are what this server's own replies hold beside `content`."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part] | None = None
    parts: list[Part] | None = None
    audio: dict[str, Any] | None = None
    name: str | None = None
    refusal: str | None = None


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


Settings = dict[str, dict[str, Any]]  # output key -> what its decoder takes


class ChatRequest(Told):
    """`/v1/chat/completions`; `top_k`, `repetition_penalty`, `media` and `decode` are ours."""

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


class ImagesRequest(Told):
    """`/v1/images/generations`; `seed` and `decode` are ours."""

    prompt: str = Field(min_length=1)
    model: str | None = None
    n: int | None = Field(None, ge=1)
    size: str | None = Field(None, max_length=32)
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    decode: dict[str, Any] | None = None


class SpeechRequest(Told):
    """`/v1/audio/speech`; a model has one voice, so `voice` chooses nothing. `seed` and `decode` are ours."""

    model: str
    input: str = Field(min_length=1)
    voice: Any = None
    response_format: Literal["mp3", "opus", "flac", "wav", "pcm"] = "mp3"
    speed: float | None = None
    instructions: str | None = None
    stream_format: Literal["audio", "sse"] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    decode: dict[str, Any] | None = None
