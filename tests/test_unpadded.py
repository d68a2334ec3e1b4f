"""Rows read end to end have the states, losses and gradients that they have in a padded batch."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from test_model import CHATS, batch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from anyx.bodies import layers_of
from anyx.llm import LLM
from anyx.model import AnyX
from anyx.training.stage import select, thaw
from anyx.unpadded import FAMILIES, NAME, Rows, alike, allowed, pairs, plain, seen

WORDS = 60
SIZES: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SHARED = SIZES | {"num_key_value_heads": 2}
WINDOW = SHARED | {"sliding_window": 5}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", SHARED),
    "mistral": ("mistral", WINDOW),
    "mistral_all": ("mistral", SHARED | {"sliding_window": None}),
    "qwen2": ("qwen2", WINDOW | {"use_sliding_window": True, "max_window_layers": 1}),
    "qwen3": ("qwen3", SHARED | {"head_dim": 8}),
    "gemma": ("gemma", SHARED | {"head_dim": 16}),
    "phi3": ("phi3", WINDOW),
    "opt": ("opt", SIZES | {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0}),
    "gpt_neox": ("gpt_neox", SIZES),
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
}
PADDED: dict[str, dict[str, Any]] = {
    "gptj": {"n_embd": 32, "n_inner": 48, "n_layer": 2, "n_head": 4, "rotary_dim": 4},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "expansion_ratio": 2},
    "bloom": {"hidden_size": 32, "n_head": 4, "n_layer": 2},
    "falcon": SIZES,
}
LORA = {"gpt2": "c_attn", "phi3": "qkv_proj", "mpt": "Wqkv"} | dict.fromkeys(
    ["gpt_neox", "bloom", "falcon"], "query_key_value"
)
LENGTHS = (9, 3, 17, 9, 1, 16, 0)


def body(kind: str, sizes: dict[str, Any], attention: str = "sdpa") -> LLM:
    torch.manual_seed(0)
    words = PreTrainedTokenizerFast(tokenizer_object=tiny.tokenizer().backend_tokenizer)
    config = AutoConfig.for_model(kind, vocab_size=len(words), bos_token_id=1, eos_token_id=2, pad_token_id=0, **sizes)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    with torch.no_grad():  # far from uniform attention
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.2)
    return LLM(model, words, lora={"r": 2, "targets": [LORA.get(kind, "q_proj")]})


def masks() -> list[Tensor]:
    """The same rows, padded on the right and on the left."""
    right = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return [right, right.flip(1)]


def found(llm: LLM, x: Tensor, mask: Tensor, pack: Any) -> dict[str, Tensor]:
    """States at real positions, a loss of them, and the gradients of inputs and LoRA."""
    x = x.clone().requires_grad_()
    learning = [parameter.requires_grad_(True) for parameter in llm.parts()["llm.lora"]]
    states = llm.states(x, mask, pack=pack)[mask]
    loss = torch.nn.functional.cross_entropy(llm.logits(states), torch.arange(len(states)) % WORDS)
    gradients = torch.autograd.grad(loss, [x, *learning], allow_unused=True)
    named = {f"gradient {i}": grad for i, grad in enumerate(gradients) if grad is not None}
    return {"states": states.detach(), "loss": loss.detach(), **named}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_every_family_is_held_to_its_padded_batch() -> None:
    assert {kind for kind, _ in CASES.values()} == set(FAMILIES)


@pytest.mark.parametrize("case", CASES)
def test_packed_rows_equal_padded_ones(case: str) -> None:
    llm = body(*CASES[case])
    with torch.no_grad():
        for parameter in llm.parts()["llm.lora"]:
            parameter.copy_(torch.randn_like(parameter) * 0.1)
    x = torch.randn(len(LENGTHS), max(LENGTHS), llm.dim)
    for mask in masks():
        same(found(llm, x, mask, False), found(llm, x, mask, True))


@pytest.mark.parametrize("case", ["llama", "mistral", "opt", "gpt_neox"])
def test_gradients_are_the_same_where_layers_are_recomputed(case: str) -> None:
    llm = body(*CASES[case])
    x, mask = torch.randn(len(LENGTHS), max(LENGTHS), llm.dim), masks()[0]
    kept = found(llm, x, mask, True)
    llm.model.gradient_checkpointing_enable({"use_reentrant": False})
    llm.model.train()
    for module in llm.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    same(kept, found(llm, x, mask, True))


@pytest.mark.parametrize("like", [0.0, 0.1, 0.5, 1.0])
def test_groups_of_like_lengths_are_exact_too(like: float, monkeypatch: pytest.MonkeyPatch) -> None:
    llm, mask = body(*CASES["mistral"]), masks()[0]
    x = torch.randn(len(LENGTHS), max(LENGTHS), llm.dim)
    expected = found(llm, x, mask, False)
    of = Rows.of
    monkeypatch.setattr(Rows, "of", lambda mask, device: of(mask, device, like))
    same(expected, found(llm, x, mask, True))
    rows = of(mask, like=like)
    assert rows is not None
    assert {0.0: 5, 0.1: 4, 0.5: 2, 1.0: 1}[like] == len(rows.groups)


def test_groups_hold_no_more_pads_than_their_share() -> None:
    lengths = sorted(torch.randint(0, 300, (200,), generator=torch.Generator().manual_seed(0)).tolist())
    for like in (0.0, 0.05, 0.2):
        groups = alike(lengths, like)
        assert [length for group in groups for length in group] == [length for length in lengths if length]
        assert all(sum(group) >= (1 - like) * max(group) * len(group) - 1e-9 for group in groups)


def test_rows_of_one_length_are_left_as_they_are() -> None:
    assert Rows.of(torch.ones(3, 4, dtype=torch.bool)) is None


@pytest.mark.parametrize("kind", PADDED)
def test_other_families_are_read_padded(kind: str) -> None:
    llm, mask = body(kind, PADDED[kind], "sdpa" if kind == "falcon" else "eager"), masks()[0][:-1]
    x = torch.randn(*mask.shape, llm.dim)
    assert torch.equal(llm.states(x, mask), llm.states(x, mask, pack="auto"))
    with pytest.raises(
        ValueError, match=rf"an LLM of type {kind} with \w+ attention cannot; with sdpa these can: llama"
    ):
        llm.states(x, mask, pack=True)


def test_eager_attention_is_left_alone() -> None:
    llm = body("llama", SHARED, "eager")
    assert llm.model.config._attn_implementation == "eager"
    assert not allowed("auto", llm.model)
    assert allowed("auto", body("llama", SHARED).model)
    assert NAME not in str(llm.model.config.to_dict())


@pytest.mark.parametrize("train", ["llm.lora", "inputs.*.projector", "outputs.*.projector", "llm.signal_tokens"])
def test_a_model_learns_the_same_from_packed_batches(train: str) -> None:
    model = tiny.anyx(lora={"r": 2, "targets": ["q_proj"]})
    thaw(model, select(model.parts(), {train: 1.0}))
    runs = []
    for pack in (False, True):
        model.zero_grad()
        runs.append(learnt(model, pack))
    same(*runs)


def learnt(model: AnyX, pack: bool) -> dict[str, Tensor]:
    out = model(batch(model, CHATS), pack=pack)
    loss = torch.nn.functional.cross_entropy(model.llm.logits(out.states), out.labels)
    loss = loss + sum(c.values["prompt_embeds"].square().mean() for c in out.conditions.values())
    loss.backward()
    return {"loss": loss.detach()} | {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", CASES)
def test_the_end_of_a_prompt_is_that_of_a_whole_pass(name: str) -> None:
    llm, mask = body(*CASES[name]), masks()[1][:-1]
    x, fed = torch.randn(*mask.shape, llm.dim), []
    last = dict(layers_of(llm.model)[-1].named_children()).get("mlp")
    if last is not None:
        last.register_forward_hook(lambda module, given, made: fed.append(given[0].shape[1]))
    cache, end = llm.prefill(x, mask)
    states = llm.states(x, mask)
    torch.testing.assert_close(end, states[:, -1])
    assert fed == ([] if last is None else [1, mask.shape[1]])
    after = llm.extend(x[:, :3], mask[:, -3:], cache)
    again = llm.states(torch.cat([x, x[:, :3]], 1), torch.cat([mask, mask[:, -3:]], 1))[:, -3:]
    torch.testing.assert_close(after, again, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_mask_of_pairs_says_the_same(name: str) -> None:
    """What a GPU is given, so that transformers need not look for padding."""
    llm = body(*CASES[name])
    meta = torch.device("meta")
    assert plain(llm.model) == (name not in ("mistral", "qwen2", "phi3"))
    for mask in masks():
        x = torch.randn(*mask.shape, llm.dim)
        assert seen(llm.model, mask, mask.shape[1], torch.device("cpu")) is mask
        there = seen(llm.model, mask, mask.shape[1], meta)
        assert there.dim() == (4 if plain(llm.model) else 2)
        if plain(llm.model):
            places = (mask.cumsum(1) - 1).clamp(min=0)
            told = {"inputs_embeds": x, "attention_mask": pairs(mask, mask.shape[1]), "position_ids": places}
            states = llm.model.get_decoder()(**told).last_hidden_state
            torch.testing.assert_close(states[mask], llm.states(x, mask)[mask], atol=2e-5, rtol=2e-5)
            assert states.isfinite().all()
