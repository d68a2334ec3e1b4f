"""Many processes learn what one learns: random kinds of media in each, often none, gradients as of one process."""

import csv
from functools import partial
from pathlib import Path

import processes
import pytest
import torch
from safetensors.torch import load_file

from anyx.training import checkpoint

CLOSE = 1e-5


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("steps", [50, pytest.param(2000, marks=pytest.mark.slow)])
def test_gradients_are_those_of_one_process(tmp_path: Path, world: int, steps: int) -> None:
    """Weights stay as they are (a rate of 0), so that no difference hides or grows; every step is another batch."""
    still = processes.stage(train=dict.fromkeys(processes.ALL, 0.0), steps=steps, log_every=steps)
    processes.fit(still, tmp_path / "alone")
    processes.many(partial(processes.fit, still, tmp_path / "many", limit=60 + steps), world)
    alone, many = (torch.load(tmp_path / name / "gradients.pt") for name in ("alone", "many"))
    assert len(many) == len(alone) == steps
    assert max(map(processes.distance, many, alone)) < CLOSE
    absent = [sum(gradient is None for gradient in step.values()) for step in alone]
    assert min(absent) == 0 < max(absent)  # batches that had everything, and that had not
    rows = [next(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in ("alone", "many")]
    for name in ("loss", *processes.LOSSES):
        assert float(rows[0][name]) == pytest.approx(float(rows[1][name]), rel=1e-4), name


def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    """Two processes crash past a checkpoint, three go on; what is learnt is what one process learns at a stretch."""
    given = processes.stage(steps=6, save_every=3, batch_size=6, accumulate=2, clip=1.0)
    processes.fit(given, tmp_path / "whole")
    with pytest.raises(ValueError, match="crashed"):
        processes.many(partial(processes.fit, given, tmp_path / "parts", crash=4, limit=100), 2)
    assert checkpoint.steps(tmp_path / "parts" / "s")[0] == 3
    processes.many(partial(processes.fit, given, tmp_path / "parts", limit=100), 3)
    whole, parts = (load_file(tmp_path / name / "s" / checkpoint.FINAL) for name in ("whole", "parts"))
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rate", ["llm.lora", "*puts.*.projector"])
def test_shared_out_layers_give_the_same_gradients(tmp_path: Path, rate: str) -> None:
    """FSDP2: frozen layers in parts; where only projectors learn, some processes have no way back by themselves."""
    still = processes.stage(train={rate: 0.0}, steps=8)
    processes.fit(still, tmp_path / "alone")
    processes.many(partial(processes.fit, still, tmp_path / "many", "fsdp", limit=100), 2)
    alone, many = (torch.load(tmp_path / name / "gradients.pt") for name in ("alone", "many"))
    assert max(map(processes.distance, many, alone)) < CLOSE
    both = [load_file(tmp_path / name / "s" / checkpoint.FINAL) for name in ("alone", "many")]
    assert both[0].keys() == both[1].keys()
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])
