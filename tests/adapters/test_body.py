"""The hooks themselves: what is refused, what a call without a context does, what shares a module."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hooked import batch, causal_lm, context, made, shake
from torch import nn
from transformers import BertConfig, BertLMHeadModel

from anyx.adapters.body import CACHES, Body, plant
from anyx.adapters.experts import LoraExperts
from anyx.adapters.families import named
from anyx.adapters.gated import GatedCrossAttention
from anyx.adapters.prompts import ZeroInitPrompts
from anyx.adapters.routed import Routed
from anyx.context import Context, carry
from anyx.interfaces import Layout, Placed, Reading, Tokens


def test_layers_that_accelerate_placed_are_refused() -> None:
    """Its hook replaces the instance's forward: a class changed afterwards would silently do nothing."""
    from accelerate.hooks import ModelHook, add_hook_to_module

    model = causal_lm("llama")
    add_hook_to_module(model.model.layers[1], ModelHook())
    with pytest.raises(ValueError, match=r"'model.layers.1' was placed by accelerate"):
        Body(model)


def test_an_unknown_family_is_refused_with_those_known() -> None:
    model = BertLMHeadModel(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
    with pytest.raises(ValueError, match=r"layers of 'bert'; they know llama, mistral"):
        Body(model)


def test_a_module_is_named_by_the_end_of_its_path() -> None:
    layer = causal_lm("llama").model.layers[0]
    assert named(layer, "q_proj") == named(layer, "self_attn.q_proj") == "self_attn.q_proj"
    with pytest.raises(ValueError, match=r"'wq' names no module of a layer; it has self_attn, self_attn.q_proj"):
        named(layer, "wq")
    twice = nn.ModuleDict({"a": nn.ModuleDict({"x": nn.Linear(1, 1)}), "b": nn.ModuleDict({"x": nn.Linear(1, 1)})})
    with pytest.raises(ValueError, match="names 2 modules"):
        named(twice, "x")


def test_two_adapters_may_not_cut_one_module() -> None:
    body = Body(causal_lm("llama"))
    Routed(body, "expert", modules=["q_proj"])
    with pytest.raises(ValueError, match=r"'expert' and 'mixture' name the same Linear"):
        LoraExperts(body, "mixture", modules=["q_proj"], r=1)


def test_two_adapters_in_the_same_layers_add_up() -> None:
    """Each alone changes the answer; both together are neither."""
    ids, mask = batch([0])
    answers = []
    for makers in (["gated"], ["routed"], ["gated", "routed"]):
        torch.manual_seed(1)
        model = causal_lm("llama")
        body, readings = Body(model), {}
        for maker in makers:
            torch.manual_seed(2)
            adapter = (
                GatedCrossAttention(body, maker, dim=10, heads=2, head_dim=4)
                if maker == "gated"
                else Routed(body, maker, modules=["mlp.up_proj"])
            )
            shake(adapter)
            readings[maker] = context(model, adapter, [0]).readings["it"]
        with torch.no_grad(), carry(Context(readings)):
            answers.append(model(input_ids=ids, attention_mask=mask.long()).logits)
    first, second, both = answers
    assert min((both - first).abs().max(), (both - second).abs().max()) > 1e-3


def test_hidden_states_are_recorded_as_before() -> None:
    model, _ = made("llama", "gated")
    out = model(input_ids=batch([0])[0], output_hidden_states=True)
    assert len(out.hidden_states) == len(model.model.layers) + 1


def test_a_copy_of_model_and_adapter_stands_on_its_own() -> None:
    model, adapter = made("llama", "routed")
    pair = nn.ModuleDict({"model": model, "adapter": adapter})
    twin = deepcopy(pair)
    ids, mask = batch([0])
    read = context(model, adapter, [0])

    def answer(of: nn.ModuleDict) -> torch.Tensor:
        with torch.no_grad(), carry(read):
            return of["model"](input_ids=ids, attention_mask=mask.long()).logits

    before = answer(pair)
    torch.testing.assert_close(answer(twin), before)
    shake(twin["adapter"])
    assert (answer(twin) - before).abs().max() > 1e-3
    torch.testing.assert_close(answer(pair), before)


def test_readings_are_laid_out_for_the_positions_of_a_call() -> None:
    places = torch.tensor([[1, 2, 3], [4, 5, 6]])
    read = Context({"it": Reading(places={"kept": places, "cut": places}, after={"kept": places[:, -1:]})})
    assert read.at(0, 2, 5)["it"]["kept"].tolist() == [[1, 2, 3, 3, 3], [4, 5, 6, 6, 6]]
    assert read.at(0, 2, 5)["it"]["cut"].tolist() == [[1, 2, 3, 0, 0], [4, 5, 6, 0, 0]]
    assert list(read.at(3, 4, 1)["it"]) == ["kept"]
    assert read.at(3, 4, 1)["it"]["kept"].tolist() == [[3], [3], [6], [6]]
    with pytest.raises(ValueError, match="laid out for 3 positions, 2 were given"):
        read.at(0, 2, 2)
    with pytest.raises(ValueError, match="made for 2 rows, 3 were given"):
        read.at(0, 3, 3)
    assert CACHES == ("past_key_values", "layer_past")


def test_prompts_refuse_fused_queries_and_media_of_another_length() -> None:
    with pytest.raises(ValueError, match="they know llama, mistral, qwen2, gemma, opt"):
        ZeroInitPrompts(Body(causal_lm("mpt")), "it", layers=1, tokens=1)
    adapter = ZeroInitPrompts(Body(causal_lm("llama")), "it", layers=1, tokens=3)
    layout = Layout(torch.zeros(1, 4, 32), torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 4, dtype=torch.bool))
    media = Placed(torch.tensor([0]), torch.tensor([1]), Tokens.full(torch.zeros(1, 2, 32)))
    with pytest.raises(ValueError, match="a medium has 2 tokens, a layer 3 prompts"):
        adapter.read(layout, [media])


def test_a_plant_stands_under_the_names_of_its_path() -> None:
    root = nn.Module()
    plant(root, "0.self_attn.q_proj", nn.Linear(1, 1, bias=False))
    plant(root, "0.self_attn.k_proj", nn.Linear(1, 1, bias=False))
    assert list(root.state_dict()) == ["0.self_attn.q_proj.weight", "0.self_attn.k_proj.weight"]


@pytest.mark.parametrize("maker", ["gated", "routed", "routed_norms"])
def test_weights_for_media_take_part_in_batches_of_words(maker: str) -> None:
    """With gradients of zero: ranks of a distributed run that got no media must not leave the others waiting."""
    model, adapter = made("llama", maker)
    ids, mask = batch([2])  # a row without media
    with carry(context(model, adapter, [2])):
        model(input_ids=ids, attention_mask=mask.long()).logits.sum().backward()
    for name, parameter in adapter.named_parameters():
        assert parameter.grad is not None, name
        if "ff" not in name:
            assert not parameter.grad.any(), name
