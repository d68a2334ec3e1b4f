"""`anyx plan` counts without reading weights. What it forecasts is tested in tests/training/test_forecast.py."""

import os
import re
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


def planned(name: str) -> dict[str, list[str]]:
    """The rows that are printed of a shipped model, by title, in a process of its own that takes less than 2 GiB."""
    code = (
        f"import sys; from anyx.commands import main\n"
        f"try: main(['plan', 'configs/models/{name}.yaml'])\n"
        "except SystemExit as ended: code = ended.code\n"
        "print('PEAK', next(line for line in open('/proc/self/status') if 'VmHWM' in line).split()[1]); sys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"COLUMNS": "200"}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    lines = [re.split(r"\s{2,}", line.strip()) for line in ran.stdout.splitlines()]
    table = {cells[0]: cells[1:] for cells in lines if len(cells) > 1}
    peak = next(cells[0].split()[1] for cells in lines if cells[0].startswith("PEAK"))
    assert int(peak) < 2 * 2**20  # KiB
    return table


def test_the_published_system_is_planned_in_little_memory() -> None:
    """The figure of NExT-GPT, and of its sheet A1.2: no weight is here, and twelve billion would not fit."""
    rows = planned("nextgpt")
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
    assert rows["inputs.image.projector"][0] == "4,198,400"
    assert rows["llm.lora"][0] == "33,554,432"
    assert [rows[f"outputs.{key}.projector"][0] for key in ("image", "video", "audio")] == [
        "31,958,784", "32,090,112", "31,788,544"
    ]  # fmt: skip


def numbers(cells: list[str]) -> list[float]:
    """Bytes of what the table says of each stage."""
    units = {"B": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}
    return [float(number) * 1024 ** units[unit] for number, unit in map(str.split, cells)]


def test_the_second_version_is_planned_with_its_denoisers() -> None:
    """Eight tokens a medium, of 256 patches or more; what denoisers keep makes the decoding stage the largest."""
    rows = planned("nextgpt_v15")
    assert rows["part"] == ["parameters", "encode", "decode", "instruct"]
    assert rows["LoRA"] == ["320 M"] * 2
    assert rows["llm.lora"] == [f"{32 * 128 * (8 * 4096 + 3 * (4096 + 11008)):,}", "frozen", "frozen", "learns"]
    shared = [rows[f"inputs.{key}.projector"] for key in ("image", "video", "audio")]
    assert shared[0][1:] == ["learns", "frozen", "learns"]
    assert shared == [shared[0]] * 3
    for key in ("image", "video", "audio"):
        assert rows[f"outputs.{key}.projector"][1:] == ["frozen", "learns", "learns"]
        assert rows[f"outputs.{key}.decoder.denoiser"][1:] == ["frozen"] * 3
        assert rows[f"inputs.{key}"][2] == "8"
        assert len(rows[f"inputs.{key}"]) == 3
    activations = numbers(rows["memory: activations"])
    alone = 2 * 256 * (32 * (8 * 4096 + 3 * 11008) * 2 + 8 * 32000)  # two rows through Vicuna, as Shape counts
    assert activations[1] > 4 * alone
    assert rows["a step, 256 tokens a row"]
    parts = [numbers(rows[f"memory: {name}"]) for name in ("weights", "gradients", "optimizer", "activations")]
    for whole, *some in zip(numbers(rows["memory: sum (estimate)"]), *parts, strict=True):
        assert abs(whole - sum(some)) < 0.02 * whole  # each is printed to three figures


def test_pandagpt_is_planned() -> None:
    """One linear map of 1024 x 4096 + 4096, LoRA of rank 32 in four maps of 32 layers, one stage, nothing to show."""
    rows = planned("pandagpt")
    assert rows["part"] == ["parameters", "instruct"]
    assert rows["encoders: vision, audio"][1] == "1.20 G"
    assert rows["input projectors"] == ["4.20 M"] * 2
    assert rows["inputs.image.projector"] == [f"{1024 * 4096 + 4096:,}", "learns"]
    assert rows["llm.lora"] == [f"{32 * 4 * 32 * 2 * 4096:,}", "learns"]
    assert rows["llm.body"] == ["6,738,415,616", "frozen"]
    assert rows["all"][1] == "37.8 M"
    assert [rows[f"inputs.{key}"][2] for key in ("image", "video", "audio")] == ["1"] * 3
    assert not [title for title in rows if title.startswith(("output", "decoder", "signal"))]


def test_a_device_says_whether_a_stage_fits_and_what_to_change(
    tiny_llm_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    raw = {
        "llm": {"path": tiny_llm_folder, "lora": {"r": 2, "targets": ["q_proj"]}},
        "data": {"some": {"type": "jsonl", "path": "none.jsonl"}},
        "stages": {"instruct": {"train": {"llm.lora": 1e-3}, "losses": {"text": 1}, "data": {"some": 1}, "epochs": 2}},
    }
    path = tmp_path / "model.yaml"
    OmegaConf.save(OmegaConf.create(raw), path)

    def rows(*arguments: str) -> dict[str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["plan", str(path), *arguments])
        printed = capsys.readouterr()
        assert ended.value.code == 0, printed.err
        lines = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in printed.out.splitlines()]
        return {cells[0]: cells[1] for cells in lines if len(cells) > 1}

    unknown = rows("--on", "t4")
    assert unknown["fits"] == "yes"
    assert unknown["steps"] == unknown["whole stage"] == "?"
    assert rows("--on", "h100", "--records", "800")["steps"] == "200"  # two epochs of eights
    two = rows("--on", "h100", "--records", "800", "--devices", "2")
    assert two["on 2 x h100, 79.0 GiB"] == "instruct"
    assert two["steps"] == "100"
    large = rows("--on", "t4", "stages.instruct.batch_size=40000", "--length", "500")
    assert large["fits"] == "no"
    fit = re.fullmatch(r"batch_size=(\d+), accumulate=(\d+); or gradient_checkpointing=true", large["if not"])
    assert fit is not None
    assert 0 < int(fit[1]) < 40000 <= int(fit[1]) * int(fit[2])
    change = [f"stages.instruct.batch_size={fit[1]}"]
    assert rows("--on", "t4", *change, "--length", "500")["fits"] == "yes"
    with pytest.raises(SystemExit):
        main(["plan", str(path), "--on", "h999"])
    assert "'h999' is not one of b200, h200" in " ".join(capsys.readouterr().err.split())
