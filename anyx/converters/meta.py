"""LLaMA in Meta's names, as the checkpoints of LLaMA-Adapter V2 and ImageBind-LLM have it: which tensor is which here.

Meta turns queries and keys by their positions in neighbouring pairs, transformers half against half: rows of wq and wk,
the bias of wq, and the second half of their LoRA change places (`halves`), and back (`pairs`). Prompts of all layers
are one table there, a gate is (1, h, 1, 1) and stands in layers without prompts too, where no gradient reaches it.

Letters: h heads, f features of a head, d width, k layers with prompts, l prompts of a layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoConfig

from anyx.config import Config
from anyx.converters.keys import Rule
from anyx.converters.systems import State

LAYER = "llama.layers.{layer}."
BODY, LORA = "llm.body.model.layers.{layer}.", "llm.lora.model.layers.{layer}."
TUNED, PROMPTS, GATE = "llm.adapters.tuned.", "llm.adapters.prompts.prompts", "llm.adapters.prompts.gates."
MODULES = {  # there: here, width out, width in
    "attention.wq": ("self_attn.q_proj", "width", "width"),
    "attention.wk": ("self_attn.k_proj", "width", "width"),
    "attention.wv": ("self_attn.v_proj", "width", "width"),
    "attention.wo": ("self_attn.o_proj", "width", "width"),
    "feed_forward.w1": ("mlp.gate_proj", "inner", "width"),
    "feed_forward.w2": ("mlp.down_proj", "width", "inner"),
    "feed_forward.w3": ("mlp.up_proj", "inner", "width"),
}
UNBIASED = ("attention.wk", "attention.wv")
NORMS = {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
TURNED = re.compile(r"\.self_attn\.[qk]_proj\.(weight|bias|lora_B\.weight)$")
NORM = re.compile(r"^llm\.body\.model\.(.*norm\.weight)$")
NUMBERED = re.compile(r"\.layers\.(\d+)\.")


def prompt_rules(queries: str) -> list[Rule]:
    """The prompts of all layers, under the name that a system has for them, and the gates."""
    return [
        Rule(f"{queries}.weight", PROMPTS, "prompts width"),
        Rule(f"{LAYER}attention.gate", f"{GATE}{{layer}}", "1 heads 1 1"),
    ]


def tuned_rules() -> list[Rule]:
    """Biases and norms."""
    biases = [
        Rule(f"{LAYER}{name}.bias", f"{TUNED}layers.{{layer}}.{ours}.bias", out)
        for name, (ours, out, _) in MODULES.items()
        if name not in UNBIASED
    ]
    norms = [
        Rule(f"{LAYER}{name}.weight", f"{TUNED}layers.{{layer}}.{ours}.weight", "width") for name, ours in NORMS.items()
    ]
    return [*biases, *norms, Rule("llama.norm.weight", f"{TUNED}norm.weight", "width")]


def lora_rules() -> list[Rule]:
    """LoRA on every linear map of the layers."""
    rules = []
    for name, (ours, out, into) in MODULES.items():
        room, side = name.split(".")
        for number, half, shape in ((1, "A", f"rank {into}"), (2, "B", f"{out} rank")):
            theirs = f"{LAYER}{room}.lora_{side}_l{number}.weight"
            rules.append(Rule(theirs, f"{LORA}{ours}.lora_{half}.weight", shape))
    return rules


def body_rules() -> list[Rule]:
    """The LLM's own matrices and tables, where a file has them; its norms are among what was tuned."""
    return [
        Rule("llama.tok_embeddings.weight", "llm.body.model.embed_tokens.weight", "rows width"),
        *(
            Rule(f"{LAYER}{name}.weight", f"{BODY}{ours}.weight", f"{out} {into}")
            for name, (ours, out, into) in MODULES.items()
        ),
        Rule("llama.output.weight", "llm.body.lm_head.weight", "rows width"),
    ]


def halves(x: Float[Tensor, hf * d], heads: int) -> Float[Tensor, hf * d]:
    """Rows of each head from neighbouring pairs (Meta's) to half beside half (transformers')."""
    return x.reshape(heads, -1, 2, *x.shape[1:]).transpose(1, 2).reshape(x.shape)


def pairs(x: Float[Tensor, hf * d], heads: int) -> Float[Tensor, hf * d]:
    """The way back of `halves`."""
    return x.reshape(heads, 2, -1, *x.shape[1:]).transpose(1, 2).reshape(x.shape)


def turned(state: State, change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The same tensors, those that positions turn changed."""
    return {name: change(x) if TURNED.search(name) else x for name, x in state.items()}


def to_ours(state: State, tokens: int) -> dict[str, Tensor]:
    """Prompts by layers, `tokens` in each, the gates of these layers, everything in transformers' order of rows.

    ValueError for prompts that make no whole layers, heads of an odd width, and a gate that is open where no prompts
    are: training does not reach it, so such a file's prompts stand otherwise than was read.
    """
    table = state[PROMPTS]
    gates = {int(name.removeprefix(GATE)): x for name, x in state.items() if name.startswith(GATE)}
    heads, (layers, left) = gates[0].shape[1], divmod(len(table), tokens)
    if left or not 1 <= layers <= len(gates):
        told = f"{len(table)} prompts, {tokens} in a layer"
        raise ValueError(f"{told}, are no whole number of the LLM's {len(gates)} layers")
    if table.shape[1] % (2 * heads):
        raise ValueError(f"{heads} heads of an even width are wanted; the LLM is {table.shape[1]} wide")
    plain = len(gates) - layers
    if opened := [number for number in range(plain) if gates[number].count_nonzero()]:
        raise ValueError(f"the gate of layer {opened[0]} is not zero, but only the last {layers} layers have prompts")
    found = turned({n: x for n, x in state.items() if not n.startswith(GATE)}, partial(halves, heads=heads))
    found[PROMPTS] = table.reshape(layers, tokens, -1)
    found |= {f"{GATE}{number - plain}": gates[number].reshape(heads) for number in range(plain, len(gates))}
    if any(name.startswith("llm.body.") for name in state):  # the body's norms are what the tuned ones grew from
        found |= {
            f"llm.body.model.{name.removeprefix(TUNED)}": x
            for name, x in state.items()
            if name.startswith(TUNED) and name.endswith("norm.weight")
        }
    return found


def to_theirs(state: State, config: Config) -> dict[str, Tensor]:
    """The way back of `to_ours`."""
    gates = {int(name.removeprefix(GATE)): x for name, x in state.items() if name.startswith(GATE)}
    if PROMPTS not in state or sorted(gates) != list(range(len(state[PROMPTS]))):
        raise ValueError(f"llm.adapters.prompts, a zero_init_prompts, is wanted; the model has {len(gates)} gates")
    heads, plain = len(gates[0]), depth(state, config) - len(gates)
    kept = {n: x for n, x in state.items() if not n.startswith(GATE) and not NORM.search(n)}
    found = turned(kept, partial(pairs, heads=heads))
    found[PROMPTS] = state[PROMPTS].flatten(0, 1)
    for number in range(plain + len(gates)):
        gate = gates[number - plain] if number >= plain else torch.zeros_like(gates[0])
        found[f"{GATE}{number}"] = gate.reshape(1, heads, 1, 1)
    return found


def depth(state: State, config: Config) -> int:
    """How many layers the LLM has: by what was tuned in each, else by its configuration."""
    if numbers := [int(found[1]) for name in state if (found := NUMBERED.search(name))]:
        return max(numbers) + 1
    path = config.llm.path if config.llm else None
    try:
        layers: int = AutoConfig.from_pretrained(path).num_hidden_layers
    except (OSError, ValueError) as error:
        raise ValueError(f"llm.path: {path} is wanted on this machine, for how many layers it has") from error
    return layers
