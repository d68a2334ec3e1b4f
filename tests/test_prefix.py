"""A prefix read without gradients gives the states and gradients of one pass over everything."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from test_model import CHATS, batch, part, says, user
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase
from transformers.models.auto.configuration_auto import AutoConfig

from anyx import prefix
from anyx.llm import LLM
from anyx.model import AnyX
from anyx.prompt import IGNORE
from anyx.training.stage import select, thaw

LATE = [
    [user("a long question"), says("here:", part("image", caption="red"), "and", part("audio", caption="hum"))],
    [user("words only, which nothing here can learn from"), says("yes, indeed")],
    [user("draw it again, please"), says("done", part("image", caption="dark"))],
]  # fmt: skip
SMALL = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 48}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": SMALL,
    "qwen2": {**SMALL, "num_key_value_heads": 2},
    "gpt_neox": SMALL,
    "mistral": {**SMALL, "num_key_value_heads": 2, "sliding_window": 8},
    "opt": {**SMALL, "word_embed_proj_dim": 32, "ffn_dim": 48},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "expansion_ratio": 2},
    "bloom": {"hidden_size": 32, "n_head": 4, "n_layer": 2},
}  # fmt: skip


def passes(model: AnyX, given: list[Any], monkeypatch: pytest.MonkeyPatch) -> tuple[int, dict[str, Any]]:
    """How often the body ran, and the losses' parts with the gradients of what learns, with a prefix and without."""
    found = {}
    runs = []
    hook = model.llm.model.get_decoder().register_forward_hook(lambda *_: runs.append(torch.is_grad_enabled()))
    for name, share in (("prefix", prefix.SHARE), ("whole", 0.0)):
        monkeypatch.setattr(prefix, "SHARE", share)
        model.zero_grad()
        out = model(batch(model, given), pack=False)
        loss = torch.nn.functional.cross_entropy(model.llm.logits(out.states), out.labels)
        loss = loss + sum(c.values["prompt_embeds"].square().mean() for c in out.conditions.values())
        loss.backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        found[name] = {"states": out.states.detach(), "loss": loss.detach(), **gradients}
    hook.remove()
    assert runs[-1]
    return len(runs) - 1, found


@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_gradients_are_those_of_one_pass(
    family: str, tiny_tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = AutoConfig.for_model(family, vocab_size=len(tiny_tokenizer), **FAMILIES[family])
    body = AutoModelForCausalLM.from_config(config)
    llm = LLM(body, tiny_tokenizer, tokens={"image": 3, "audio": 2})
    whole = tiny.anyx()
    model = AnyX(llm, encoders=whole.encoders, inputs=whole.inputs, outputs=whole.outputs)
    thaw(model, select(model.parts(), {"outputs.*.projector": 1.0, "llm.signal_tokens": 1.0}))
    runs, found = passes(model, LATE, monkeypatch)
    assert runs == 2
    assert found["prefix"].keys() == found["whole"].keys()
    for name, value in found["whole"].items():
        torch.testing.assert_close(
            found["prefix"][name], value, atol=2e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("train", ["llm.lora", "llm.body", "inputs.*.projector"])
def test_what_learns_early_is_read_at_once(train: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.anyx(lora={"r": 2, "targets": ["q_proj"]})
    thaw(model, select(model.parts(), {train: 1.0}))
    runs, _ = passes(model, CHATS, monkeypatch)
    assert runs == 1


def test_rows_that_learn_nothing_need_no_gradients() -> None:
    model = tiny.anyx()
    thaw(model, select(model.parts(), {"llm.signal_tokens": 1.0}))
    one = batch(model, [LATE[1]])
    out = model(one)
    assert not out.states.requires_grad
    whole = model.llm.states(model.llm.embed(one.ids), one.mask)[0, :-1]
    torch.testing.assert_close(out.states, whole[one.labels[0, 1:] != IGNORE].detach(), atol=1e-5, rtol=1e-4)
