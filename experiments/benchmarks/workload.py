"""The workload of the reference's baseline, made from a seed: the LLM, its words, media, captions and dialogues.

Counts, sizes, durations and lengths are those of the table that measured NExT-GPT's own code: a Llama of 512 x 8 with
32,000 rows and 38 more that learn, ImageBind towers of width 192, depth 4, TextFc projectors of 4 + 4 layers, 40
captions of 24 to 36 tokens, 20 pictures, 20 sounds, 17 films. Everything is float32, as it was there.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor, nn

from anyx.config import Config, check
from anyx.data.cache import digest
from anyx.data.sources import Feed
from anyx.interfaces import Condition, Decoder
from anyx.media import Audio, Image
from anyx.packaged import home as cache

SEED = 13
LLAMA = {
    "model_type": "llama", "hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8,
    "intermediate_size": 1408, "vocab_size": 32000, "tie_word_embeddings": False, "max_position_embeddings": 2048,
}  # fmt: skip
TOWER = {"type": "imagebind", "dim": 192, "depth": 4, "heads": 3, "out_dim": 1024}
CONDITIONS = {"image": (77, 768), "video": (77, 1024), "audio": (1, 512)}
TOKENS = {"image": 4, "video": 24, "audio": 8}
COUNTS = {"image": 20, "audio": 20, "video": 17}
FRAMES = [*np.linspace(182, 850, COUNTS["video"]).astype(int)]
BEGIN = (29, 28, 30, 29, 36, 31, 33, 25)  # tokens of the first captions: the first batches' lengths are the table's
MEAN, LOW, HIGH = 29.9, 24, 36
WORDS = 2000
PROMPT = "generate a caption"
SAID = "sure , here it is for you ."


class Teacher(Decoder):
    """What a decoder says of captions, as the workload has it: normal noise that the caption's words seed."""

    def __init__(self, *, length: int, dim: int) -> None:
        super().__init__()
        self.condition = {"prompt_embeds": (length, dim)}

    def encode_text(self, captions: Sequence[str]) -> Condition:
        (shape,) = self.condition.values()
        noise = [torch.randn(shape, generator=seeded(SEED, text)) for text in captions]
        return Condition(
            {"prompt_embeds": torch.stack(noise)}, {"prompt_embeds": torch.ones(len(noise), shape[0]).bool()}
        )

    def text_parts(self) -> tuple[nn.Module, str]:
        return nn.Identity(), "noise"

    def null_condition(self) -> Condition:
        return self.encode_text([""])

    def forward(self, condition: Condition, **_: Any) -> list[Any]:
        raise ValueError("the workload's decoders are teachers only")

    def loss(self, condition: Condition, media: Sequence[Any]) -> Tensor:
        raise ValueError("the workload's decoders are teachers only")


def home() -> Path:
    """Where the workload's files stay between runs."""
    folder = cache() / "benchmarks" / "workload"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def seeded(*parts: Any) -> torch.Generator:
    """A generator that some parts seed."""
    return torch.Generator().manual_seed(int(digest(*parts)[:15], 16))


def vocabulary() -> list[str]:
    """Pronounceable words, all different."""
    chance = random.Random(SEED)
    found: dict[str, None] = {}
    while len(found) < WORDS:
        found[
            "".join(chance.choice("bdfgklmnprstvz") + chance.choice("aeiou") for _ in range(chance.choice((2, 3))))
        ] = None
    return list(found)


def captions() -> list[str]:
    """40 captions of 24 to 36 words, 29.9 in the mean, a word being a token."""
    chance, words = random.Random(SEED), vocabulary()
    lengths = [*BEGIN, *(chance.randint(LOW, HIGH) for _ in range(40 - len(BEGIN)))]
    while (missing := round(40 * MEAN) - sum(lengths)) != 0:
        place, step = chance.randrange(len(BEGIN), 40), 1 if missing > 0 else -1
        lengths[place] = min(HIGH, max(LOW, lengths[place] + step))
    return [" ".join(chance.choices(words, k=length)) for length in lengths]


def tokenizer(folder: Path) -> Path:
    """Pieces in which a word of a caption is one, and "Assistant" many, as a tokenizer of 2,000 pieces has it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    spoken = [*"###", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,:;!?()[]<>/'\"-0123456789\n"]
    words = [f"▁{word}" for word in (*vocabulary(), *PROMPT.split(), *SAID.split(), "Human")]
    score = [
        (piece, 0.0 if piece in words else -2.0) for piece in ["<unk>", "<s>", "</s>", *spoken, *words, "###", "▁"]
    ]
    core = Tokenizer(models.Unigram(score, unk_id=0, byte_fallback=False))
    core.normalizer = normalizers.Replace(" ", "▁")
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    ).save_pretrained(folder)
    return folder


def media(key: str, number: int, folder: Path) -> Path:
    """Picture, sound or film `number` of the workload, written once."""
    path = folder / f"{key}-{number}.{ {'image': 'jpg', 'audio': 'wav', 'video': 'mp4'}[key] }"
    if path.is_file():
        return path
    generator = seeded(SEED, key, number)
    part = path.with_name(f"part-{path.name}")
    if key == "image":
        coarse = torch.rand(1, 3, 16, 16, generator=generator)
        pixels = nn.functional.interpolate(coarse, (256, 256), mode="bicubic").clamp(0, 1)[0]
        Image((255 * pixels).to(torch.uint8)).save(part)
    elif key == "audio":
        time = torch.arange(10 * 48000) / 48000
        tones = [torch.sin(2 * torch.pi * float(f) * time) for f in 100 + 4000 * torch.rand(2, generator=generator)]
        Audio(0.3 * torch.stack(tones), 48000).save(part)
    else:
        film(part, FRAMES[number], 25 if number % 2 else 30, generator)
    part.rename(path)
    return path


def film(path: Path, count: int, rate: int, generator: torch.Generator) -> None:
    """A picture that drifts, 336 x 596, H.264."""
    coarse = torch.rand(1, 3, 12, 40, generator=generator)
    wide = nn.functional.interpolate(coarse, (336, 596 + 2 * count), mode="bilinear")[0]
    strip = (255 * wide).to(torch.uint8).permute(1, 2, 0).numpy()
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 596, 336, "yuv420p"
        for number in range(count):
            frame = np.ascontiguousarray(strip[:, 2 * number : 2 * number + 596])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode(None))


def config(folder: Path, *, lora: bool = False, media: bool = True) -> Config:
    """The workload's model as a checked configuration, or its LLM alone; `folder` holds its words."""
    llm: dict[str, Any] = {"path": LLAMA, "tokenizer": str(tokenizer(folder / "words")), "template": "vicuna_v0"}
    llm |= {"added_tokens": ["<Img>", "</Img>"]}
    if lora:
        llm["lora"] = {"r": 32, "alpha": 32, "dropout": 0.1, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"]}
    if not media:
        return check({"seed": SEED, "llm": llm})
    encoders = {
        "vision": {**TOWER, "trunk": "vision", "clips": 5, "crops": 3},
        "sound": {**TOWER, "trunk": "audio", "clips": 3},
    }
    inputs = {
        key: {
            "encoder": "sound" if key == "audio" else "vision",
            "projector": {"type": "linear"} if key == "image" else {"share": "inputs.image.projector"},
        }
        for key in COUNTS
    }
    outputs = {
        key: {
            "tokens": TOKENS[key],
            "projector": {"type": "transformer"},
            "decoder": {"type": "workload:Teacher", "length": length, "dim": dim},
        }
        for key, (length, dim) in CONDITIONS.items()
    }
    return check({"seed": SEED, "llm": llm, "encoders": encoders, "inputs": inputs, "outputs": outputs})


def feed(stage: int, key: str, count: int, folder: Path) -> Feed:
    """The dialogues of a stage that a batch of `count` records after the other reads: (i mod 40) captions, media."""
    told = captions()
    records = []
    for i in range(count):
        caption = told[i % len(told)]
        shown = {"type": key, "caption": caption}
        heard: list[dict[str, Any]] = [{"type": "text", "text": caption}]
        said: list[dict[str, Any]] = [{"type": "text", "text": caption}]
        if stage == 1:
            heard = [{"type": key, "path": str(media(key, i % COUNTS[key], folder))}, {"type": "text", "text": PROMPT}]
        elif stage == 2:
            said.append(shown)
        else:
            said = [{"type": "text", "text": SAID}, *([shown] if key in TOKENS else [])]
        records.append(
            {"id": str(i), "messages": [{"role": "user", "content": heard}, {"role": "assistant", "content": said}]}
        )
    return Feed(f"stage {stage}, {key}", records)
