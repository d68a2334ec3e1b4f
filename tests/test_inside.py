"""A YAML whose media go into the LLM's layers: built, trained, killed and resumed, answered, saved and loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import components
import hooked
import pytest
import torch
from torch import Tensor, nn

from anyx import config as configs
from anyx import inside
from anyx.adapters.body import Body
from anyx.adapters.gated import GatedCrossAttention
from anyx.build import build
from anyx.interfaces import Tokens
from anyx.media import Image
from anyx.model import AnyX
from anyx.splice import IGNORE, PLACEHOLDER
from anyx.training import run, trainee
from anyx.yamls import ConfigError

EYE = {"type": "imagebind", **components.TINY["encoders"]["imagebind"][1]}
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SYSTEMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # adapters of the LLM, the image's input
    "flamingo": (
        {"cross": {"type": "gated_cross_attention", "dim": 12, "heads": 2, "head_dim": 4}},
        {"projector": {"type": "resampler", "tokens": 3, "depth": 1, "heads": 2}, "into": "cross"},
    ),
    "cogvlm": (
        {
            "expert": {"type": "routed", "modules": MODULES, "end": 1},
            "positions": {"type": "shared_positions", "begin": 1, "end": 1},
        },
        {"projector": {"type": "linear", "tokens": 5}, "into": ["expert", "positions"]},
    ),
    "llama_adapter": (
        {
            "prompts": {"type": "zero_init_prompts", "layers": 1, "tokens": 3},
            "tuned": {"type": "tuned", "biases": MODULES},
        },
        {"projector": {"type": "query_blocks", "tokens": 3, "depth": 1, "heads": 2, "hidden": 8}, "into": "prompts"},
    ),
    "imagebind_llm": (
        {"prompts": {"type": "zero_init_prompts", "layers": 2, "tokens": 1}},
        {"projector": {"type": "bridge", "depth": 1}, "into": ["prompts"]},
    ),
    "octavius": (
        {"mixture": {"type": "lora_experts", "modules": ["q_proj", "v_proj"], "r": 2, "experts": 3}},
        {"projector": {"type": "linear"}},
    ),
}
EACH = pytest.mark.parametrize("name", list(SYSTEMS))


def raw_of(name: str, llm: str) -> dict[str, Any]:
    adapters, port = SYSTEMS[name]
    return {
        "llm": {"path": llm, "adapters": adapters},
        "encoders": {"eye": EYE | ({"output": "global"} if name == "imagebind_llm" else {})},
        "inputs": {"image": {"encoder": "eye", **port}},
    }


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    for index in range(3):
        pixels = torch.randint(0, 256, (3, 16, 16), generator=torch.Generator().manual_seed(index), dtype=torch.uint8)
        Image(pixels).save(tmp_path / f"{index}.png")
    return [str(tmp_path / f"{index}.png") for index in range(3)]


def user(text: str, *paths: str) -> list[dict[str, Any]]:
    parts = [{"type": "image", "path": path} for path in paths]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def shaken(model: AnyX) -> AnyX:
    """Weights away from their beginning, so that adapters say something."""
    torch.manual_seed(5)
    for tensor in model.own_state().values():
        if tensor.is_floating_point():
            tensor.add_(torch.randn_like(tensor) * 0.3)
    return model


@EACH
def test_a_batch_answers_as_its_rows_and_as_full_passes(name: str, pictures: list[str], tiny_llm_folder: str) -> None:
    model = shaken(build(configs.check(raw_of(name, tiny_llm_folder))))
    chats = [user("What is it?", pictures[0]), user("Hi"), user("And these, now?", *pictures[1:])]
    together = model.generate(chats, max_new_tokens=6)
    assert [reply.text for reply in together] == [model.chat(chat, max_new_tokens=6).text for chat in chats]
    batch = model.processor.collate([model.processor(chats[2], generate=True)], generate=True)
    with torch.no_grad():
        spliced, _ = model.read(batch, side="left")
        embeddings, mask, ids = spliced.embeddings, spliced.mask, []
        for _ in range(6):
            states = model.llm.states(embeddings, mask, context=spliced.context)
            ids.append(int(model.llm.logits(states[:, -1])[0, : model.llm.vocabulary].argmax()))
            embeddings = torch.cat([embeddings, model.llm.embed(torch.tensor([ids[-1:]]))], 1)
            mask = torch.cat([mask, mask[:, -1:]], 1)
    text = model.llm.tokenizer.decode(ids, skip_special_tokens=True)
    assert text.startswith(together[2].text)
    assert together[2].text or ids[0] in model.llm.stop


@EACH
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision(name: str, autocast: bool, pictures: list[str], tiny_llm_folder: str) -> None:
    """A body in bfloat16 beside weights of ours in float32, and all of it under autocast, as stages train."""
    raw = raw_of(name, tiny_llm_folder)
    raw["llm"]["dtype"] = "float32" if autocast else "bfloat16"
    model = shaken(build(configs.check(raw)))
    for parameters in model.parts().values():
        for parameter in parameters:
            parameter.requires_grad_(parameter.dtype == torch.float32)
    chat = [*user("What?", *pictures[:2]), {"role": "assistant", "content": "A fox."}]
    batch = model.processor.collate([model.processor(chat), model.processor([*user("Hi"), chat[-1]])])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = model(batch)
        loss = torch.nn.functional.cross_entropy(model.llm.logits(output.states), output.labels)
    loss.backward()
    for part, parameters in model.parts().items():
        if part.startswith("llm.adapters"):
            assert any(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in parameters), part


@EACH
def test_media_change_the_answer_and_stand_where_they_should(
    name: str, pictures: list[str], tiny_llm_folder: str
) -> None:
    model = shaken(build(configs.check(raw_of(name, tiny_llm_folder))))

    def states(path: str) -> Tensor:
        batch = model.processor.collate([model.processor(user("Say it.", path), generate=True)], generate=True)
        with torch.no_grad():
            spliced, tokens = model.read(batch, side="left")
            stands = name not in ("flamingo", "llama_adapter", "imagebind_llm")
            count = tokens["image"].values.shape[1] if stands else 0
            assert spliced.embeddings.shape[1] == batch.ids.shape[1] - 1 + count
            return model.llm.states(spliced.embeddings, spliced.mask, context=spliced.context)[:, -1]

    assert (states(pictures[0]) - states(pictures[1])).abs().max() > 1e-3


def test_the_gate_hears_the_instruction_and_not_the_answer(pictures: list[str], tiny_llm_folder: str) -> None:
    model = build(configs.check(raw_of("octavius", tiny_llm_folder)))
    gates = []
    for answer in ("Yes.", "No, never at all."):
        chat = [*user("Is it?", pictures[0]), {"role": "assistant", "content": answer}, *user("Why?")]
        batch = model.processor.collate([model.processor([*chat, {"role": "assistant", "content": "So."}])])
        assert (batch.labels != IGNORE).any()
        spliced, _ = model.read(batch)
        assert spliced.context is not None
        gates.append(spliced.context.readings["mixture"].rows["gates"].detach())
    torch.testing.assert_close(*gates)
    asked = model.processor.collate([model.processor(user("Is it?", pictures[0]), generate=True)], generate=True)
    spliced, _ = model.read(asked, side="left")
    assert spliced.context is not None
    assert int((gates[0] > 0).sum()) == 2
    assert float(gates[0].sum()) == pytest.approx(1)


@EACH
def test_a_saved_model_is_read_back(name: str, pictures: list[str], tmp_path: Path, tiny_llm_folder: str) -> None:
    model = shaken(build(configs.check(raw_of(name, tiny_llm_folder))))
    model.save_pretrained(tmp_path / "saved")
    again = AnyX.from_pretrained(str(tmp_path / "saved"))
    mine, theirs = model.own_state(), again.own_state()
    assert mine.keys() == theirs.keys()
    assert {f"llm.adapters.{key}" for key in SYSTEMS[name][0] if key != "positions"} <= {
        ".".join(key.split(".")[:3]) for key in mine
    }
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in mine.items())
    eye: nn.Module = again.encoders["eye"]
    eye.load_state_dict(model.encoders["eye"].state_dict())  # a body is named in the YAML, not saved: here it is random
    chat = user("What is it?", *pictures[:1])
    assert model.chat(chat, max_new_tokens=5).text == again.chat(chat, max_new_tokens=5).text


@EACH
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    name: str, pictures: list[str], tmp_path: Path, tiny_llm_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        {"messages": [*user("What is it?", path), {"role": "assistant", "content": f"Number {index}."}]}
        for index, path in enumerate([*pictures, *pictures])
    ]
    (tmp_path / "chat.jsonl").write_text("\n".join(map(json.dumps, lines)))
    raw = raw_of(name, tiny_llm_folder) | {"data": {"chat": {"type": "jsonl", "path": str(tmp_path / "chat.jsonl")}}}
    train = {"llm.adapters.*": 1e-2, "inputs.*.projector": 1e-2}
    raw["stages"] = {
        "tune": {
            "train": train,
            "losses": {"text": 1},
            "data": {"chat": 1},
            "batch_size": 2,
            "steps": 4,
            "save_every": 1,
            "log_every": 1,
            "workers": 0,
        }
    }

    def trained(out: Path, **given: Any) -> dict[str, Tensor]:
        made = run.train(configs.check(raw), out=out, cache=tmp_path / "features", device="cpu", **given)
        return AnyX.from_pretrained(str(made)).own_state()

    torch.manual_seed(1)
    whole = trained(tmp_path / "whole")
    begun = build(configs.check(raw)).own_state()
    assert any((whole[key] - begun[key]).abs().max() > 0 for key in whole if key.startswith("llm.adapters."))
    step = trainee.Trainee.training_step

    def killed(self: trainee.Trainee, batch: Any, index: int) -> Tensor:
        if self.done == 2:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(trainee.Trainee, "training_step", killed)
        torch.manual_seed(1)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            trained(tmp_path / "cut")
    rest = trained(tmp_path / "cut", resume=True)
    assert all(torch.equal(tensor, rest[key]) for key, tensor in whole.items())


@pytest.mark.parametrize("first", ["image", "video"])
def test_media_of_two_keys_are_seen_in_their_order(first: str) -> None:
    """Media in adapters are no wider than nothing, so that neighbours begin at one position."""
    model = hooked.causal_lm("llama")
    adapters = {"cross": GatedCrossAttention(Body(model), "cross", dim=4, heads=2, head_dim=4)}
    ids = torch.tensor([[5, PLACEHOLDER, PLACEHOLDER, 6, PLACEHOLDER]])
    one, two, three = torch.randn(3, 1, 2, 4)
    places = {
        "image": (torch.tensor([0, 0]), torch.tensor([2, 4]), Tokens.full(torch.cat([two, three]))),
        "video": (torch.tensor([0]), torch.tensor([1]), Tokens.full(one)),
    }
    keys = sorted(places, reverse=first == "video")  # as the first row of a batch has them
    text = inside.Text(model.get_input_embeddings()(ids.clamp(0)), ids, ids != 0, torch.full_like(ids, IGNORE))
    into = {key: ["cross"] for key in keys}
    spliced = inside.lay(text, {key: places[key] for key in keys}, adapters, into, side="left")
    assert spliced.context is not None
    read = spliced.context.readings["cross"]
    assert torch.equal(read.rows["media"], torch.cat([one, two, three], 1))
    assert read.places["visible"][0].int().tolist() == [[0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]]
    assert read.after["visible"][0].int().tolist() == [[0, 0, 0, 0, 1, 1]]  # at the end: seen by the answer


def test_what_a_yaml_says_of_adapters_is_checked(tiny_llm_folder: str) -> None:
    raw = raw_of("cogvlm", tiny_llm_folder)
    raw["llm"]["adapters"] |= {
        "cross": {"type": "gated_cross_attention", "evry": 2},
        "mixture": {"type": "lora_experts", "modules": ["q_proj"], "r": 1},
        "lost": {"type": "routed", "modules": ["q_proj"]},
        "wrong": {"type": "rooted"},
        "headless": {"type": "gated_cross_attention", "heads": 0},
    }
    raw["inputs"]["image"]["into"] = ["expert", "positions", "cross", "mixture", "nobody"]
    with pytest.raises(ConfigError) as found:
        configs.check(raw)
    said = str(found.value)
    for line in (
        "llm.adapters.cross.evry: Key 'evry' not in 'GatedCrossAttention'",
        "llm.adapters.wrong.type: 'rooted' is not one of gated_cross_attention",
        "llm.adapters.headless.heads: must be int >= 1, but 0 was given",
        "llm.adapters.lost: no input goes into it",
        "inputs.image.into: 'mixture' reads no media",
        "inputs.image.into: 'nobody' is not one of expert, positions, cross",
        "in some the media stand in the sequence too, in others they do not",
    ):
        assert line in said, said


def test_what_the_layers_cannot_take_is_said_with_its_path(tiny_llm_folder: str) -> None:
    raw = raw_of("flamingo", tiny_llm_folder)
    raw["llm"]["adapters"]["cross"]["every"] = 9
    with pytest.raises(ValueError, match=r"llm.adapters.cross: every: 9 given; the LLM has 2 layers"):
        build(configs.check(raw))


def test_parts_are_named_by_adapter(tiny_llm_folder: str) -> None:
    config = configs.check(raw_of("llama_adapter", tiny_llm_folder))
    model = build(config, meta=True, encoders=False)
    assert {"llm.adapters.prompts", "llm.adapters.tuned"} <= set(model.parts()) <= set(configs.parts(config))
    body: list[nn.Parameter] = model.parts()["llm.body"]
    mine = {id(p) for name in ("prompts", "tuned") for p in model.parts()[f"llm.adapters.{name}"]}
    assert not mine & {id(parameter) for parameter in body}
