"""LLaMA-Adapter V1 and V2 and ImageBind-LLM: the whole of each through transformers' Llama with our adapters in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import Case, cases, required
from meta import Renamed, halves, same
from peft import inject_adapter_in_model
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from anyx.adapters.body import Body, Frame, inner, published
from anyx.adapters.prompts import ZeroInitPrompts
from anyx.adapters.tuned import Tuned
from anyx.bridges import BridgeInputProjector, QueryBlocksInputProjector, mixed
from anyx.context import Context, carry
from anyx.converters.keys import Layout, Rule
from anyx.converters.llama_adapter import EYE, LEAVES, bridge_rules, query_block_rules
from anyx.converters.meta import (
    GATE,
    MODULES,
    PROMPTS,
    TUNED,
    TURNED,
    body_rules,
    lora_rules,
    prompt_rules,
    tuned_rules,
)
from anyx.interfaces import InputProjector, Reading, Tokens
from anyx.lora import lora_config

SIDES = {theirs: ours.split(".")[1] for theirs, (ours, _, _) in MODULES.items()}  # there, with its room: here, without
IGNORED = 0  # the label that the reference's loss leaves out


def named(rules: Sequence[Rule], shapes: Mapping[str, list[int]]) -> Mapping[str, str]:
    """The names that rules of a converter know: there -> here."""
    return Layout(rules, LEAVES).classify({name: tuple(shape) for name, shape in shapes.items()}).names


class Adapted:
    """A Llama of a case's sizes with prompts in its last layers, and biases, norms and LoRA where the case has them."""

    def __init__(self, case: Case, prefix: str, queries: str, layers: int) -> None:
        shapes = case.shapes
        heads = next(shape[1] for name, shape in shapes.items() if name.endswith("attention.gate"))
        vocabulary, dim = shapes[f"{prefix}.tok_embeddings.weight"]
        depth = len({name.split(".")[2] for name in shapes if name.startswith(f"{prefix}.layers.")})
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=dim,
            intermediate_size=shapes[f"{prefix}.layers.0.feed_forward.w1.weight"][0],
            num_hidden_layers=depth,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            rms_norm_eps=1e-5,
            tie_word_embeddings=False,
        )
        self.model = LlamaForCausalLM(config).eval()
        rank = next((shape[0] for name, shape in shapes.items() if "lora_wq_l1" in name), 0)
        if rank:
            lora = {"r": rank, "targets": list(SIDES.values())}
            inject_adapter_in_model(lora_config(lora), self.model)
        body = Body(self.model)
        first = f"{prefix}.layers.0."
        biases = sorted(side for name, side in SIDES.items() if f"{first}{name}.bias" in shapes)
        self.tuned = Tuned(body, "tuned", biases=biases) if biases else None
        scaled = any(name.endswith("new_gate") for name in shapes)
        self.prompts = ZeroInitPrompts(
            body, "prompts", layers=layers, tokens=shapes[queries][0] // layers, scaled=scaled
        )
        self.names = Renamed()
        self.model.requires_grad_(True)
        rules = [*prompt_rules(queries.removesuffix(".weight")), *tuned_rules(), *lora_rules(), *body_rules()]
        known = {name if name == queries else f"llama{name.removeprefix(prefix)}": name for name in shapes}
        for name, ours in named(rules, {name: shapes[theirs] for name, theirs in known.items()}).items():
            change = halves(heads) if TURNED.search(ours) else same
            shape = shapes[known[name]]
            self.names.add(known[name], self.parameter(ours, shape, depth - layers), change)
        for name in (name for name in shapes if name.endswith("new_gate")):  # no file with it is converted
            place = int(name.split(".")[2]) - (depth - layers)
            self.names.add(name, self.prompts.scales[place] if place >= 0 else nn.Parameter(torch.zeros(shapes[name])))

    def parameter(self, name: str, shape: list[int], plain: int) -> nn.Parameter:
        """Ours by its name in a converted folder; gates of layers that have no prompts are nobody's."""
        if name == PROMPTS:
            return self.prompts.prompts
        if name.startswith(GATE):
            place = int(name.removeprefix(GATE)) - plain
            return self.prompts.gates[place] if place >= 0 else nn.Parameter(torch.zeros(shape))
        if name.startswith(TUNED):
            where = self.tuned if self.tuned is not None else self.model.model
            return where.get_parameter(name.removeprefix(TUNED))
        _, part, path = name.split(".", 2)
        path, _, leaf = path.rpartition(".")
        if part == "lora":
            return self.model.get_parameter(f"{path}.default.{leaf}")
        return inner(self.model.get_submodule(path)).get_parameter(leaf)

    def loss(self, tokens: Tensor, labels: Tensor, media: Tensor | None) -> Tensor:
        with carry(self.context(media)):
            logits = self.model(input_ids=tokens, use_cache=False).logits
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)

    def steps(self, blocks: list[Tensor], media: Tensor) -> list[Tensor]:
        """Logits at the last position of each block of tokens, read one after the other with a cache."""
        cache, said = DynamicCache(config=self.model.config), []
        with torch.no_grad(), carry(self.context(media)):
            for block in blocks:
                out = self.model(input_ids=block, past_key_values=cache, use_cache=True)
                said.append(out.logits[:, -1])
        return said

    def context(self, media: Tensor | None) -> Context:
        return Context({} if media is None else {"prompts": Reading({"media": media})})


@pytest.mark.parametrize("found", cases("12_llama_adapter", "v1*"))
def test_v1(found: Case | None) -> None:
    case = required(found)
    sizes, inputs = case.sizes, case.part("in")
    whole = Adapted(case, "model", "model.adapter_query.weight", sizes["adapter_layer"])
    names, weights = whole.names, case.weights()

    shape = case.shapes["attention.gate"]
    config = LlamaConfig(
        vocab_size=2,
        hidden_size=case.shapes["attention.wq.weight"][1],
        intermediate_size=1,
        num_hidden_layers=1,
        num_attention_heads=shape[1],
        num_key_value_heads=shape[1],
    )
    model = LlamaForCausalLM(config).eval()
    attention = model.model.layers[0].self_attn
    alone = ZeroInitPrompts(Body(model), "alone", layers=1, tokens=inputs["adapter"].shape[1])
    nn.init.zeros_(alone.prompts)
    names.add("attention.gate", alone.gates[0])
    for theirs in (name for name in MODULES if name.startswith("attention.")):
        change = halves(shape[1]) if theirs in ("attention.wq", "attention.wk") else same
        names.add(f"{theirs}.weight", attention.get_parameter(f"{SIDES[theirs]}.weight"), change)
    names.load(weights)
    # The reference, as published, rounds the opened gates of this attention to float16 (the sidecar's notes).
    alone.opened = lambda place: alone.gates[place].tanh().half().float()  # type: ignore[method-assign]

    x, adapter = inputs["x"].requires_grad_(), inputs["adapter"].requires_grad_()
    turn = model.model.rotary_emb(x, torch.arange(x.shape[1])[None])
    outputs: dict[str, Tensor] = {}
    with published(Frame({"alone": {"media": adapter}}, {"position_embeddings": turn})):
        outputs["attn_adapter"], _ = attention(x, position_embeddings=turn)
    outputs["attn_plain"], _ = attention(x, position_embeddings=turn)
    plain = whole.model.config.num_hidden_layers - sizes["adapter_layer"]
    first = (whole.model.model.embed_tokens, *whole.model.model.layers[:plain])
    for module in first:  # the reference runs them without gradients
        module.requires_grad_(False)
    outputs["loss"] = whole.loss(inputs["examples"], inputs["labels"], None)
    case.compare(outputs)
    case.compare_gradients(outputs, {"x": x, "adapter": adapter}, names)  # type: ignore[arg-type]


def prefill(case: Case, made: Adapted, media: Tensor) -> Tensor:
    """The logits after what was read at once: ImageBind-LLM's notes do not say how much, so it is the nearest."""
    tokens, wanted = case.part("in")["tokens"], case.tensors["out.logits_prefill"]
    found = [made.steps([tokens[:, :length]], media)[0] for length in range(1, tokens.shape[1] + 1)]
    return min(found, key=lambda logits: float((logits - wanted).abs().max()))


def query_blocks(case: Case, names: Renamed) -> QueryBlocksInputProjector:
    shapes, sizes = case.shapes, case.sizes
    hidden, dim_in = shapes["clip_proj.weight"]
    tokens, depth = shapes["visual_query.weight"][0], len({k.split(".")[1] for k in shapes if "visual_blocks" in k})
    projector = QueryBlocksInputProjector(
        dim_in, shapes["visual_proj.weight"][0], tokens=tokens, depth=depth, hidden=hidden, heads=sizes["vh"]
    )
    for name, ours in named(query_block_rules(), shapes).items():
        names.add(name, projector.get_parameter(ours.removeprefix(EYE)))
    return projector


@pytest.mark.parametrize("found", cases("12_llama_adapter", "v2_multimodal*"))
def test_v2(found: Case | None) -> None:
    case = required(found)
    inputs = case.part("in")
    made = Adapted(case, "llama", "adapter_query.weight", case.sizes["qlay"])
    projector = query_blocks(case, made.names)
    made.names.load(case.weights())
    seen = inputs["clip_feats"].requires_grad_()
    media = projector(Tokens.full(seen)).values
    outputs = {"visual_query": media, "loss": made.loss(inputs["tokens"], inputs["labels"], media)}
    case.compare(outputs)
    case.compare_gradients(outputs, {"clip_feats": seen}, made.names)  # type: ignore[arg-type]
    tokens = inputs["tokens"]
    read = re.search(r"tokens\[:, :(\d+)\]", case.sidecar["notes"])
    assert read
    first = int(read.group(1))
    said = made.steps([tokens[:, :first], tokens[:, first : first + 1]], media.detach())
    case.compare({"logits_prefill": said[0], "logits_step": said[1]})


def bridge(case: Case, names: Renamed, **more: Any) -> InputProjector:
    shapes = case.shapes
    dim_out, dim_in = shapes["image_bind_proj.weight"]
    depth = sum(name.startswith("image_bind_norm_") for name in shapes)
    ratio = shapes["image_bind_f1_1.weight"][0] // dim_out
    projector = BridgeInputProjector(dim_in, dim_out, depth=depth, mlp_ratio=ratio, **more)
    for name, ours in named(bridge_rules(), shapes).items():
        names.add(name, projector.get_parameter(ours.removeprefix(EYE)))
    return projector


@torch.no_grad()
def second_weight(projector: InputProjector, image: Tensor, sound: Tensor, wanted: Tensor) -> float:
    """How much the sound weighs beside the image's 1: the sidecar does not say, so it is the best of round numbers."""

    def error(weight: float) -> float:
        made = projector(Tokens.full(mixed([image, sound], [1.0, weight]))).values
        return float((made - wanted).abs().max())

    return min((number / 20 for number in range(1, 41)), key=error)


@pytest.mark.parametrize("found", cases("12_llama_adapter", "imagebind_llm*"))
def test_imagebind_llm(found: Case | None, tmp_path: Path) -> None:
    case = required(found)
    inputs, sizes = case.part("in"), case.sizes
    made = Adapted(case, "llama", "prefix_query.weight", sizes["ql"])
    projector = bridge(case, made.names, unit=False)
    made.names.load(case.weights())
    given = {name: inputs[name].requires_grad_() for name in ("image", "audio")}
    image, sound = (tensor[:, None] for tensor in given.values())
    media = projector(Tokens.full(mixed([image], [1.0]))).values
    weights = [1.0, second_weight(projector, image, sound, case.tensors["out.feat_image_audio"])]
    both = projector(Tokens.full(mixed([image, sound], weights))).values
    loss = made.loss(inputs["tokens"], inputs["labels"], media)
    outputs = {"feat_image": media, "feat_image_audio": both, "loss": loss}
    case.compare(outputs)
    case.compare_gradients(outputs, given, made.names)  # type: ignore[arg-type]

    save_file({"prototypes": inputs["knn_db"]}, tmp_path / "memory.safetensors")
    recall = {
        "memory": str(tmp_path / "memory.safetensors"),
        "neighbours": sizes["cache_size"],
        "sharpness": sizes["cache_t"],
        "share": sizes["cache_weight"],
    }
    names = Renamed()
    mindful = bridge(case, names, **recall)
    names.load({name: weight for name, weight in case.weights().items() if name.startswith("image_bind")})
    with torch.no_grad():
        found_near = mindful(Tokens.full(image[:1])).values
    case.compare({"feat_knn_first_sample": found_near[None]})
    case.compare({"logits_prefill": prefill(case, made, media.detach())})
