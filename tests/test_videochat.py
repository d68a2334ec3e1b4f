"""VideoChat and VideoChat2: their own YAMLs with every part cut to a few thousand random weights run their stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file
from transformers import BertTokenizer

from anyx import AnyX, yamls
from anyx.config import check
from anyx.media import Image, Video
from anyx.prompt import Prompt
from anyx.training.run import train

ROOT = Path(__file__).parent.parent / "configs"
LLM = {"model_type": "llama", "vocab_size": 32000, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
LLM |= {"num_attention_heads": 4, "tie_word_embeddings": False}
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
TOWER |= {"image_size": 28, "patch_size": 14, "initializer_range": 0.2}
EYES: dict[str, dict[str, Any]] = {
    "videochat": {"path": None, "config": TOWER, "depth": 2, "frames": 4},
    "videochat2": {"path": None, "width": 16, "layers": 2, "heads": 2, "hidden": 24, "patch": 8, "size": 16}
    | {"joint": 4, "frames": 4},
}
QFORMER = {"queries": 3, "extra": 2, "width": 8, "layers": 2, "heads": 2}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "is", "this", "?", "a", "cow"]
NEW = ("temporal", "extra_query_tokens", "proj", "norm")  # what learns in VideoChat


def small(name: str, folder: Path) -> dict[str, Any]:
    """The YAML with tiny parts, and a row of each kind of data."""
    frames = torch.randint(0, 255, (6, 3, 16, 24), dtype=torch.uint8)
    Video(frames, 3.0).save(folder / "1.gif")
    Image(frames[0]).save(folder / "1.png")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    raw = yamls.read(ROOT / "models" / f"{name}.yaml")
    raw["llm"] |= {"path": LLM, "tokenizer": str(ROOT / "published"), "dtype": "float32"}
    raw["encoders"]["vision"] |= EYES[name]
    projector = raw["inputs"]["video"]["projector"]
    projector |= QFORMER
    if "tokenizer" in projector:
        projector |= {"tokenizer": str(folder / "bert"), "vocabulary": len(WORDS)}
    turns = [{"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": "a cow"}]
    asked = {"QA": [{"i": "", "q": "What is this?", "a": "a cow"}]}
    for source, node in raw["data"].items():
        kind = node.get("key", "video" if source in ("clips", "instructions") else "image")
        file = "1.gif" if kind == "video" else "1.png"
        row = {"llava": {"image": file, "conversations": turns}, "videochat": {kind: file, **asked}}
        path = folder / f"{source}.json"
        path.write_text(json.dumps([row.get(node["type"], {kind: file, "caption": "a cow"})]))
        node |= {"path": str(path), "root": str(folder)}
    for stage in raw["stages"].values():
        stage |= {
            "epochs": None,
            "steps": 2,
            "batch_size": 2,
            "workers": 0,
            "train": dict.fromkeys(stage["train"], 0.01),
        }
    return raw


@pytest.mark.parametrize("name", EYES)
def test_both_stages_train_what_they_name(name: str, tmp_path: Path) -> None:
    raw = small(name, tmp_path)
    folder = train(check(raw), out=tmp_path / "run", cache=tmp_path / "cache", device="cpu")
    for stage, given in raw["stages"].items():
        learnt = load_file(folder / stage / "final.safetensors")
        assert learnt
        assert all(any(tensor.startswith(part) for part in given["train"]) for tensor in learnt if "lora" not in tensor)
        if name == "videochat":
            assert {part for part in NEW if any(f".{part}" in tensor for tensor in learnt)} == set(NEW)
            assert not any(".eye." in tensor or ".qformer." in tensor for tensor in learnt)
    model = AnyX.from_pretrained(folder)
    trained = load_file(folder / "instruct" / "final.safetensors")
    own = dict(model.named_parameters())
    shared = [tensor for tensor in trained if tensor in own]
    assert any(tensor.startswith("inputs.video") for tensor in shared)
    assert any(tensor.startswith("encoders.vision") for tensor in shared)  # in `learnt.safetensors`
    for tensor in shared:
        torch.testing.assert_close(own[tensor].detach(), trained[tensor])
    content = [{"type": "video", "path": str(tmp_path / "1.gif")}, {"type": "text", "text": "What is this?"}]
    assert model.chat([{"role": "user", "content": content}], max_new_tokens=2).keys in (["text"], [])


@pytest.mark.parametrize("name", EYES)
def test_the_prompt(name: str) -> None:
    """Template T2 of the reference with the tags of VideoChat's media; times are said by the user."""
    film = Video(torch.zeros(16, 3, 4, 4, dtype=torch.uint8), 2.0)
    times = ", ".join(f"{moment:.1f}" for moment in film.moments(8))
    note = f"The video contains 8 frames sampled at {times} seconds. "
    content = [{"type": "video", "media": film}, {"type": "text", "text": f"{note}What is this?"}]
    told = [{"role": "user", "content": content}, {"role": "assistant", "content": "a cow"}]
    template = yamls.read(ROOT / "models" / f"{name}.yaml")["llm"]["template"]
    tokenizer = tiny.tokenizer()
    encoded = Prompt(tokenizer, template, ["video"]).encode(
        [*told, {"role": "user", "content": "Sure?"}], generate=True
    )
    assert [slot.key for slot in encoded.media] == ["video"]
    written = tokenizer.decode([token for token in encoded.ids if token >= 0], skip_special_tokens=True)
    said = (
        "###Human: <Video></Video> The video contains 8 frames sampled at "
        "0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5 seconds. What is this?###Assistant: a cow###Human: Sure?###Assistant: "
    )
    assert written == said
    taught = tokenizer.decode([label for label in encoded.labels if label >= 0])
    assert taught == "a cow###"
