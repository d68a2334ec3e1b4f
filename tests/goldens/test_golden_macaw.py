"""Macaw-LLM whole: towers, compression, attention to the vocabulary, the order of media, the LLM's loss, gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from golden import Case, cases, required
from test_golden_resamplers import Part, Parts
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from anyx.encoders.clip import ClipEncoder
from anyx.encoders.whisper import WhisperEncoder
from anyx.interfaces import Encoder, Tokens
from anyx.lexicon import LexiconInputProjector
from anyx.splice import IGNORE, PLACEHOLDER, splice

ORDER = ("image", "audio", "video")


def below(case: Case, prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in case.weights().items() if key.startswith(prefix)}


def count(names: dict[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)})


def loaded(module: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """All of a tower's weights; what it lacks of the file is not of the tower."""
    missing = module.load_state_dict(state, strict=False).missing_keys
    assert not missing, missing
    return module


def clip(case: Case, key: str, size: int, heads: int) -> ClipEncoder:
    state = {name.removeprefix("vision_model."): x for name, x in below(case, f"{key}_encoder.vision_model.").items()}
    width, _, patch, _ = state["embeddings.patch_embedding.weight"].shape
    config = {
        "hidden_size": width,
        "patch_size": patch,
        "image_size": size,
        "num_hidden_layers": count(state, "encoder.layers."),
        "num_attention_heads": heads,
        "intermediate_size": len(state["encoder.layers.0.mlp.fc1.bias"]),
    }
    encoder = ClipEncoder(config=config, layer=-1).eval()
    own: Any = encoder.tower
    prefix = "vision_model." if any(name.startswith("vision_model.") for name in own.state_dict()) else ""
    loaded(own, {f"{prefix}{name}": tensor for name, tensor in state.items()})
    return encoder


def whisper(case: Case, heads: int) -> WhisperEncoder:
    state = below(case, "audio_encoder.encoder.")
    width, mels, _ = state["conv1.weight"].shape
    config = {
        "d_model": width,
        "num_mel_bins": mels,
        "max_source_positions": len(state["embed_positions.weight"]),
        "encoder_layers": count(state, "layers."),
        "encoder_ffn_dim": len(state["layers.0.fc1.bias"]),
        "encoder_attention_heads": heads,
        "decoder_layers": 1,
        "decoder_attention_heads": heads,
        "vocab_size": 8,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
    }
    encoder = WhisperEncoder(config=config).eval()
    loaded(encoder.tower, state)
    return encoder


def fitting(case: Case, build: Any, run: Any, wanted: Tensor, width: int) -> Any:
    """The sidecar does not say how many heads a tower has: of the numbers that divide its width, the one that fits."""
    found = []
    for heads in (heads for heads in range(1, width + 1) if width % heads == 0):
        encoder = build(heads)
        with torch.no_grad():
            found.append(((run(encoder) - wanted).abs().max().item(), heads))
    return build(min(found)[1])


@pytest.mark.parametrize("found", cases("13_macaw", "alignment*"))
def test_alignment(found: Case | None) -> None:
    case = required(found)
    given, shapes = case.part("in"), case.shapes
    pixels = {"image": given["images"].requires_grad_(), "video": given["videos"].requires_grad_()}
    mels = given["audios"].requires_grad_()
    llm = language_model(case)
    projectors = {key: projector(case, key) for key in ORDER}
    encoders: dict[str, Encoder] = {}

    def seen(key: str, encoder: Encoder) -> Tokens:
        """CLIP's patches, those of a video's frames end to end."""
        shots = pixels[key]
        values = encoder({"pixels": shots.reshape(-1, *shots.shape[-3:])}).values
        return Tokens.full(values.reshape(len(shots), -1, values.shape[-1]))

    for key in ("image", "video"):
        width = shapes[f"{key}_encoder.vision_model.embeddings.class_embedding"][0]
        encoders[key] = fitting(
            case,
            lambda heads, key=key: clip(case, key, pixels[key].shape[-1], heads),
            lambda encoder, key=key: features(projectors[key], seen(key, encoder)),
            case.tensors[f"out.{key}_features"],
            width,
        )
    encoders["audio"] = fitting(
        case,
        lambda heads: whisper(case, heads),
        lambda encoder: encoder({"mel": mels}).values,
        case.tensors["out.audio_features"],
        shapes["audio_encoder.encoder.conv1.weight"][0],
    )
    tokens = {key: seen(key, encoders[key]) for key in ("image", "video")}
    tokens["audio"] = encoders["audio"]({"mel": mels})
    outputs = {f"{key}_features": features(projectors[key], tokens[key]) for key in ORDER}
    outputs["image_query"] = projectors["image"].queries(tokens["image"])
    table = llm.get_input_embeddings().weight
    read = {key: projectors[key](tokens[key], table) for key in ORDER}

    rows, length = given["input_ids"].shape
    begins = [torch.stack([given[f"{key}_{edge}s"] for edge in ("start", "end")], 1) for key in ORDER]
    place = torch.full((rows, 1), PLACEHOLDER)
    blocks = [torch.cat([edges[:, :1], place, edges[:, 1:]], 1) for edges in begins]
    ids = torch.cat([given["input_ids"][:, :1], *blocks, given["input_ids"][:, 1:]], 1)
    labels = torch.full_like(ids, IGNORE)
    labels[:, :1], labels[:, 1 - length :] = given["labels"][:, :1], given["labels"][:, 1:]
    media = {key: (torch.arange(rows), torch.full((rows,), 2 + 3 * i), read[key]) for i, key in enumerate(ORDER)}
    spliced = splice(llm.get_input_embeddings()(ids.clamp(min=0)), ids, media, torch.ones_like(ids).bool(), labels)
    extra = spliced.mask.shape[1] - length
    mask = torch.cat([given["attention_mask"].new_ones(rows, extra), given["attention_mask"]], 1)
    answer = llm(inputs_embeds=spliced.embeddings, attention_mask=mask, labels=spliced.labels)
    outputs |= {"inputs_embeds": spliced.embeddings, "loss": answer.loss}
    assert torch.equal(mask, case.tensors["out.attention_mask"])
    assert torch.equal(spliced.labels, case.tensors["out.labels"])
    case.compare(outputs)
    parts = parameters(case, llm, projectors, encoders)
    inputs = {"images": pixels["image"], "videos": pixels["video"], "audios": mels}
    case.compare_gradients(outputs, inputs, parts)  # type: ignore[arg-type]


def language_model(case: Case) -> LlamaForCausalLM:
    state = below(case, "llm.")
    words, dim = state["lm_head.weight"].shape
    (turns,) = next(x.shape for name, x in state.items() if name.endswith("inv_freq"))
    config = LlamaConfig(
        vocab_size=words,
        hidden_size=dim,
        intermediate_size=len(state["model.layers.0.mlp.gate_proj.weight"]),
        num_hidden_layers=count(state, "model.layers."),
        num_attention_heads=dim // (2 * turns),
        tie_word_embeddings=False,
    )
    llm = LlamaForCausalLM(config).eval()
    loaded(llm, {name: tensor for name, tensor in state.items() if not name.endswith("inv_freq")})
    return llm


def projector(case: Case, key: str) -> LexiconInputProjector:
    shapes, sizes = case.shapes, case.sizes
    kernel, stride = sizes["conv"][key]
    hidden = shapes.get(f"{key}_encoder.visual_projection.weight")
    dim_in = hidden[1] if hidden else shapes[f"project_{key}.weight"][1]
    made = LexiconInputProjector(
        dim_in,
        sizes["lm"],
        kernel=kernel,
        stride=stride,
        heads=sizes["align_heads"],
        hidden=hidden[0] if hidden else None,
        mix=sizes["attention_heads"] if key == "video" else 0,
    ).eval()
    pieces(made, key).fill({name: x for name, x in case.weights().items() if name in pieces(made, key)})
    return made


def pieces(made: LexiconInputProjector, key: str) -> Parts:
    """A projector's parameters by Macaw's names."""
    modules: dict[str, Any] = {f"project_{key}": made.shorten, f"transform_{key}_to_hidden": made.proj}
    modules[f"{key}_align_attention.out_proj"] = made.attn.out_proj
    parts = Parts()
    attentions = {f"{key}_align_attention": made.attn}
    if made.mix is not None:
        attentions["video_long_self_attention"] = made.mix
        modules["video_long_self_attention.out_proj"] = made.mix.out_proj
    for name, module in modules.items():
        parts |= {f"{name}.weight": Part(module.weight), f"{name}.bias": Part(module.bias)}
    for name, attention in attentions.items():
        for own in ("in_proj_weight", "in_proj_bias", "bias_k", "bias_v"):
            parts[f"{name}.{own}"] = Part(getattr(attention, own))
    if key != "audio":
        parts[f"{key}_encoder.visual_projection.weight"] = Part(made.proj_in.weight)  # type: ignore[arg-type]
    return parts


def features(made: LexiconInputProjector, tokens: Tokens) -> Tensor:
    """What Macaw calls a modality's features: what its convolution reads."""
    kept: list[Tensor] = []
    hook = made.shorten.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0].mT))
    made.queries(tokens)
    hook.remove()
    return kept[0]


def parameters(case: Case, llm: nn.Module, projectors: Any, encoders: Any) -> Any:
    """All parameters by Macaw's names; what has no gradient there, and is not built here, has none here either."""
    parts = Parts({f"llm.{name}": Part(p) for name, p in llm.named_parameters()})
    for key in ORDER:
        parts |= pieces(projectors[key], key)
        within = "audio_encoder.encoder" if key == "audio" else f"{key}_encoder.vision_model"
        for name, p in encoders[key].tower.named_parameters():
            parts[f"{within}.{name.removeprefix('vision_model.')}"] = Part(p)
    absent = nn.Parameter(torch.zeros(1))
    unused = {name for name, norm in case.sidecar["param_grad_l2"].items() if norm is None} - parts.keys()
    assert parts.keys() | unused >= case.sidecar["param_grad_l2"].keys()
    return Parts({**parts, **{name: Part(absent) for name in unused}})
