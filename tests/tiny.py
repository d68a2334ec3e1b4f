"""Small real components and models that tests build from. Everything is random and runs in milliseconds."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from anyx.interfaces import Condition, Decoder, Encoder, InputProjector, OutputProjector, TextBatch, Tokens
from anyx.llm import LLM
from anyx.media import Audio, Image
from anyx.model import AnyX, InputPort, OutputPort

TEXT = [
    "Draw a red fox, please.",
    "Here it is: what do you hear in this sound?",
    "USER: Human: ### Assistant: system user assistant",
]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of about 330 tokens that can write any text."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(vocab_size=330, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )


def llama_tokenizer(spaces: str = "always") -> PreTrainedTokenizerFast:
    """One of Llama's kind: bytes, letters, and the merges that make "###" one id after a space, two after a line break.

    `spaces` says where a space is written before a text: after every special token too, or at the first text only.
    """
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁", *"#abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ<>/:.,'", "##", "▁##", "▁###"]
    core = Tokenizer(
        models.BPE(
            {piece: index for index, piece in enumerate(pieces)},
            [("#", "#"), ("▁", "##"), ("▁##", "#")],
            byte_fallback=True,
            unk_token="<unk>",
        )
    )
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=spaces, split=False)
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def causal_lm(tokenizer: PreTrainedTokenizerFast, *, tied: bool = True, dim: int = 32) -> LlamaForCausalLM:
    """A random two-layer Llama."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=dim,
            intermediate_size=2 * dim,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=tied,
            initializer_range=0.2,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()


class TinyEncoder(Encoder):
    """Cuts a medium's numbers into four parts and maps each to a token; the last token of quiet media is padding."""

    def __init__(self, *, dim: int = 6) -> None:
        super().__init__()
        self.dim = dim
        self.map = nn.Linear(1, dim)
        self.dropout = nn.Dropout(0.5)
        self.transform = numbers

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        values = inputs["numbers"]
        mask = torch.ones(values.shape, dtype=torch.bool)
        mask[:, -1] = values.mean(1) > 0.5
        return Tokens(self.dropout(self.map(values[..., None])), mask)


def numbers(medium: Image | Audio) -> dict[str, Tensor]:
    """Four means of a medium."""
    values = medium.pixels.float().flatten() / 255 if isinstance(medium, Image) else medium.samples.flatten()
    return {"numbers": torch.stack([part.mean() for part in values.chunk(4)])}


class Weightless(pickle.Pickler):
    """Refuses modules and parameters, however deep they lie."""

    def reducer_override(self, value: Any) -> Any:
        assert not isinstance(value, nn.Module | nn.Parameter), "the transform carries weights"
        return NotImplemented


def packed(transform: Any) -> bytes:
    """A transform as it travels to data workers."""
    stream = io.BytesIO()
    Weightless(stream).dump(transform)
    return stream.getvalue()


class TinyInputProjector(InputProjector):
    """One linear layer."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.map = nn.Linear(dim_in, dim_out)

    def forward(self, x: Tokens) -> Tokens:
        return x._replace(values=self.map(x.values))


class TinyOutputProjector(OutputProjector):
    """The mean of states and embeddings, linearly."""

    def __init__(self, dim_in: int, condition: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        (self.name, self.shape), *_ = condition.items()
        self.map = nn.Linear(dim_in, self.shape[0] * self.shape[1])

    def forward(self, states: Tokens, embeddings: Tensor | None = None) -> Condition:
        assert embeddings is not None
        values = self.map((states.values + embeddings).mean(1)).unflatten(-1, self.shape)
        return Condition({self.name: values}, {self.name: torch.ones(values.shape[:2], dtype=torch.bool)})


class TinyDecoder(Decoder):
    """Noise of the item's generator plus the condition, as a 4x4 picture or 16 samples."""

    def __init__(self, kind: type[Image] | type[Audio]) -> None:
        super().__init__()
        self.condition = {"prompt_embeds": (3, 5)}
        self.kind = kind
        self.map = nn.Linear(15, 48 if kind is Image else 16)
        self.batches: list[int] = []  # how many items each call made

    def null_condition(self) -> Condition:
        return Condition({"prompt_embeds": torch.zeros(1, 3, 5)}, {"prompt_embeds": torch.ones(1, 3, dtype=torch.bool)})

    def forward(
        self,
        condition: Condition,
        *,
        generators: Sequence[torch.Generator],
        steps: int | None = None,
        guidance: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Any]:
        values = self.map(condition.values["prompt_embeds"].flatten(1)) * (guidance or 1.0)
        noise = torch.stack([torch.rand(values.shape[1], generator=generator) for generator in generators])
        levels = (values + noise).sigmoid()
        self.batches.append(len(levels))
        for step in range(steps or 2):
            if progress is not None:
                progress(step + 1, steps or 2)
        if self.kind is Image:
            return [Image((row * 255).to(torch.uint8).view(3, 4, 4)) for row in levels]
        return [Audio(row[None], 16000) for row in levels]

    def loss(self, condition: Condition, media: Sequence[Any]) -> Tensor:
        return self.map(condition.values["prompt_embeds"].flatten(1)).square().mean()


def anyx(
    *, decoders: bool = True, encoders: bool = True, lora: dict[str, Any] | None = None, tied: bool = True
) -> AnyX:
    """Images and audio in and out; both inputs share one encoder."""
    words = tokenizer()
    llm = LLM(causal_lm(words, tied=tied), words, tokens={"image": 3, "audio": 2}, lora=lora)
    kinds: dict[str, type[Image] | type[Audio]] = {"image": Image, "audio": Audio}
    condition = {"prompt_embeds": (3, 5)}
    return AnyX(
        llm,
        encoders={"eye": TinyEncoder()} if encoders else {},
        inputs={key: InputPort("eye", TinyInputProjector(6, llm.dim), kind=kind) for key, kind in kinds.items()},
        outputs={
            key: OutputPort(
                TinyOutputProjector(llm.dim, condition),
                ids=llm.groups[key],
                kind=kind,
                decoder=TinyDecoder(kind) if decoders else None,
            )
            for key, kind in kinds.items()
        },
    )
