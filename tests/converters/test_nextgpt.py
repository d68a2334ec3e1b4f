"""NExT-GPT's file -> a model folder of ours -> the same file: numbers against the file's own tensors, bit for bit back.

The small file has the published keys (`checkpoints.py`); the true sizes are in `test_nextgpt_sizes.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import checkpoints
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from small import Converted, again, llama, merged
from torch.nn import functional as F
from transformers import LlamaForCausalLM

from anyx import AnyX, Image
from anyx.converters.nextgpt import ADDED
from anyx.converters.systems import export
from anyx.interfaces import Tokens

SIZES = checkpoints.SMALL


@pytest.fixture(scope="module")
def model(converted: Converted) -> AnyX:
    return AnyX.from_pretrained(converted.folder)


def direct(converted: Converted) -> LlamaForCausalLM:
    """The published system's LLM: one table of 368 rows, LoRA merged."""
    body = llama(SIZES["rows"])
    state = LlamaForCausalLM.from_pretrained(converted.bases.paths["llm"]).state_dict()
    prefix = "llama_model.base_model.model."
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        state[name] = converted.state[prefix + name].float()
    body.load_state_dict(state)
    return merged(body, converted.state, SIZES["rank"])


def test_the_logits_are_those_of_the_file(converted: Converted, model: AnyX) -> None:
    ids = torch.cat([torch.randint(0, 330, (2, 9)), torch.randint(330, 368, (2, 9))], 1)
    mask = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        states = model.llm.states(model.llm.embed(ids), mask)
        expected = direct(converted)(input_ids=ids).logits
    torch.testing.assert_close(model.llm.logits(states), expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 0.1


@pytest.mark.parametrize("key", list(checkpoints.PROJECTIONS))
def test_the_projections_are_those_of_the_file(converted: Converted, model: AnyX, key: str) -> None:
    module = checkpoints.text_fc(SIZES, key)
    prefix = f"{checkpoints.PROJECTIONS[key]}.0."
    weights = {n.removeprefix(prefix): t.float() for n, t in converted.state.items() if n.startswith(prefix)}
    module.load_state_dict(weights)
    states = torch.randn(3, model.outputs[key].tokens, 32)
    ids = torch.tensor(model.outputs[key].ids).expand(3, -1)
    rows = F.embedding(ids, converted.state["llama_model.base_model.model.model.embed_tokens.weight"].float())
    with torch.no_grad():
        condition = model.condition(key, states)
        expected = module.eval()(states, rows)
    torch.testing.assert_close(condition.values["prompt_embeds"], expected, atol=1e-5, rtol=1e-4)
    weight, bias = (converted.state[f"llama_proj.{leaf}"].float() for leaf in ("weight", "bias"))
    x = torch.randn(2, 1, SIZES["encoded"])
    for port in model.inputs.values():
        torch.testing.assert_close(port.projector(Tokens.full(x)).values, F.linear(x, weight, bias))


def test_it_answers(model: AnyX) -> None:
    picture = Image(torch.randint(0, 255, (3, 16, 16), dtype=torch.uint8))
    content = [{"type": "image", "media": picture}, {"type": "text", "text": "What?"}]
    assert model.chat([{"role": "user", "content": content}], max_new_tokens=40).parts


def test_types_are_kept_and_nothing_is_stored_twice(converted: Converted) -> None:
    stored = load_file(converted.folder / "model.safetensors") | load_file(converted.folder / "tables.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert sum(t.numel() for t in stored.values()) == sum(t.numel() for t in converted.state.values())
    assert {file.name for file in converted.folder.iterdir()} == {
        "README.md", "adapter", "config.json", "config.yaml", "conversion.json", "model.safetensors",
        "tables.safetensors", "tokenizer",
    }  # fmt: skip
    assert "tables: ./tables.safetensors" in (converted.folder / "config.yaml").read_text()
    assert "CC-BY-NC" in (converted.folder / "README.md").read_text()


def test_the_type_of_the_file_is_the_llms(converted: Converted, tmp_path: Path) -> None:
    overrides = [one for one in (*converted.bases.inputs, *converted.bases.outputs) if "dtype" not in one]
    model = AnyX.from_pretrained(again(converted, tmp_path / "half", overrides=overrides))
    assert model.llm.model.dtype == torch.float16
    table = converted.state["llama_model.base_model.model.lm_head.weight"]
    assert torch.equal(model.llm.model.get_output_embeddings().weight, table[:330])
    assert model.chat([{"role": "user", "content": "What?"}], max_new_tokens=40).parts


def test_peft_reads_the_adapter(converted: Converted) -> None:
    body = direct(converted)
    plain = llama(SIZES["rows"])
    state = LlamaForCausalLM.from_pretrained(converted.bases.paths["llm"]).state_dict()
    plain.load_state_dict({**state, **{n: t for n, t in body.state_dict().items() if "proj" not in n or "mlp" in n}})
    adapted = PeftModel.from_pretrained(plain, str(converted.folder / "adapter")).eval()
    ids = torch.randint(0, SIZES["rows"], (1, 8))
    with torch.no_grad():
        torch.testing.assert_close(adapted(input_ids=ids).logits, body(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
    settings = adapted.peft_config["default"]
    assert (settings.r, settings.lora_alpha, settings.lora_dropout) == (SIZES["rank"], 32, 0.1)


def test_the_way_back_is_the_same_file(converted: Converted, tmp_path: Path) -> None:
    count, parameters = export("nextgpt", converted.folder, tmp_path / "pytorch_model.pt")
    found = torch.load(tmp_path / "pytorch_model.pt", weights_only=True)
    assert (count, parameters) == (len(converted.state), sum(t.numel() for t in converted.state.values()))
    assert found.keys() == converted.state.keys()
    for name, tensor in converted.state.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
    with pytest.raises(ValueError, match="is there already"):
        export("nextgpt", converted.folder, tmp_path / "pytorch_model.pt")


def test_a_model_that_was_read_and_saved_goes_back_too(converted: Converted, model: AnyX, tmp_path: Path) -> None:
    """`save_pretrained` writes float32 and no note of the origin; every half is a float."""
    model.save_pretrained(tmp_path / "saved")
    assert "tables: ./tables.safetensors" in (tmp_path / "saved" / "config.yaml").read_text(), "the folder is whole"
    export("nextgpt", tmp_path / "saved", tmp_path / "wide.pt")
    export("nextgpt", tmp_path / "saved", tmp_path / "half.pt", dtype=torch.float16)
    wide, half = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("wide", "half"))
    assert {tensor.dtype for tensor in wide.values()} == {torch.float32}
    assert all(torch.equal(half[name], tensor) for name, tensor in converted.state.items())


def test_tables_that_learnt_go_back_in_the_place_of_the_file_s(converted: Converted, tmp_path: Path) -> None:
    model = AnyX.from_pretrained(converted.folder)
    with torch.no_grad():
        for table in model.llm.parts()["llm.body.tables"]:
            table.add_(1)
    model.learnt = ("llm.body.tables",)
    export("nextgpt", model.save_pretrained(tmp_path / "tuned"), tmp_path / "back.pt")
    state = torch.load(tmp_path / "back.pt", weights_only=True)
    assert state.keys() == converted.state.keys()
    moved = {name for name, x in state.items() if not torch.equal(x, converted.state[name].to(x))}
    assert moved == {f"llama_model.base_model.model.{name}.weight" for name in ("model.embed_tokens", "lm_head")}
    body = state["llama_model.base_model.model.lm_head.weight"][: model.llm.vocabulary]
    assert torch.equal(body, model.llm.model.get_output_embeddings().weight.to(body))


@pytest.mark.parametrize(("stage", "prefix"), [(1, ""), (3, "module.")])
def test_both_spellings_and_a_prefix_are_known(converted: Converted, tmp_path: Path, stage: int, prefix: str) -> None:
    state = checkpoints.random(checkpoints.nextgpt(SIZES, stage=stage))
    folder = again(converted, tmp_path / "out", {prefix + name: tensor for name, tensor in state.items()})
    origin = json.loads((folder / "conversion.json").read_text())
    assert (origin["layout"], origin["tensors"]) == ("stage 3" if stage == 3 else "stages 1 and 2", len(state))
    assert (folder / "adapter").is_dir() == (stage == 3)
    model = AnyX.from_pretrained(folder)
    assert ("llm.lora" in model.parts()) == (stage == 3)
    export("nextgpt", folder, tmp_path / "back.pt")
    found = torch.load(tmp_path / "back.pt", weights_only=True)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_delimiters_are_text_unless_told(converted: Converted, model: AnyX, tmp_path: Path) -> None:
    """The delimiters' rows are 330 and 331 here, 32000 and 32001 in the published file."""
    asked = [{"role": "user", "content": [{"type": "image", "path": "a"}, {"type": "text", "text": "<Img> what?"}]}]
    ids = model.processor.prompt.encode(asked, generate=True).ids
    assert max(ids) < 330
    text = model.llm.tokenizer.decode([token for token in ids if token >= 0])
    assert "<Img></Img>" in text
    token = AnyX.from_pretrained(again(converted, tmp_path / "token", options={"delimiters": "token"}))
    ids = token.processor.prompt.encode(asked, generate=True).ids
    place = ids.index(330)
    assert ids[place : place + 3] == [330, ids[place + 1], 331]
    assert ids[place + 1] < 0, "the medium stands between"
    assert [one for one in ids if one >= 330] == [330, 331], "what a user types is text"
    for one in (model, token):
        assert one.llm.rows == 38
        assert one.llm.groups["image"] == (332, 333, 334, 335)
    assert torch.equal(model.llm.signal_tokens.embedding, token.llm.signal_tokens.embedding)
    export("nextgpt", tmp_path / "token", tmp_path / "back.pt")
    found = torch.load(tmp_path / "back.pt", weights_only=True)
    assert all(torch.equal(found[name], tensor) for name, tensor in converted.state.items())


def test_other_tables_need_their_added_tokens(converted: Converted, tmp_path: Path) -> None:
    """42 tokens: delimiters of their own for video and audio; the order there is another than ours."""
    names = [*ADDED[:6], "<Vid>", "</Vid>", *ADDED[6:30], "<Aud>", "</Aud>", *ADDED[30:]]
    state = checkpoints.random(checkpoints.nextgpt(SIZES | {"rows": 330 + 42}))
    model = AnyX.from_pretrained(again(converted, tmp_path / "out", state, options={"added_tokens": names}))
    assert model.llm.rows == 42
    table = state["llama_model.base_model.model.lm_head.weight"].float()
    video = [names.index(f"[VID{i}]") + 330 for i in range(24)]
    rows = [token - 330 for token in model.llm.groups["video"]]
    assert torch.equal(model.llm.signal_tokens.said[rows], table[video])
    export("nextgpt", tmp_path / "out", tmp_path / "back.pt")
    found = torch.load(tmp_path / "back.pt", weights_only=True)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
