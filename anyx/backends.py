"""`backend: hf`: a whole multimodal model of transformers behind the calls that `AnyX` answers.

    backend: hf
    path: llava-hf/llava-1.5-7b-hf

Systems that transformers has (LLaVA, LLaVA-NeXT, BLIP-2, InstructBLIP, Kosmos-2, Fuyu) run as they are published, by
their own processor and `generate`; nothing of them is rewritten and nothing can be trained here. The parts of ours are
held against them with shared weights (tests/test_backends.py). A model without a chat template is asked with the words
as they are given, such as "Question: ... Answer:".

Letters: b rows, s positions, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from anyx import yamls
from anyx.config import ConfigError, sampling_of
from anyx.decoding import seeds_of
from anyx.media import Image
from anyx.processor import Conversation, conversation_of, source_of
from anyx.prompt import parts_of
from anyx.reply import Reply, TextEvent
from anyx.sampling import Sampling
from anyx.schema import DType
from anyx.signatures import Errors, check_keywords

BACKENDS = ("hf",)


class WholeModel:
    """A model of transformers and its processor: conversations in, words out."""

    def __init__(self, model: Any, processor: Any, *, key: str = "image") -> None:
        self.model, self.processor, self.key = model.eval(), processor, key
        self.inputs: Mapping[str, type[Any]] = {key: Image}
        self.outputs: Mapping[str, Any] = {}
        self.sampling = Sampling()  # how it speaks unless a caller says otherwise

    @classmethod
    def load(
        cls,
        path: str,
        *,
        processor: str | None = None,
        dtype: DType = "float32",
        attention: str = "sdpa",
        key: str = "image",
        device: str | torch.device = "cpu",
        sampling: Mapping[str, float] | None = None,
    ) -> WholeModel:
        """A folder or Hub id of any class behind `AutoModelForImageTextToText`; `processor` is a path of its own."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        kind = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]
        model = AutoModelForImageTextToText.from_pretrained(path, dtype=kind, attn_implementation=attention)
        made = cls(model.to(device), without_torchvision(AutoProcessor.from_pretrained(processor or path)), key=key)
        made.sampling = sampling_of(errors := Errors(), sampling)
        if errors:
            raise ConfigError(errors)
        return made

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.model.device
        return device

    def batch(self, messages: Conversation, *, generate: bool = False) -> dict[str, Tensor]:
        """What the model reads of a conversation, by its own processor."""
        pictures, turns = [], []
        for message in conversation_of(messages):
            content: list[dict[str, str]] = []
            for part in parts_of(message):
                if part["type"] == "text":
                    content.append({"type": "text", "text": part["text"]})
                    continue
                if part["type"] != self.key:
                    raise ValueError(f"type: {part['type']!r} is not one of text, {self.key} (the model's inputs)")
                if message["role"] == "assistant" or (source := source_of(part)) is None:
                    raise ValueError(
                        f"a part of type {self.key!r} is the user's, and says where it is by path or media"
                    )
                pictures.append(Image.read(source).to_pil())
                content.append({"type": "image"})
            turns.append({"role": message["role"], "content": content})
        text = self._text(turns, generate)
        made = self.processor(images=pictures or None, text=text, return_tensors="pt").to(self.device)
        dtype = self.model.dtype
        return {name: x.to(dtype) if torch.is_floating_point(x) else x for name, x in made.items()}

    @torch.no_grad()
    def logits(self, messages: Conversation) -> Float[Tensor, "1 s v"]:
        """Logits at every position of a conversation, its media's included."""
        logits: Tensor = self.model(**self.batch(messages)).logits
        return logits.float()

    def chat(
        self,
        messages: Conversation,
        *,
        max_new_tokens: int | None = None,
        seeds: int | Sequence[int] = 0,
        decode: Mapping[str, Mapping[str, Any]] | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        repetition_penalty: float | None = None,
    ) -> Reply:
        """Answer one conversation by the model's own `generate`."""
        if decode:
            raise ValueError(f"decode: {dict(decode)} given; this model answers with words only")
        how = self.sampling.but(max_new_tokens, temperature, top_p, top_k, repetition_penalty)
        (seed,) = seeds_of(seeds, 1)
        batch = self.batch(messages, generate=True)
        sampling: dict[str, Any] = {"do_sample": False}
        if how.temperature:
            sampling = {"do_sample": True, "temperature": how.temperature, "top_p": how.top_p, "top_k": how.top_k}
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            ids = self.model.generate(
                **batch, max_new_tokens=how.max_new_tokens, repetition_penalty=how.repetition_penalty, **sampling
            )[0].tolist()
        asked = batch["input_ids"][0].tolist()  # some classes say the request again before the reply, others do not
        said = ids[len(asked) :] if ids[: len(asked)] == asked else ids
        text = self.processor.tokenizer.decode(said, skip_special_tokens=True)
        return Reply.gather([TextEvent(0, text.strip())])

    def _text(self, turns: Sequence[Mapping[str, Any]], generate: bool) -> str:
        if self.processor.chat_template is not None:
            text: str = self.processor.apply_chat_template(turns, add_generation_prompt=generate, tokenize=False)
            return text
        if len(turns) != 1 or turns[0]["role"] != "user":
            raise ValueError(f"{type(self.processor).__name__} has no chat template: it reads one message of the user")
        return " ".join(part["text"] for part in turns[0]["content"] if part["type"] == "text")


def without_torchvision(processor: Any) -> Any:
    """The processor, cutting tensors into patches where transformers 5.23's own, for Fuyu, takes arrays only."""
    from transformers import FuyuImageProcessorPil, FuyuProcessor

    if isinstance(processor, FuyuProcessor) and isinstance(processor.image_processor, FuyuImageProcessorPil):
        cut = processor.image_processor.patchify_image
        processor.image_processor.patchify_image = lambda image, patch_size: torch.as_tensor(
            cut(image.numpy(), patch_size)
        )
    return processor


def is_whole(path: Path) -> bool:
    """Whether a path is a YAML of a `backend`."""
    return path.suffix in (".yaml", ".yml") and path.is_file() and "backend" in yamls.read(path)


def settings(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The keywords of `WholeModel.load` that a YAML gives; `ConfigError` with all that is wrong in it."""
    given = dict(yamls.read(path, overrides))
    backend, errors = given.pop("backend", None), Errors()
    if backend not in BACKENDS:
        errors.add("backend", f"{backend!r} is not one of {', '.join(BACKENDS)}")
    check_keywords(
        errors, "", {key: value for key, value in given.items() if key != "sampling"}, WholeModel.load, wired=False
    )
    sampling_of(errors, given.get("sampling"))
    if errors:
        raise ConfigError(errors)
    return given


def load(path: str | Path, *, overrides: Sequence[str] = (), device: str | torch.device | None = None) -> WholeModel:
    """The model of a YAML with a `backend`."""
    given = settings(path, overrides)
    return WholeModel.load(**(given if device is None else {**given, "device": device}))
