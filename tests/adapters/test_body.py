"""The hooks themselves: what is refused, what a call without a context does, what shares a module."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from hooked import FAMILIES, batch, causal_lm, context, made, shake
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, BertConfig, BertLMHeadModel

from anyx.adapters.body import CACHES, Body, plant
from anyx.adapters.experts import LoraExperts
from anyx.adapters.families import named
from anyx.adapters.gated import GatedCrossAttention
from anyx.adapters.positions import SharedPositions
from anyx.adapters.prompts import ZeroInitPrompts
from anyx.adapters.routed import Routed
from anyx.adapters.tuned import Tuned
from anyx.context import Context, carry
from anyx.interfaces import Adapter, Layout, Placed, Reading, Tokens


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


CUTTING: dict[str, Callable[[Body, str], object]] = {
    "routed": lambda body, name: Routed(body, name, modules=["q_proj", "input_layernorm"]),
    "norms": lambda body, name: Tuned(body, name),
    "biases": lambda body, name: Tuned(body, name, biases=["q_proj"], norms=False),
    "experts": lambda body, name: LoraExperts(body, name, modules=["q_proj"], r=1),
    "prompts": lambda body, name: ZeroInitPrompts(body, name, layers=1, tokens=1),
}
CLASHES = [("routed", other) for other in CUTTING] + [("norms", "norms")]


@pytest.mark.parametrize(("first", "second"), CLASHES + [(b, a) for a, b in CLASHES if a != b])
def test_what_one_adapter_cuts_or_replaces_no_other_reads(first: str, second: str) -> None:
    body = Body(causal_lm("llama"))
    CUTTING[first](body, "one")
    with pytest.raises(ValueError, match=r"'one' and 'two' name the same (Linear|LlamaRMSNorm); only one may"):
        CUTTING[second](body, "two")


def test_adapters_that_only_add_share_modules() -> None:
    """Queries of prompts are those with biases and experts, whichever was built first."""
    ids, mask = batch([0])
    answers = []
    for order in (["prompts", "biases", "experts"], ["experts", "biases", "prompts"]):
        torch.manual_seed(1)
        model = causal_lm("llama")
        body, readings = Body(model), {}
        for maker in order:
            torch.manual_seed(len(maker))
            adapter = CUTTING[maker](body, maker)
            assert isinstance(adapter, Adapter)
            shake(adapter)
            layout = Layout(model.get_input_embeddings()(ids), mask, mask)
            readings[maker] = adapter.read(layout, [])
        with torch.no_grad(), carry(Context(readings)):
            answers.append(model(input_ids=ids, attention_mask=mask.long()).logits)
    torch.testing.assert_close(*answers, rtol=1e-5, atol=1e-5)


def test_modules_made_of_others_are_not_routed() -> None:
    body = Body(causal_lm("llama"))
    with pytest.raises(ValueError, match="mlp is made of others; name those of gate_proj, up_proj, down_proj"):
        Routed(body, "expert", modules=["mlp.gate_proj", "mlp"])
    with pytest.raises(ValueError, match="self_attn is made of others; name those of q_proj"):
        Routed(body, "expert", modules=["self_attn"])


def test_a_body_may_have_no_last_norm() -> None:
    """OPT-350m normalises after each half of a layer, and not at the end."""
    sizes = FAMILIES["opt"] | {"do_layer_norm_before": False}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("opt", vocab_size=60, **sizes))
    adapter = Tuned(Body(model), "it")
    assert adapter.norm is None
    assert len([module for module in adapter.modules() if isinstance(module, nn.LayerNorm)]) == 4


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


def test_position_ids_of_a_call_without_a_cache_and_of_beams() -> None:
    mask = torch.tensor([[False, True, True, True, True], [True, True, True, True, True]])
    read = Context({"it": Reading(lag=torch.tensor([[0, 0, 1], [0, 1, 1]]))})
    assert read.positions(mask, 5).tolist() == [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3]]  # the prompt, and two words since
    assert read.positions(mask, 2).tolist() == [[1, 2], [2, 3]]
    beams = read.positions(mask.repeat_interleave(2, 0), 1)
    assert beams.tolist() == [[2], [2], [3], [3]]


@pytest.mark.parametrize("kind", ["mpt", "bloom", "falcon"])
def test_positions_that_change_nothing_are_refused(kind: str) -> None:
    sizes = {"mpt": {"d_model": 32, "n_heads": 4}, "bloom": {"n_head": 4}, "falcon": {"alibi": True}}[kind]
    given = {"vocab_size": 9, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4} | sizes
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **given))
    with pytest.raises(ValueError, match=rf"{kind} counts distances itself \(ALiBi\)"):
        SharedPositions(Body(model), "it")


def test_a_gate_with_one_expert_at_the_top_would_not_learn() -> None:
    body = Body(causal_lm("llama"))
    with pytest.raises(ValueError, match="top: 1 of experts: 3 given; its share would always be 1"):
        LoraExperts(body, "it", modules=["q_proj"], r=1, experts=3, top=1)
    LoraExperts(body, "it", modules=["q_proj"], r=1, experts=1, top=1)  # there is nothing to choose


def test_prompts_refuse_fused_queries_and_media_of_another_length() -> None:
    with pytest.raises(ValueError, match="they know llama, mistral, qwen2, gemma, opt"):
        ZeroInitPrompts(Body(causal_lm("mpt")), "it", layers=1, tokens=1)
    adapter = ZeroInitPrompts(Body(causal_lm("llama")), "it", layers=1, tokens=3)
    layout = Layout(torch.zeros(1, 4, 32), torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 4, dtype=torch.bool))
    media = Placed(torch.tensor([0]), torch.tensor([1]), Tokens.full(torch.zeros(1, 2, 32)), torch.tensor([1]))
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
