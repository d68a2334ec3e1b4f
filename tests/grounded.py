"""A tiny model that has learnt to say where things are in one picture."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny import causal_lm
from transformers import Blip2VisionConfig, Blip2VisionModel, PreTrainedTokenizerFast

from anyx import yamls
from anyx.build import build
from anyx.config import load
from anyx.media import Image
from anyx.model import AnyX

TOWER = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def taught(place: Path, words: PreTrainedTokenizerFast, system: str, answers: dict[str, str]) -> Path:
    """A folder with a model of `system`'s template and boxes."""
    torch.manual_seed(0)
    causal_lm(words, tied=False, dim=64).save_pretrained(place / "llm")
    words.save_pretrained(place / "llm")
    Blip2VisionModel(Blip2VisionConfig(**TOWER)).save_pretrained(place / "eye")
    picture(place / "farm.png")
    raw = {
        "llm": {
            "path": str(place / "llm"),
            "template": system,
            "lora": {"r": 32, "alpha": 64, "targets": ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]},
        },
        "encoders": {
            "vision": {"type": "eva_clip", "path": str(place / "eye"), "post_ln": "identity", "keep_cls": False}
        },
        "inputs": {"image": {"encoder": "vision", "projector": {"type": "stack"}, "boxes": {"type": system}}},
    }
    (place / "model.yaml").write_text(yamls.dump(raw))
    model = build(load(place / "model.yaml"))
    learn(model, place / "farm.png", answers)
    model.save_pretrained(place / "model")
    return place


def picture(path: Path) -> Path:
    torch.manual_seed(1)
    return Image(torch.randint(100, 150, (3, 100, 200), dtype=torch.uint8)).save(path)


def learn(model: AnyX, path: Path, answers: dict[str, str]) -> None:
    """Teach the answers until both are the likeliest ones, a second or two."""
    chats = [
        [
            {"role": "user", "content": [{"type": "image", "path": str(path)}, {"type": "text", "text": ask}]},
            {"role": "assistant", "content": answer},
        ]
        for ask, answer in answers.items()
    ]
    batch = model.processor.collate([model.processor(chat) for chat in chats])
    weights = [p for name, part in model.parts().items() if name != "encoders.vision" for p in part if p.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=5e-3)
    for _ in range(300):
        said = model(batch)
        loss = torch.nn.functional.cross_entropy(model.llm.logits(said.states), said.labels)
        if loss.item() < 0.02:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05, loss.item()
