"""Models that an agent may talk through: one of ours, a language model of transformers, one behind HTTP.

Ours that read pictures are shown them; of the others a picture is a handle in the text. Ours may also answer with
media, which get handles too.
"""

from __future__ import annotations

import base64
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from anyx.backends import WholeModel
from anyx.decoding import Sampling
from anyx.detokenizing import Run
from anyx.interfaces import Media as AnyMedia
from anyx.model import AnyX
from anyx.reply import Media, TextEvent
from anyx.watching import Cancelled, Watch

Messages = Sequence[Mapping[str, Any]]
LENGTH = 512  # tokens of a reply: a thought and the call of a tool


class AnyXTalker:
    """A model of ours. Each reply starts at `seed`; `decode` is as in `AnyX.session`.

    Without a `sampling` it is the model's own; where its YAML says no `max_new_tokens`, of `LENGTH` tokens.
    """

    def __init__(
        self,
        model: AnyX,
        *,
        name: str = "anyx",
        seed: int = 0,
        sampling: Sampling | None = None,
        decode: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.model, self.name, self.seed = model, name, seed
        self.sampling, self.decode = sampling or own(model), decode or {}
        self.reads: Sequence[str] = tuple(model.inputs)

    def stream(self, messages: Messages, watch: Watch) -> Generator[str | Media]:
        """The reply as it comes."""
        events = self.model.stream(
            list(messages), seeds=self.seed, decode=self.decode, watch=[watch], **vars(self.sampling)
        )
        for event in events:
            yield event.text if isinstance(event, TextEvent) else event.media


def own(model: AnyX) -> Sampling:
    """How a model of ours speaks in an agent unless a caller says otherwise."""
    said = model.config.raw.get("sampling") or {} if model.config is not None else {}
    return model.sampling if "max_new_tokens" in said else model.sampling.but(LENGTH)


class WholeTalker:
    """A whole multimodal model of transformers (`backend: hf`); its replies come in one piece."""

    def __init__(self, model: WholeModel, *, name: str = "hf", max_new_tokens: int = LENGTH) -> None:
        self.model, self.name, self.max_new_tokens = model, name, max_new_tokens
        self.reads: Sequence[str] = tuple(model.inputs)

    def stream(self, messages: Messages, watch: Watch) -> Generator[str | Media]:
        """The reply, once it is whole."""
        yield self.model.chat(list(messages), max_new_tokens=self.max_new_tokens).text
        if watch.cancelled:
            raise Cancelled("the reply was cancelled")


class CausalTalker:
    """A language model of transformers, greedy; one without a chat template is asked in plain words."""

    reads: Sequence[str] = ()

    def __init__(self, model: Any, tokenizer: Any, *, name: str = "llm", max_new_tokens: int = LENGTH) -> None:
        self.model, self.tokenizer, self.name, self.max_new_tokens = model.eval(), tokenizer, name, max_new_tokens
        ends = model.generation_config.eos_token_id
        self.ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}

    @classmethod
    def load(cls, path: str, *, device: str = "cpu", max_new_tokens: int = LENGTH) -> CausalTalker:
        """A folder or Hub id behind `AutoModelForCausalLM`, without code of its own."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(path, dtype="auto", trust_remote_code=False).to(device)
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        return cls(model, tokenizer, name=Path(path).name, max_new_tokens=max_new_tokens)

    def ids(self, messages: Messages) -> list[int]:
        """What the model reads of a conversation; a template without system turns gets it with the first question."""
        if self.tokenizer.chat_template is None:
            lines = [f"{one['role'].capitalize()}: {one['content']}" for one in messages]
            return list(self.tokenizer("\n".join([*lines, "Assistant:"])).input_ids)

        def read(turns: Messages) -> list[int]:
            text = self.tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=True)
            return list(self.tokenizer(text, add_special_tokens=False).input_ids)

        try:
            return read(messages)
        except Exception as error:  # TemplateError of jinja2, a dependency of torch's and none of ours
            refused = type(error).__name__ == "TemplateError"
            if not refused or messages[0]["role"] != "system" or len(messages) < 2:
                raise
            first = {"role": "user", "content": f"{messages[0]['content']}\n\n{messages[1]['content']}"}
            return read([first, *messages[2:]])

    def stream(self, messages: Messages, watch: Watch) -> Generator[str | Media]:
        """The likeliest words, as they are found."""
        said, text, ids = Run(self.tokenizer), "", self.ids(messages)
        longest = self.model.config.max_position_embeddings
        if len(ids) >= longest:
            raise ValueError(f"the conversation has {len(ids)} tokens; this model reads {longest}")
        given, cache = torch.tensor([ids], device=self.model.device), None
        for _ in range(min(self.max_new_tokens, longest - len(ids))):
            if watch.cancelled:
                raise Cancelled("the reply was cancelled")
            with torch.inference_mode():
                out = self.model(input_ids=given, past_key_values=cache, use_cache=True)
            given, cache = out.logits[:, -1:].argmax(-1), out.past_key_values
            token = int(given)
            if token in self.ends:
                break
            words = said.hear(token).rstrip("\ufffd")
            yield words[len(text) :]
            text = words


class HttpTalker:
    """A model behind an OpenAI-compatible address (`anyx.benchmarks.http_judge`); its replies come in one piece.

    With `sees`, pictures are sent as data URLs; else they are handles in the text.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        sees: bool = False,
        timeout: float = 60.0,
        retries: int = 1,
    ) -> None:
        from anyx.benchmarks.http_judge import HttpJudge

        self.client = HttpJudge(url, model, key=key, timeout=timeout, retries=retries, role="model")
        self.name: str = model
        self.reads: Sequence[str] = ("image",) if sees else ()

    def stream(self, messages: Messages, watch: Watch) -> Generator[str | Media]:
        """The reply, once it is whole."""
        yield self.client.ask([{**one, "content": sent(one["content"])} for one in messages])
        if watch.cancelled:
            raise Cancelled("the reply was cancelled")


def sent(content: Any) -> Any:
    """The content of a message as the chat-completions interface takes it."""
    if isinstance(content, str):
        return content
    return [part if part["type"] == "text" else picture(part["media"]) for part in content]


def picture(medium: AnyMedia) -> dict[str, Any]:
    """A picture as a data URL."""
    url = f"data:image/png;base64,{base64.b64encode(medium.to_bytes()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}
