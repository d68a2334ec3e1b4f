"""Many processes: who started them, how they find one another, and how a run starts its own on one machine.

`torchrun` and Slurm's `srun` start one process a device, on every machine; then a run only takes its place among them.
Where nobody did and several devices are asked for, the run starts them itself, here. Every process runs the same
story; the first one writes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.queues import SimpleQueue
from typing import Any, Literal, TypeVar, get_args

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import distributed, multiprocessing
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from anyx.ranks import ALONE, Ranks
from anyx.training.report import console
from anyx.training.stopping import ASKING, Stopped

T = TypeVar("T")
Strategy = Literal["auto", "ddp", "fsdp", "deepspeed_2", "deepspeed_3"]
PATIENCE = timedelta(days=3)  # of those that wait while one computes features or saves
HOW = "start one process a device there by torchrun or srun (experiments/distributed/README.md)"


@dataclass(frozen=True)
class Machines:
    """How a run is spread: `devices` a machine, `nodes` machines, and what each process holds (`strategy`)."""

    devices: int = 1
    nodes: int = 1
    strategy: Strategy = "auto"

    @classmethod
    def here(cls, devices: int | None = None, nodes: int | None = None, strategy: str = "auto") -> Machines:
        """What was asked for, or else what was started; `ValueError` where the two differ."""
        chosen = next((known for known in get_args(Strategy) if known == strategy), None)
        if chosen is None:
            raise ValueError(f"strategy: {strategy!r} is not one of {', '.join(get_args(Strategy))}")
        for name, count in (("devices", devices), ("nodes", nodes)):
            if count is not None and count < 1:
                raise ValueError(f"{name}: {count} given; it is 1 or more")
        started = environment()
        if started is None:
            if (nodes or 1) > 1:
                raise ValueError(f"nodes: {nodes} given, but a run starts processes on its own machine only; {HOW}")
            return cls(devices or 1, 1, chosen)
        world = started.world_size()
        there = nodes or (int(os.environ["SLURM_NNODES"]) if isinstance(started, SLURMEnvironment) else groups(world))
        if world != (devices or world // there) * there:
            told = f"{world} processes were started on {there} machines"
            raise ValueError(f"devices: {devices} given, but {told}; give as many as were started, or none")
        return cls(world // there, there, chosen)

    @property
    def world(self) -> int:
        """How many processes there are."""
        return self.devices * self.nodes

    def check(self, device: str) -> None:
        """Raise where that device is not there so often."""
        if self.world > 1 and (":" in device or device == "mps"):
            raise ValueError(f"device: {device!r} is one device, but {self.devices} are asked for on each machine")
        present = torch.cuda.device_count()
        if device != "cpu" and torch.cuda.is_available() and self.devices > present:
            raise ValueError(f"devices: {self.devices} given, but {present} are here")


def groups(world: int) -> int:
    """How many machines torchrun has started processes on."""
    return max(1, world // int(os.environ.get("LOCAL_WORLD_SIZE", world)))


def environment() -> ClusterEnvironment | None:
    """Who started this process beside others: torchrun (or `start`), Slurm's srun; None where nobody did."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if "SLURM_PROCID" in os.environ and SLURMEnvironment.detect() and int(os.environ.get("SLURM_NTASKS", 1)) > 1:
        return SLURMEnvironment()
    return None


def leads() -> bool:
    """Whether this process is the one that speaks, also before or after a run."""
    found = environment()
    return found is None or found.global_rank() == 0


@contextlib.contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Take this process's place among those of the run, and leave it at the end."""
    found = environment()
    if found is None or found.world_size() == 1:
        yield ALONE
        return
    os.environ.setdefault("MASTER_ADDR", found.main_address)
    os.environ.setdefault("MASTER_PORT", str(found.main_port))
    rank, world = found.global_rank(), found.world_size()
    graphics = device != "cpu" and torch.cuda.is_available()
    if graphics:
        torch.cuda.set_device(found.local_rank())
    distributed.init_process_group("cpu:gloo,cuda:nccl" if graphics else "gloo", rank=rank, world_size=world)
    if rank:
        console().quiet = True
        logging.getLogger("anyx").setLevel(logging.WARNING)
    try:
        yield Ranks(rank, world, distributed.new_group(backend="gloo", timeout=PATIENCE))
    finally:
        distributed.destroy_process_group()


def start(story: Callable[[], T], devices: int, method: Literal["spawn", "forkserver"] = "spawn") -> T:
    """Run a story in one new process a device, and answer what the first says; a `ValueError` of any is raised here.

    The story is picklable, and what it answers small. Where one process fails the others are ended. `method` is how
    multiprocessing starts them.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said: SimpleQueue[Any] = multiprocessing.get_context(method).SimpleQueue()
    told = (story, devices, port, said)
    running = start_processes(_tell, told, devices, join=False, start_method=method)  # type: ignore[no-untyped-call]
    assert running is not None
    before = _pass_on(running.processes)
    try:
        while not running.join():
            pass
    except KeyboardInterrupt:  # it reached the processes too, which are saving
        for process in running.processes:
            process.join(60)
        if not said.empty() and isinstance(told := said.get(), Stopped):
            raise told from None
        raise
    except (ProcessRaisedException, ProcessExitedException) as error:
        if not said.empty() and isinstance(told := said.get(), ValueError):
            raise told from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    answer: T | Stopped = said.get()
    if isinstance(answer, Stopped):
        raise answer
    return answer


def _pass_on(processes: Iterable[Any]) -> dict[signal.Signals, Any]:
    """Send signals on to all processes from now on; what was done with them before. Ctrl-C reaches all by itself."""

    def send(number: int, frame: Any) -> None:
        for process in processes:
            if process.is_alive():
                os.kill(process.pid, number)

    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, send) for number in ASKING if number != signal.SIGINT}


def _tell(local: int, story: Callable[[], Any], devices: int, port: int, said: SimpleQueue[Any]) -> None:
    """One process: its place as torchrun would say it, then the story."""
    place: dict[str, int | str] = {
        "RANK": local,
        "LOCAL_RANK": local,
        "WORLD_SIZE": devices,
        "LOCAL_WORLD_SIZE": devices,
        "GROUP_RANK": 0,
    }
    place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "anyx"}
    os.environ |= {name: str(value) for name, value in place.items()}
    try:
        answer = story()
    except ValueError as error:
        said.put(ValueError(str(error)))
        raise
    except Stopped as stopped:  # all of them stop together
        answer = stopped
    if local == 0:
        said.put(answer)
