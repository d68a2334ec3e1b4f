"""`anyx plan` counts without reading weights. What it forecasts is tested in tests/training/test_forecast.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from components import TINY
from omegaconf import OmegaConf

from anyx.commands import main
from anyx.commands.plan import human

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("count", "unit", "said"),
    [
        (0, "", "0"),
        (999, "", "999"),
        (4_198_400, "", "4.20 M"),
        (6.7e9, "", "6.70 G"),
        (1536, "B", "1.50 KiB"),
        (5.02e12, "FLOP", "5.02 TFLOP"),
    ],
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


def test_the_published_system_is_planned_in_little_memory() -> None:
    """The figure of NExT-GPT, and of its sheet A1.2: no weight is here, and twelve billion would not fit."""
    code = (
        "import resource, sys; from anyx.commands import main\n"
        "try: main(['plan', 'configs/models/nextgpt.yaml'])\n"
        "except SystemExit as ended: code = ended.code\n"
        "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"COLUMNS": "200"}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    lines = [line.split() for line in ran.stdout.splitlines()]
    rows = {" ".join(words[:-4]): (" ".join(words[-4:-2]), " ".join(words[-2:])) for words in lines if len(words) > 4}
    assert rows["encoders: vision, audio"][1] == "1.20 G"
    assert rows["input projectors"][0] == "4.20 M"
    assert rows["LLM"][0] == "6.74 G"
    assert rows["LoRA"][0] == "33.6 M"
    for key, projector, decoder in (
        ("image", "32.0", "1.37 G"),
        ("video", "32.1", "1.84 G"),
        ("audio", "31.8", "975 M"),
    ):
        assert rows[f"output projector: {key}"][0] == f"{projector} M"
        assert rows[f"decoder: {key}"][1] == decoder
    exact = {words[0]: words[1] for words in lines if len(words) > 1}
    assert exact["inputs.image.projector"] == "4,198,400"
    assert exact["llm.lora"] == "33,554,432"
    assert [exact[f"outputs.{key}.projector"] for key in ("image", "video", "audio")] == [
        "31,958,784", "32,090,112", "31,788,544"
    ]  # fmt: skip
    assert int(exact["PEAK"]) < 2 * 2**20  # KiB
