"""A LLaMA in Meta's names and in Meta's arithmetic: pairs turned as complex numbers, prompts in a softmax of their own.

Nothing here looks at the converters. Facts: reference sheets 1.16 and 1.17; the published state dicts of the goldens.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

Shapes = dict[str, tuple[int, ...]]
State = dict[str, Tensor]
TRUE = {"width": 4096, "heads": 32, "layers": 32, "inner": 11008, "rows": 32000, "rank": 16, "tokens": 10}
TRUE |= {"prompted": 31, "hidden": 768, "encoded": 768, "blocks": 8}
SMALL = {"width": 32, "heads": 4, "layers": 3, "inner": 48, "rows": 330, "rank": 4, "tokens": 3}
SMALL |= {"prompted": 2, "hidden": 16, "encoded": 12, "blocks": 2}


def maps(sizes: dict[str, int]) -> dict[str, tuple[int, int]]:
    """The linear maps of a layer: width out, width in."""
    width, inner = sizes["width"], sizes["inner"]
    attention = {f"attention.{side}": (width, width) for side in ("wq", "wk", "wv", "wo")}
    return attention | {
        "feed_forward.w1": (inner, width),
        "feed_forward.w2": (width, inner),
        "feed_forward.w3": (inner, width),
    }


def llm(sizes: dict[str, int], *, biases: bool, lora: bool, whole: bool) -> Shapes:
    """What a file has of the LLM: gates always, the rest by its stage."""
    width, found = sizes["width"], Shapes()
    for layer in range(sizes["layers"]):
        prefix = f"llama.layers.{layer}."
        found[f"{prefix}attention.gate"] = (1, sizes["heads"], 1, 1)
        for name, (out, into) in maps(sizes).items():
            room, side = name.split(".")
            if whole:
                found[f"{prefix}{name}.weight"] = (out, into)
            if biases and side not in ("wk", "wv"):
                found[f"{prefix}{name}.bias"] = (out,)
            if lora:
                found[f"{prefix}{room}.lora_{side}_l1.weight"] = (sizes["rank"], into)
                found[f"{prefix}{room}.lora_{side}_l2.weight"] = (out, sizes["rank"])
        if biases:
            found |= {f"{prefix}attention_norm.weight": (width,), f"{prefix}ffn_norm.weight": (width,)}
    if biases:
        found["llama.norm.weight"] = (width,)
    if whole:
        found |= {f"llama.{name}.weight": (sizes["rows"], width) for name in ("tok_embeddings", "output")}
    return found


def adapter_v2(sizes: dict[str, int]) -> Shapes:
    """Prompts and the eye of LLaMA-Adapter V2."""
    width, hidden = sizes["width"], sizes["hidden"]
    found: Shapes = {"adapter_query.weight": (sizes["prompted"] * sizes["tokens"], width)}
    found |= {"clip_proj.weight": (hidden, sizes["encoded"]), "clip_proj.bias": (hidden,)}
    found |= {"visual_query.weight": (sizes["tokens"], hidden)}
    found |= {"visual_proj.weight": (width, hidden), "visual_proj.bias": (width,)}
    norms = {"clip_proj_norm": hidden, "visual_proj_norm": width}
    for block in range(sizes["blocks"]):
        prefix = f"visual_blocks.{block}."
        norms |= {f"{prefix}norm1": hidden, f"{prefix}norm2": hidden}
        linear = {"attn.qkv": (3 * hidden, hidden), "attn.proj": (hidden, hidden)}
        linear |= {"mlp.fc1": (4 * hidden, hidden), "mlp.fc2": (hidden, 4 * hidden)}
        for name, shape in linear.items():
            found |= {f"{prefix}{name}.weight": shape, f"{prefix}{name}.bias": shape[:1]}
    return found | {f"{name}.{leaf}": (dim,) for name, dim in norms.items() for leaf in ("weight", "bias")}


def imagebind_llm(sizes: dict[str, int]) -> Shapes:
    """Prompts and the bridge of ImageBind-LLM."""
    width = sizes["width"]
    found: Shapes = {"prefix_query.weight": (sizes["prompted"], width)}
    found |= {"image_bind_proj.weight": (width, sizes["encoded"]), "image_bind_proj.bias": (width,)}
    for block in "123":
        found |= {f"image_bind_norm_{block}.weight": (width,), f"image_bind_f2_{block}.weight": (width, 4 * width)}
        found |= {f"image_bind_f{side}_{block}.weight": (4 * width, width) for side in "13"}
    return found


def random(shapes: Shapes, prompted: int) -> State:
    """Weights of one size everywhere; gates are zero where no prompts are, as training leaves them."""
    state = {n: torch.randn(shape) * (0.3 if len(shape) > 1 else 0.1) for n, shape in shapes.items()}
    state |= {n: x + 1 for n, x in state.items() if "norm" in n and n.endswith("weight")}
    gates = [name for name in state if name.endswith("gate")]
    return state | {name: torch.zeros_like(state[name]) for name in gates[: len(gates) - prompted]}


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def mapped(state: State, name: str, x: Tensor) -> Tensor:
    """A linear map with what was trained beside it; LoRA is not scaled."""
    room, side = name.rsplit(".", 1)
    y = F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))
    first = state.get(f"{room}.lora_{side}_l1.weight")
    return y if first is None else y + x @ first.T @ state[f"{room}.lora_{side}_l2.weight"].T


def logits(state: State, ids: Tensor, prompts: Tensor, heads: int, *, eps: float = 1e-6) -> Tensor:
    """The whole LLM over words; `prompts` (k, b, l, d) are those of its last layers."""
    x = state["llama.tok_embeddings.weight"][ids]
    depth = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("llama.layers."))
    length, f = ids.shape[1], x.shape[-1] // heads
    rates = 10000.0 ** (-torch.arange(0, f, 2).float() / f)
    turns = torch.polar(torch.ones(length, f // 2), torch.outer(torch.arange(length).float(), rates))[:, None]

    def rotated(y: Tensor) -> Tensor:
        return torch.view_as_real(torch.view_as_complex(y.reshape(*y.shape[:-1], -1, 2)) * turns).flatten(-2)

    future = torch.full((length, length), -torch.inf).triu(1)
    for layer in range(depth):
        here = f"llama.layers.{layer}.attention."
        read = norm(x, state[f"llama.layers.{layer}.attention_norm.weight"], eps)
        q, k, v = (mapped(state, f"{here}w{side}", read).unflatten(-1, (heads, f)) for side in "qkv")
        q, k = rotated(q), rotated(k)
        scores = torch.einsum("bihf,bjhf->bhij", q, k) * f**-0.5 + future
        y = torch.einsum("bhij,bjhf->bihf", scores.softmax(-1), v)
        place = layer - depth + len(prompts)
        if place >= 0:
            ka, va = (
                F.linear(prompts[place], state[f"{here}w{side}.weight"]).unflatten(-1, (heads, f)) for side in "kv"
            )
            found = torch.einsum("bihf,bjhf->bhij", q, ka) * f**-0.5
            y = y + torch.einsum("bhij,bjhf->bihf", state[f"{here}gate"].tanh() * found.softmax(-1), va)
        x = x + mapped(state, f"{here}wo", y.flatten(2))
        here = f"llama.layers.{layer}.feed_forward."
        read = norm(x, state[f"llama.layers.{layer}.ffn_norm.weight"], eps)
        x = x + mapped(state, f"{here}w2", F.silu(mapped(state, f"{here}w1", read)) * mapped(state, f"{here}w3", read))
    return norm(x, state["llama.norm.weight"], eps) @ state["llama.output.weight"].T
