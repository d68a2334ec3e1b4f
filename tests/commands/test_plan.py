"""`anyx plan` counts without reading weights, and its memory follows from the counts."""

from pathlib import Path

import pytest
import torch
from components import TINY
from omegaconf import OmegaConf
from torch import nn

from anyx.commands import main
from anyx.commands.plan import Memory, Shape, estimate, human
from anyx.schema import Stage


def test_memory_follows_from_the_counts() -> None:
    """Weights 4 + 2 bytes a number; a gradient and two moments for the 100 float32 numbers that learn."""
    body = nn.Parameter(torch.empty(1000, dtype=torch.bfloat16, device="meta"))
    lora = nn.Parameter(torch.empty(100, device="meta"))
    stage = Stage("s", train={"llm.lora": 1e-4}, losses={"text": 1}, data={"some": 1}, batch_size=3)
    parts = {"llm.lora": [lora], "llm.body": [body]}
    assert estimate(parts, stage, None, 10) == Memory(2 * 1000 + 4 * 100, 400, 800, 0)
    shape = Shape(layers=2, width=8, inner=16, vocabulary=50)
    kept = 3 * 10 * (2 * (8 * 8 + 3 * 16) * 2 + 8 * 50)
    assert estimate(parts, stage, shape, 10).activations == kept


def test_a_stage_without_a_backward_pass_through_the_llm_keeps_nothing_of_it() -> None:
    parts = {
        "inputs.a.projector": [nn.Parameter(torch.empty(1))],
        "outputs.a.projector": [nn.Parameter(torch.empty(1))],
    }
    shape = Shape(layers=2, width=8, inner=16, vocabulary=50)

    def kept(train: str, *losses: str) -> int:
        stage = Stage("s", train={train: 1e-4}, losses=dict.fromkeys(losses, 1), data={"some": 1})
        return estimate(parts, stage, shape, 10).activations

    assert kept("inputs.*.projector", "align") == 0
    assert kept("outputs.*.projector", "caption") == 0
    assert kept("inputs.*.projector", "text", "align") == kept("outputs.*.projector", "text", "caption") > 0


def test_a_shared_part_weighs_once() -> None:
    shared = [nn.Parameter(torch.empty(10, device="meta"))]
    stage = Stage("s", train={"outputs.*.projector": 1e-4}, losses={"text": 1}, data={"some": 1})
    memory = estimate({"outputs.a.projector": shared, "outputs.b.projector": shared}, stage, None, 1)
    assert memory == Memory(40, 40, 80, 0)


@pytest.mark.parametrize(
    ("count", "unit", "said"),
    [(0, "", "0"), (999, "", "999"), (4_198_400, "", "4.20 M"), (6.7e9, "", "6.70 G"), (1536, "B", "1.50 KiB")],
)
def test_human(count: float, unit: str, said: str) -> None:
    assert human(count, unit) == said


def test_a_plan_reads_no_weights(
    tiny_llm_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    eye = {"type": "imagebind", "path": str(tmp_path / "not_there.safetensors")} | TINY["encoders"]["imagebind"][0]
    decoder = {"type": "stable_diffusion"} | TINY["decoders"]["stable_diffusion"][0]
    raw = {
        "llm": {"path": tiny_llm_folder, "lora": {"r": 2, "targets": ["q_proj"]}},
        "encoders": {"eye": eye},
        "inputs": {"image": {"encoder": "eye", "projector": {"type": "linear"}}},
        "outputs": {"image": {"tokens": 2, "projector": {"type": "linear"}, "decoder": decoder}},
        "data": {"some": {"type": "jsonl", "path": "none.jsonl"}},
        "stages": {
            "encode": {"train": {"inputs.*.projector": 1e-3}, "losses": {"text": 1}, "data": {"some": 1}, "steps": 1},
            "instruct": {"train": {"llm.lora": 1e-3}, "losses": {"text": 1}, "data": {"some": 1}, "steps": 1},
        },
    }
    path = tmp_path / "model.yaml"
    OmegaConf.save(OmegaConf.create(raw), path)
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(path)])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    rows = {line.split()[0]: line.split()[1:] for line in printed.out.splitlines() if line.strip()}
    assert rows["inputs.image.projector"] == [str(12 * 32 + 32), "learns", "frozen"]
    assert rows["llm.lora"] == [str(2 * 2 * (32 + 32)), "frozen", "learns"]  # two layers, rank 2, 32 -> 32
    assert rows["all"][1:] == ["416", "256"]


def test_backbones_have_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")
    decoder = {"type": "stable_diffusion"} | TINY["decoders"]["stable_diffusion"][0]
    stage = {"losses": {"reconstruct": 1}, "data": {"some": 1}, "steps": 1}
    raw = {
        "outputs": {"image": {"decoder": decoder}},
        "data": {"some": {"type": "jsonl", "path": "none.jsonl"}},
        "stages": {"see": {"train": {"outputs.image.decoder.vae": 1e-3}} | stage},
    }
    OmegaConf.save(OmegaConf.create(raw), tmp_path / "backbones.yaml")
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(tmp_path / "backbones.yaml")])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    rows = {line.split()[0]: line.split()[1:] for line in printed.out.splitlines() if line.strip()}
    assert rows["outputs.image.decoder.vae"][1:] == ["learns"]
    assert rows["outputs.image.decoder.denoiser"][1:] == ["frozen"]
