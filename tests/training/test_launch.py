"""Who starts processes, what is said of wrong counts, and that one command trains the same on two as on one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anyx import config as configs
from anyx.schema import Stage
from anyx.training import engines, launch, run

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "experiments" / "llava" / "tiny.yaml"
SBATCH = ROOT / "experiments" / "distributed" / "train.sbatch"


def started(monkeypatch: pytest.MonkeyPatch, world: int, local: int) -> None:
    place = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": local, "TORCHELASTIC_RUN_ID": "x"}
    for name, value in place.items():
        monkeypatch.setenv(name, str(value))


def test_what_was_started_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch.Machines.here() == launch.Machines(1, 1, "auto")
    assert launch.Machines.here(4, strategy="fsdp") == launch.Machines(4, 1, "fsdp")
    started(monkeypatch, 8, 4)
    assert launch.Machines.here() == launch.Machines.here(4, 2) == launch.Machines(4, 2, "auto")
    with pytest.raises(ValueError, match="devices: 3 given, but 8 processes were started on 2 machines"):
        launch.Machines.here(3)


def test_slurm_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    place = {
        "NTASKS": 6,
        "NTASKS_PER_NODE": 2,
        "NNODES": 3,
        "PROCID": 4,
        "LOCALID": 0,
        "NODEID": 2,
        "JOB_NAME": "anyx",
        "JOB_ID": 77,
    }
    for name, value in place.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    assert launch.Machines.here() == launch.Machines(2, 3, "auto")
    assert not launch.leads()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"strategy": "fsdb"}, "strategy: 'fsdb' is not one of auto, ddp, fsdp, deepspeed_2, deepspeed_3"),
        ({"devices": 0}, "devices: 0 given; it is 1 or more"),
        ({"nodes": 2}, "nodes: 2 given, but a run starts processes on its own machine only; start one process"),
        ({"devices": 4}, "stages.align.batch_size: 2 conversations cannot be shared by 4 processes"),
    ],
)
def test_mistakes_are_said_before_training(given: dict[str, int], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        run.train(configs.load(TINY), out=tmp_path, cache=tmp_path / "features", device="cpu", **given)


def test_deepspeed_clips_and_keeps_what_learns_whole() -> None:
    stage = Stage(name="s", train={}, losses={}, data={}, clip=0.5, batch_size=12)
    made = engines.zero(launch.Machines(4, 1, "deepspeed_3"), stage)
    assert (made["gradient_clipping"], made["train_micro_batch_size_per_gpu"]) == (0.5, 3)
    assert made["zero_optimization"]["stage"] == 3
    assert made["zero_optimization"]["stage3_param_persistence_threshold"] >= 4096 * 4096
    assert engines.zero(launch.Machines(4, 1, "deepspeed_2"), stage)["zero_optimization"] == {"stage": 2}


@pytest.mark.skipif(engines.importlib.util.find_spec("deepspeed") is not None, reason="DeepSpeed is installed")
def test_deepspeed_is_named_where_it_is_missing() -> None:
    stage = Stage(name="s", train={}, losses={}, data={})
    with pytest.raises(ValueError, match=r"deepspeed_2 needs DeepSpeed; install the extra: pip install -e"):
        engines.engine(launch.Machines(2, 1, "deepspeed_2"), stage)


def test_torchrun_trains_what_one_process_trains(tmp_path: Path) -> None:
    """The recipe's command with two processes on this machine; the same weights to rounding, one set of files."""
    overrides = [f"stages.{name}.precision=fp32" for name in ("align", "instruct")]
    alone = run.train(configs.load(TINY, overrides), out=tmp_path / "alone", cache=tmp_path / "features", device="cpu")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "anyx"]
    command += ["train", str(TINY), *overrides, "--out", str(tmp_path / "two"), "--device", "cpu"]
    told = {**os.environ, "ANYX_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("done ") == 1
    for stage in ("align", "instruct"):
        one, two = (load_file(folder / stage / "final.safetensors") for folder in (alone, tmp_path / "two"))
        assert one.keys() == two.keys()
        for name in one:
            torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5)
    lines = [(folder / "metrics.csv").read_text().splitlines() for folder in (alone, tmp_path / "two")]
    assert len(lines[0]) == len(lines[1])


def test_the_batch_script_is_one_and_its_line_is_the_command() -> None:
    text = SBATCH.read_text()
    assert subprocess.run(["bash", "-n", str(SBATCH)], check=False).returncode == 0
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", text, re.MULTILINE))
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]
    assert re.search(r"^srun .*anyx train \"\$@\" --resume$", text, re.MULTILINE)
