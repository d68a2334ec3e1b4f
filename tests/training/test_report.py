"""The table, the CSV over resumed runs, the picture."""

from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from anyx.media import Image
from anyx.training.report import Metrics, draw_curves, table
from anyx.training.stage import select


def test_the_table_counts_each_parameter_once() -> None:
    shared, own = nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(1000))
    parts = {"inputs.a": [shared], "inputs.b": [shared], "body": [own]}
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(parts, select(parts, {"inputs.*": 1e-3}), "stage one"))
    lines = console.export_text().splitlines()
    assert any("body" in line and "1,000" in line and "FROZEN" in line for line in lines)
    assert any("inputs.b" in line and "12" in line and "TRAINABLE" in line and "0.001" in line for line in lines)
    assert any("inputs" not in line and " 12 " in line and "TRAINABLE" in line for line in lines)


def test_metrics_rewind_what_a_resumed_run_repeats(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    first = Metrics(path, ["text"])
    first.rewind("one", 0)
    for step in (2, 4):
        first.add("one", step, 1.0, {"lr": 1e-3, "loss": step / 3, "text": step / 3})
    again = Metrics(path, ["text", "caption"])
    again.rewind("one", 2)
    again.add("two", 2, 1.0, {"lr": 1e-3, "loss": 1.0, "caption": 1.0})
    assert path.read_text().splitlines() == [
        "stage,step,seconds,lr,loss,text,caption",
        "one,2,1.0,0.001,0.666667,0.666667,",
        "two,2,1.0,0.001,1,,1",
    ]
    curves = Metrics(path, ["text", "caption"]).curves()
    assert curves["one"]["loss"] == ([2], [pytest.approx(2 / 3, rel=1e-5)])
    assert list(curves["two"]) == ["loss", "caption"]


def test_curves_become_a_picture(tmp_path: Path) -> None:
    curves = {"one": {"loss": ([1, 2], [3.0, 2.0])}, "two": {"loss": ([1], [1.0])}}
    picture = Image.read(draw_curves(curves, tmp_path / "loss.png"))
    assert picture.size[1] > picture.size[0] > 300
