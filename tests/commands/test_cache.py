"""`anyx cache`, from an empty folder to one that holds what a YAML wants and nothing else."""

import json
from pathlib import Path
from typing import Any

import components
import pytest
import torch
from safetensors.torch import save_file

from anyx import config as configs
from anyx import yamls
from anyx.commands import main
from anyx.commands.cache import bytes_of
from anyx.data.cache import FeatureCache
from anyx.decoders import StableDiffusionDecoder
from anyx.encoders.vit import ViTEncoder
from anyx.media import Image
from anyx.training import run

TEXT = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
EYE = {"width": 16, "layers": 1, "heads": 2, "hidden": 24, "patch": 8, "size": 16}


@pytest.fixture
def file(tmp_path: Path, tiny_llm_folder: str) -> Path:
    torch.manual_seed(3)
    (tmp_path / "eye").mkdir()
    save_file(ViTEncoder(**EYE).state_dict(), tmp_path / "eye" / "model.safetensors")
    given = components.TINY["decoders"]["stable_diffusion"][0]
    StableDiffusionDecoder(**given, text=TEXT, tokenizer={"words": ["fox"], "length": 5}).save(tmp_path / "draw")
    lines = []
    for index in range(4):
        Image(torch.full((3, 16, 16), 40 * index, dtype=torch.uint8)).save(tmp_path / f"{index}.png")
        part = {"type": "image", "path": f"{index}.png", "caption": f"fox {index}"}
        ask: Any = [part] if index % 2 else "Draw"
        answer: Any = "A fox." if index % 2 else [part]
        lines.append({"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]})
    (tmp_path / "chat.jsonl").write_text("\n".join(map(json.dumps, lines)))
    both = {"data": {"chat": 1}, "batch_size": 2, "steps": 1, "precision": "fp32"}
    raw = {
        "llm": {"path": tiny_llm_folder},
        "encoders": {"eye": {"type": "vit", "path": str(tmp_path / "eye"), **EYE}},
        "inputs": {"image": {"encoder": "eye", "projector": {"type": "linear"}}},
        "outputs": {
            "image": {
                "tokens": 2,
                "projector": {"type": "transformer", "hidden": 8, "layers": 1, "heads": 2},
                "decoder": {"type": "stable_diffusion", "path": str(tmp_path / "draw")},
            }
        },
        "data": {"chat": {"type": "jsonl", "path": str(tmp_path / "chat.jsonl")}},
        "stages": {
            "encode": {"train": {"inputs.*.projector": 1e-2}, "losses": {"text": 1}, **both},
            "decode": {
                "train": {"outputs.*.projector": 1e-2},
                "losses": {"text": 1, "caption": 1, "denoise": 1},
                **both,
            },
            "tune": {"train": {"encoders.eye": 1e-3}, "losses": {"text": 1}, **both},
            "after": {"train": {"inputs.*.projector": 1e-2}, "losses": {"text": 1}, **both},
        },
    }
    (tmp_path / "it.yaml").write_text(yamls.dump(raw))
    return tmp_path / "it.yaml"


def command(words: list[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(words)
    assert done.value.code == 0


def test_a_cache_is_built_used_and_swept(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "features"
    folder.mkdir()
    there = ["--folder", str(folder)]
    command(["cache", "build", str(file), "--stage", "encode", "--workers", "0", "--device", "cpu", *there])
    assert len(FeatureCache(folder)) == 2  # the two pictures that are sent
    command(["cache", "build", str(file), "--workers", "0", "--device", "cpu", *there])
    built = set(FeatureCache(folder))
    assert len(built) == 6  # and of the two that are shown captions and latents
    checked = configs.load(file)
    run.train(checked, out=tmp_path / "out", stages=["encode", "decode"], cache=folder, device="cpu")
    assert set(FeatureCache(folder)) == built  # a run finds all of it
    FeatureCache(folder).put({"stray": {"x": torch.zeros(9)}}, kind="features")
    command(["cache", "gc", "--keep", str(file), "--dry-run", *there])
    command(["cache", "info", *there])
    said = capsys.readouterr().out
    assert "1 entries would go" in said
    assert all(kind in said for kind in ("captions", "latents", "features"))
    command(["cache", "gc", "--keep", str(file), *there])
    command(["cache", "verify", *there])
    assert "6 entries" in capsys.readouterr().out
    assert set(FeatureCache(folder)) == built


def test_damage_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FeatureCache(tmp_path).put({"a": {"x": torch.zeros(9)}})
    (shard,) = tmp_path.glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(SystemExit, match="2"):
        main(["cache", "verify", "--folder", str(tmp_path)])
    assert "--fix removes them" in capsys.readouterr().err
    command(["cache", "verify", "--fix", "--folder", str(tmp_path)])
    assert "1 shards removed" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["cache", "gc", "--folder", str(tmp_path)])
    assert "say what may go" in capsys.readouterr().err


def test_sizes_are_read() -> None:
    assert [bytes_of(size) for size in ("10", "2K", "1.5GB", "3GiB")] == [10, 2048, 3 << 29, 3 << 30]
    with pytest.raises(ValueError, match="--max-size: 'much'"):
        bytes_of("much")
