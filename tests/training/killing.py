"""A process that is warm once and forks for each attempt at a run, so that runs can be killed by the dozen.

It reads jobs as lines of JSON from stdin: `words` of the command line, and when to die: after `seconds`, or just before
the `change`-th change of a file under `folder` (opened for writing, renamed, removed, a folder made); `signal` may be
another than SIGKILL there. It answers each with a line: what the system says of the child's end, and how many changes
there were.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import time
from typing import Any

import torch

from anyx.interfaces import Media
from anyx.media import Image

WARM = (
    "anyx.training.run",
    "anyx.encoders.imagebind",
    "anyx.decoders.stable_diffusion",
    "diffusers.models.unets.unet_2d_condition",
    "transformers.models.clip.modeling_clip",
    "transformers.models.llama.modeling_llama",
    "torch.utils.tensorboard",
    "matplotlib.figure",
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def brighter(key: str, medium: Media, generator: torch.Generator) -> Media:
    """An augmentation that draws from its generator and, as those of other people do, from torch's own."""
    assert isinstance(medium, Image)
    change = torch.rand(1, generator=generator) + torch.rand(1)
    return Image((medium.pixels * (0.5 + change / 4)).clamp(0, 255).to(torch.uint8))


def changes(event: str, args: tuple[Any, ...], folder: str) -> bool:
    """Whether an audit event is about to change something under a folder."""
    if event == "open":
        return bool(args[2] & WRITING) and str(args[0]).startswith(folder)
    return event in ("os.rename", "os.remove", "os.mkdir", "os.truncate") and str(args[0]).startswith(folder)


def attempt(job: dict[str, Any], said: int) -> None:
    """The child: count changes, die at the one asked for, run the command."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    os.environ["ANYX_HOME"] = job["home"]
    here, count = os.getpid(), 0

    def watch(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate") and os.getpid() == here:
            if not changes(event, args, job["folder"]):
                return
            count += 1
            if count == job.get("change"):
                os.killpg(here, job.get("signal", signal.SIGKILL))

    sys.addaudithook(watch)
    from anyx.commands import main

    try:
        main(job["words"])
    finally:
        os.write(said, str(count).encode())


def serve() -> None:
    """Answer jobs until there are no more."""
    torch.set_num_threads(1)
    for name in WARM:
        importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        reading, writing = os.pipe()
        began = time.monotonic()
        child = os.fork()
        if not child:
            code = 1
            try:
                with open(job["log"], "a") as log:
                    os.dup2(log.fileno(), 1)
                    os.dup2(log.fileno(), 2)
                attempt(job, writing)
                code = 0
            except SystemExit as error:
                code = int(error.code or 0)
            finally:
                os._exit(code)
        os.close(writing)
        if "seconds" in job:
            time.sleep(job["seconds"])
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # workers of a killed run end by themselves, but only after seconds
        took = time.monotonic() - began
        count = os.read(reading, 99).decode()
        os.close(reading)
        answer = {"status": os.waitstatus_to_exitcode(status), "changes": int(count or 0), "seconds": took}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
