from __future__ import annotations

from pathlib import Path

import hooked
import pytest
import tiny
import torch
from transformers import LlamaConfig

from anyx import tables
from anyx.llm import LLM
from anyx.model import AnyX

LORA = {"r": 4, "alpha": 8, "targets": ["q_proj", "v_proj"]}
TOKENS = {"image": 3, "audio": 2}


def llm(*, tied: bool = True, lora: dict[str, object] | None = None) -> LLM:
    words = tiny.tokenizer()
    return LLM(tiny.causal_lm(words, tied=tied), words, tokens=TOKENS, lora=lora)


def test_groups_lie_past_the_vocabulary() -> None:
    model = llm()
    start = model.vocabulary
    assert model.groups == {"image": (start, start + 1, start + 2), "audio": (start + 3, start + 4)}


def test_states_and_logits_are_the_bodys_own() -> None:
    model = llm(tied=False)
    ids = torch.randint(0, model.vocabulary, (2, 7))
    states = model.states(model.embed(ids), torch.ones_like(ids, dtype=torch.bool))
    expected = model.model(input_ids=ids)
    torch.testing.assert_close(model.logits(states)[..., : model.vocabulary], expected.logits)
    assert model.logits(states).shape[-1] == model.vocabulary + 5


@pytest.mark.parametrize("tied", [True, False])
def test_signal_rows_learn_in_embedding_and_head_and_nothing_else_does(tied: bool) -> None:
    model = llm(tied=tied)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    learning = model.parts()["llm.signal_tokens"]
    assert [tuple(p.shape) for p in learning] == [(5, model.dim)] * (1 if tied else 2)
    ids = torch.tensor([[5, 6, model.groups["image"][0], model.groups["image"][1]]])
    optimizer = torch.optim.SGD(learning, lr=0.1)
    logits = model.logits(model.states(model.embed(ids), torch.ones_like(ids, dtype=torch.bool)))
    torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:]).backward()
    optimizer.step()
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {"signal_tokens.embedding"} | (set() if tied else {"signal_tokens.head"})
    assert all(p.grad is None for p in model.parts()["llm.body"])
    if not tied:  # a row is read only if it stands in the text, and said against every other
        rows = (model.signal_tokens.embedding != before["signal_tokens.embedding"]).any(1)
        assert rows.tolist() == [True, False, False, False, False]
        assert (model.signal_tokens.head != before["signal_tokens.head"]).any(1).all()


def test_tied_rows_are_one_table_in_both_places() -> None:
    model = llm(tied=True)
    first = torch.tensor([[model.groups["audio"][0]]])
    states = torch.randn(1, 1, model.dim)
    row = model.signal_tokens.embedding[3]
    torch.testing.assert_close(model.embed(first)[0, 0], row)
    torch.testing.assert_close(model.logits(states)[0, 0, first[0, 0]], states[0, 0] @ row)


@pytest.mark.parametrize("kind", list(hooked.FAMILIES))
def test_steps_of_ragged_rows_equal_one_whole_forward(kind: str) -> None:
    """Prefill of left-padded prompts and ragged appends, holes and all, against each row alone without a cache."""
    words = tiny.tokenizer()
    model = LLM(hooked.causal_lm(kind, len(words)), words, tokens={"image": 3, "audio": 2})
    image = model.groups["image"]
    prompts = [[5, 6, 7, 8, 9], [10, 11], [12]]
    appends = [[(20,), image, (30,)], [image, (21,), (22,)], [(23,), (), (31, 32)]]
    ids = torch.tensor([[0] * (5 - len(row)) + row for row in prompts])
    mask = torch.arange(5) >= 5 - torch.tensor([len(row) for row in prompts])[:, None]
    with torch.no_grad():
        cache, last = model.prefill(model.embed(ids), mask)
        said = [[last[row][None]] for row in range(3)]
        for moment in range(3):
            for row, states in enumerate(model.step([appends[row][moment] for row in range(3)], cache)):
                said[row].append(states)
        for row, prompt in enumerate(prompts):
            whole = torch.tensor([prompt + [token for part in appends[row] for token in part]])
            states = model.states(model.embed(whole), torch.ones_like(whole, dtype=torch.bool))[0]
            torch.testing.assert_close(torch.cat(said[row]), states[len(prompt) - 1 :], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", list(hooked.FAMILIES))
def test_rows_without_holes_need_no_mask(kind: str) -> None:
    """Even prompts and appends, then a hole: as one whole forward with a mask."""
    words = tiny.tokenizer()
    model = LLM(hooked.causal_lm(kind, len(words)), words, tokens={"image": 3})
    prompts, appends = [[5, 6, 7], [10, 11, 12]], [[(20, 21), (30, 31)], [(22,), ()], [(23,), (32,)]]
    ids = torch.tensor(prompts)
    cache, last = model.prefill(model.embed(ids), torch.ones_like(ids, dtype=torch.bool))
    said = [[states[None]] for states in last]
    for moment in appends:
        for row, states in enumerate(model.step(moment, cache)):
            said[row].append(states)
        assert cache.whole == (moment is appends[0])
    for row, prompt in enumerate(prompts):
        whole = torch.tensor([prompt + [token for moment in appends for token in moment[row]]])
        states = model.states(model.embed(whole), torch.ones_like(whole, dtype=torch.bool))[0]
        torch.testing.assert_close(torch.cat(said[row]), states[2:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", list(hooked.FAMILIES))
def test_kept_rows_go_on_as_before(kind: str) -> None:
    words = tiny.tokenizer()
    model = LLM(hooked.causal_lm(kind, len(words)), words, tokens={"image": 3})
    prompts = [[5, 6, 7, 8], [10], [12, 13]]
    ids = torch.tensor([[0] * (4 - len(row)) + row for row in prompts])
    mask = torch.arange(4) >= 4 - torch.tensor([len(row) for row in prompts])[:, None]
    cache, _ = model.prefill(model.embed(ids), mask)
    model.step([(20,), (21, 22), (23,)], cache)
    cache.keep([2, 0])
    kept = model.step([(24, 25), (26,)], cache)
    for row, said, states in ((2, (23, 24, 25), kept[0]), (0, (20, 26), kept[1])):
        whole = torch.tensor([[*prompts[row], *said]])
        expected = model.states(model.embed(whole), torch.ones_like(whole, dtype=torch.bool))[0]
        torch.testing.assert_close(states, expected[-len(states) :], atol=1e-5, rtol=1e-4)


def test_a_prompt_of_no_tokens_is_named() -> None:
    model = llm()
    for mask in (torch.ones(1, 0), torch.tensor([[1, 1], [0, 0]])):
        ids = torch.zeros_like(mask, dtype=torch.long)
        with pytest.raises(ValueError, match=rf"^prompts \[{len(mask) - 1}\] have no tokens"):
            model.prefill(model.embed(ids), mask.bool())
    with pytest.raises(ValueError, match=r"the conversation is empty, and its template writes nothing of its own"):
        AnyX(LLM(model.model, model.tokenizer), template="plain").chat([{"role": "user", "content": ""}])


def test_lora_is_float32_named_stably_and_zero_at_first() -> None:
    torch.manual_seed(1)
    plain = llm()
    torch.manual_seed(1)
    model = llm(lora=LORA)
    ids = torch.randint(0, model.vocabulary, (1, 5))
    mask = torch.ones_like(ids, dtype=torch.bool)
    torch.testing.assert_close(model.states(model.embed(ids), mask), plain.states(plain.embed(ids), mask))
    names = set(model.own_state())
    assert "llm.lora.model.layers.1.self_attn.v_proj.lora_B.weight" in names
    assert {name for name in names if not name.startswith("llm.lora.")} == {"llm.signal_tokens.embedding"}
    assert len(names) == 2 * 2 * 2 + 1
    assert set(model.parts()) == {"llm.lora", "llm.signal_tokens", "llm.body", "llm.body.tables"}
    assert set(plain.parts()) == {"llm.signal_tokens", "llm.body", "llm.body.tables"}


def test_own_state_goes_into_another_model_and_must_fit() -> None:
    model, other = llm(lora=LORA, tied=False), llm(lora=LORA, tied=False)
    with torch.no_grad():
        for parameter in model.parts()["llm.lora"]:
            parameter.normal_()
    other.load_own_state(model.own_state())
    assert all(torch.equal(tensor, other.own_state()[name]) for name, tensor in model.own_state().items())
    state = dict(model.own_state())
    state["llm.lora.stray"] = state.pop("llm.signal_tokens.head")
    with pytest.raises(
        ValueError, match=r"missing weights \['llm.signal_tokens.head'\], unknown weights \['llm.lora.stray'\]"
    ):
        other.load_own_state(state)


def test_a_bfloat16_body_trains_float32_parts(tiny_llm_folder: str) -> None:
    model = LLM.load(tiny_llm_folder, tokens=TOKENS, lora=LORA, dtype="bfloat16").train()
    ids = torch.tensor([[5, 6, *model.groups["image"], 7]])
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = model.logits(model.states(model.embed(ids), torch.ones_like(ids, dtype=torch.bool)))
        assert logits.dtype == torch.float32
        torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:]).backward()
    assert {p.dtype for p in model.parts()["llm.body"]} == {torch.bfloat16}
    for name in ("llm.lora", "llm.signal_tokens"):
        assert {p.dtype for p in model.parts()[name]} == {torch.float32}
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parts()[name])


def test_load_from_configuration_and_on_meta(tiny_llm_folder: str) -> None:
    sizes = LlamaConfig.from_pretrained(tiny_llm_folder).to_dict() | {"num_hidden_layers": 1}
    model = LLM.load(sizes, tokenizer=tiny_llm_folder)
    assert len(model.model.model.layers) == 1
    assert model.groups == {}
    with torch.device("meta"):
        shell = LLM.load(tiny_llm_folder, tokens=TOKENS, lora=LORA, weights=False)
    assert {p.device.type for parts in shell.parts().values() for p in parts} == {"meta"}


def test_added_tokens_have_rows_before_the_signal_tokens() -> None:
    words = tiny.tokenizer()
    model = LLM(tiny.causal_lm(words), words, tokens=TOKENS, added_tokens=["<Img>", "</Img>"])
    start = model.vocabulary
    assert model.added_tokens == {"<Img>": start, "</Img>": start + 1}
    assert model.groups == {"image": (start + 2, start + 3, start + 4), "audio": (start + 5, start + 6)}
    assert model.signal_tokens.embedding.shape == (7, model.dim)
    ids = torch.tensor([[5, start + 1, start + 2]])
    torch.testing.assert_close(model.embed(ids)[0, 1:], model.signal_tokens.embedding[1:3])
    alone = LLM(tiny.causal_lm(words), words, added_tokens=["<Img>"])
    assert [tuple(p.shape) for p in alone.parts()["llm.signal_tokens"]] == [(1, alone.dim)]
    assert set(alone.own_state()) == {"llm.signal_tokens.embedding"}
    for wrong in (["<Img>", "<Img>"], ["<|im_end|>"], [""]):
        with pytest.raises(
            ValueError, match=r"llm\.added_tokens: .* is empty, named twice, or a token of the tokenizer"
        ):
            LLM(tiny.causal_lm(words), words, added_tokens=wrong)


def test_the_38_rows_of_nextgpt(tiny_llm_folder: str) -> None:
    """Ids of reference sheet A1.5: delimiters, 4 image, 24 video, 8 audio tokens past 32,000 pieces."""
    counts = {"image": 4, "video": 24, "audio": 8}
    with torch.device("meta"):
        body = {"model_type": "llama", "vocab_size": 32000, "hidden_size": 64, "num_hidden_layers": 1}
        model = LLM.load(body, tokenizer=tiny_llm_folder, tokens=counts, added_tokens=["<Img>", "</Img>"])
    assert model.signal_tokens.embedding.shape == (38, 64)
    assert model.added_tokens == {"<Img>": 32000, "</Img>": 32001}
    firsts = {key: (ids[0], ids[-1]) for key, ids in model.groups.items()}
    assert firsts == {"image": (32002, 32005), "video": (32006, 32029), "audio": (32030, 32037)}


def test_a_tokenizer_of_more_tokens_than_rows_is_refused() -> None:
    words = tiny.tokenizer()
    words.add_tokens(["[PAD]"])
    with pytest.raises(
        ValueError, match=r"llm: the tokenizer has 331 tokens, but the model's table 330 rows; take out"
    ):
        LLM(tiny.causal_lm(tiny.tokenizer()), words)


def test_whole_tables_take_the_place_of_the_bodys(tmp_path: Path) -> None:
    words = tiny.tokenizer()
    tiny.causal_lm(words, tied=False).save_pretrained(tmp_path / "llm")
    words.save_pretrained(tmp_path / "llm")
    given = {"embedding": torch.randn(330, 32).half(), "head": torch.randn(330, 32).half()}
    tables.save(given, tmp_path / "tables.safetensors")
    model = LLM.load(str(tmp_path / "llm"), tokens=TOKENS, tables=str(tmp_path / "tables.safetensors"))
    assert torch.equal(model.embed(torch.tensor([[7]]))[0, 0], given["embedding"][7].float())
    states = torch.randn(1, 32)
    torch.testing.assert_close(model.logits(states)[:, :330], states @ given["head"].float().T)
    assert set(model.own_state()) == {"llm.signal_tokens.embedding", "llm.signal_tokens.head"}
    with torch.device("meta"):
        LLM.load(str(tmp_path / "llm"), tables="none", weights=False)


def test_train_mode_wakes_only_what_learns() -> None:
    model = llm(lora=LORA | {"dropout": 0.5}).train()
    layer = model.model.model.layers[0]
    assert not layer.training
    assert layer.self_attn.q_proj.lora_dropout["default"].training
    for parameter in model.parts()["llm.lora"]:
        parameter.requires_grad_(False)
    assert not model.train().model.model.layers[0].self_attn.q_proj.lora_dropout["default"].training


def test_what_does_not_fit_is_named(tiny_llm_folder: str) -> None:
    with pytest.raises(ValueError, match=r"llm.dtype: 'fp8' is not one of float32, bfloat16, float16"):
        LLM.load(tiny_llm_folder, dtype="fp8")
    with pytest.raises(ValueError, match=r"llm.lora: keys \['rank'\] given; it needs r and targets"):
        LLM.load(tiny_llm_folder, lora={"rank": 4})
    with pytest.raises(ValueError, match=r"outputs.image.tokens: 0 given"):
        LLM.load(tiny_llm_folder, tokens={"image": 0})
    with pytest.raises(ValueError, match="a configuration brings no tokenizer"):
        LLM.load({"model_type": "llama"})
