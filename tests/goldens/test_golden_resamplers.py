"""Flamingo's perceiver, Qwen-VL's resampler and mPLUG-Owl's abstractor: one class, held in values and gradients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import pytest
import torch
from golden import Case, cases, required
from torch import Tensor, nn

from anyx.converters import mplug_owl, qwen_vl
from anyx.converters.flamingo import LEAVES, PERCEIVER, perceiver_rules
from anyx.converters.keys import Layout
from anyx.interfaces import Tokens
from anyx.latents import grid_waves, stretched
from anyx.resampling import ResamplerInputProjector


class Part(NamedTuple):
    """Some rows of one of our parameters, by the name the reference has for them."""

    parameter: nn.Parameter
    rows: slice = slice(None)
    shape: tuple[int, ...] = ()

    @property
    def grad(self) -> Tensor | None:
        return None if self.parameter.grad is None else self.parameter.grad[self.rows]

    def fill(self, value: Tensor) -> None:
        with torch.no_grad():
            self.parameter[self.rows].copy_(value.reshape(self.parameter[self.rows].shape))


class Parts(dict[str, Part]):
    """Every parameter of a reference: filled from its weights, asked for its gradients."""

    def fill(self, weights: Mapping[str, Tensor]) -> None:
        assert weights.keys() == self.keys(), sorted(weights.keys() ^ self.keys())
        for name, part in self.items():
            part.fill(weights[name])

    def named_parameters(self) -> Parts:
        return self


def whole(module: nn.Module, names: Mapping[str, str]) -> Parts:
    """Parameters as they are: theirs -> ours."""
    found = dict(module.named_parameters())
    return Parts({theirs: Part(found[ours]) for theirs, ours in names.items()})


def layers(case: Case, prefix: str) -> range:
    return range(len({key.removeprefix(prefix).split(".")[0] for key in case.shapes if key.startswith(prefix)}))


@pytest.mark.parametrize("found", cases("10_flamingo", "perceiver_resampler*"))
def test_perceiver(found: Case | None) -> None:
    case = required(found)
    sizes, weights = case.sizes, case.weights()
    tokens, dim = case.shapes["latents"]
    (frames, media) = (case.shapes.get(name, [0])[0] for name in ("frame_embs", "media_time_embs"))
    hidden = case.shapes["layers.0.1.1.weight"][0]
    projector = ResamplerInputProjector(
        dim,
        dim,
        preset="flamingo",
        tokens=tokens,
        depth=len(layers(case, "layers.")),
        heads=sizes["heads"],
        head_dim=case.shapes["layers.0.0.to_q.weight"][0] // sizes["heads"],
        feed=hidden,
        frames=frames,
    ).eval()
    ours = projector.resampler
    if media:
        ours.media_embeddings = nn.Parameter(torch.zeros(media, dim))
    names = {"frame_embs": "frame_embeddings"} if frames else {}
    names |= {"media_time_embs": "media_embeddings"} if media else {}
    parts = whole(ours, names)
    shapes = {name: tuple(shape) for name, shape in case.shapes.items()}
    for theirs, name in Layout(perceiver_rules(""), LEAVES).classify(shapes).names.items():
        place, rows = name.removeprefix(PERCEIVER), slice(None)
        inner = case.shapes["layers.0.0.to_q.weight"][0]
        for kind, some in (("query", slice(inner)), ("pair", slice(inner, None))):  # one map here
            if f".{kind}." in place:
                place, rows = place.replace(f".{kind}.", ".in_proj_"), some
        parts[theirs] = Part(ours.get_parameter(place), rows)
    parts.fill(weights)
    assert len(list(projector.parameters())) == len(parts) - len(layers(case, "layers."))  # two of theirs are one
    x = case.part("in")["x"].requires_grad_()
    items, times, clip = x.shape[:3]
    flat = x.reshape(items * times, -1, dim)
    order = torch.arange(times).repeat(items) if media else None
    y = ours(flat, frames=clip, order=order)
    if clip == frames and not media:
        torch.testing.assert_close(projector(Tokens.full(flat)).values, y)
    outputs = {"y": y.reshape(items, times, tokens, dim)}
    case.compare(outputs)
    case.compare_gradients(outputs, {"x": x}, parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("found", cases("09_qwen_vl", "resampler*"))
def test_qwen(found: Case | None) -> None:
    """Its fixed table of positions is made here, not read."""
    case = required(found)
    given = re.search(r"eps ([\d.e-]+)", case.sizes.get("norm", ""))
    tokens, dim = case.shapes["query"]
    context = case.shapes["kv_proj.weight"][1] if "kv_proj.weight" in case.shapes else dim
    eps = float(given[1]) if given else 1e-6
    heads = case.sizes["heads"]
    projector = ResamplerInputProjector(context, dim, preset="qwen", tokens=tokens, heads=heads, eps=eps).eval()
    ours = projector.resampler
    weights = case.weights()
    names = dict(Layout(qwen_vl.pool_rules(""), qwen_vl.WORDS).classify(case.shapes).names)  # type: ignore[arg-type]
    assert names.pop("pos_embed") == qwen_vl.POSITIONS
    parts = whole(projector, {theirs: mine.removeprefix(qwen_vl.OURS) for theirs, mine in names.items()})
    table = weights.pop("pos_embed")
    side = round(len(table) ** 0.5)
    torch.testing.assert_close(grid_waves(side, table.shape[1], table.device), table)
    parts.fill(weights)
    x = case.part("in")["x"].requires_grad_()
    outputs = {"y": ours(projector.proj_in(x))}
    case.compare(outputs | {"pos_kv": stretched(table, round(x.shape[1] ** 0.5))})
    case.compare_gradients(outputs, {"x": x}, parts)  # type: ignore[arg-type]


def abstracted(parameters: Mapping[str, nn.Parameter], ours: str, dim: int) -> Part:
    """A parameter by the converter's name for it, which has the maps of queries, keys and values apart."""
    for one, kinds in mplug_owl.KINDS.values():
        for n, kind in enumerate(kinds):
            if ours.endswith(kind):
                return Part(parameters[ours.removesuffix(kind) + one], slice(n * dim, (n + 1) * dim))
    return Part(parameters[ours])


@pytest.mark.parametrize("found", cases("11_mplug_owl", "visual_abstractor*"))
def test_abstractor(found: Case | None) -> None:
    case = required(found)
    prefix = "abstractor.encoder.layers."
    dim_out, dim = case.shapes["abstractor.visual_fc.weight"]
    projector = ResamplerInputProjector(
        dim,
        dim_out,
        preset="owl",
        tokens=case.shapes["query_tokens"][1],
        depth=len(layers(case, prefix)),
        heads=case.sizes["heads"],
        feed=case.shapes[f"{prefix}0.crossattention.output.mlp.w1.weight"][0],
    ).eval()
    rules = Layout(mplug_owl.abstractor_rules("abstractor.", "query_tokens"), mplug_owl.WORDS)
    match = rules.classify({name: tuple(shape) for name, shape in case.shapes.items()})
    assert match.faults == 0
    named = dict(projector.named_parameters())
    parts = Parts(
        {name: abstracted(named, mine.removeprefix(mplug_owl.OURS), dim) for name, mine in match.names.items()}
    )
    parts.fill(case.weights())
    given = case.part("in")
    x = given["x"].requires_grad_()
    outputs = {
        "y": projector(Tokens.full(x)).values,
        "y_masked": projector(Tokens(x, given["mask"].bool())).values,
    }
    case.compare(outputs)
    case.compare_gradients(outputs, {"x": x}, parts)  # type: ignore[arg-type]
