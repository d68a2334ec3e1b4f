"""NExT-GPT, cut to a few thousand weights: its stages learn in either order, and the GPU check runs on a CPU."""

from pathlib import Path

import pytest

from anyx.imports import import_file

NEXTGPT = Path(__file__).parents[2] / "experiments" / "nextgpt"
gpu_check = import_file(NEXTGPT / "gpu_check.py")


def test_the_gpu_check_runs_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "report.json"
    report = gpu_check.main(
        [str(NEXTGPT / "tiny.yaml"), "--device", "cpu", "--steps", "1", "--words", "3", "--json", str(written)]
    )
    assert written.is_file()
    assert list(report["stages"]) == ["encode", "decode", "instruct"]
    for row in report["stages"].values():
        assert row["operations a step"] > 0
        assert 0 < row["MFU"] < 1
        assert row["tokens a second"] > 0
    assert set(report["reply"]) == {
        "reading the request", "3 words", "outputs.image", "outputs.video", "outputs.audio"
    }  # fmt: skip
    assert "words a second" in capsys.readouterr().out
