"""Does the whole system run on this machine, and how fast? Random weights, every stage, one reply with all media.

    python experiments/nextgpt/gpu_check.py                                # NExT-GPT v1, full size, on the first GPU
    python experiments/nextgpt/gpu_check.py experiments/nextgpt/tiny.yaml  # a few thousand weights, on a CPU
    python experiments/nextgpt/gpu_check.py CONFIG a.b=c ... --steps 10 --json out.json

Weights that a YAML names and that are not here are random, at their published sizes: nothing is downloaded. Media and
captions are drawn from a seed. For every stage it prints the step time (median), tokens a second, the share of the
machine's peak that matrix products and attention reach (MFU: operations as torch counts them in one step, over time
and peak) and the peak memory; for the reply the time to read the request, words a second, and each output's decoder.
The peak is the vendor's dense bfloat16 figure where the GPU is known, else that of a matrix product measured here.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning import Callback
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from anyx import published, yamls
from anyx.build import build
from anyx.config import Config, check
from anyx.data.cache import FeatureCache
from anyx.data.sources import Feed
from anyx.decoding import generator
from anyx.media import Audio, Image, Series, Video
from anyx.model import AnyX
from anyx.schema import Stage
from anyx.training import run
from anyx.training.report import Metrics

HERE = Path(__file__).resolve().parent
VENDOR = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}  # dense bfloat16 a second
SAID = "a small red ball rolls over the green grass while two dogs run after it and a child laughs"
log = logging.getLogger("anyx")


class Clock(Callback):
    """Times whole steps, counts the operations of the first, and knows how many tokens the rows had."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: list[float] = []
        self.tokens: list[int] = []
        self.operations = 0
        self.counter: FlopCounterMode | None = None
        self.started = 0.0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self.counter = FlopCounterMode(display=False)
            self.counter.__enter__()
        self.started = now(self.device)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        spent = now(self.device) - self.started
        if self.counter is not None:
            self.counter.__exit__(None, None, None)
            self.operations, self.counter = self.counter.get_total_flops(), None
            return  # counting is slow, and the first step warms up
        self.seconds.append(spent)
        self.tokens.append(int(batch[0].batch.mask.sum()))


def now(device: str) -> float:
    """Seconds, once everything that was asked of the device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory(device: str) -> int:
    """The most bytes since `forget_peak`: of the GPU's allocator, or of the process."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_peak(device: str) -> None:
    """Count the peak from here; a process cannot forget its own."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()


def peak_rate(device: str) -> tuple[float, str]:
    """Operations a second at best, and where that figure is from."""
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name()
        known = next((rate for part, rate in VENDOR.items() if part in name), None)
        if known is not None:
            return known, f"{name}, vendor's figure"
    size = 8192 if device.startswith("cuda") else 1024
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    spent = []
    for _ in range(10):
        started = now(device)
        a @ a
        spent.append(now(device) - started)
    return 2 * size**3 / min(spent), f"{size} x {size} bfloat16 products, measured"


def medium(kind: type, seed: int) -> Image | Audio | Video | Series:
    """Noise of a kind: a picture, two seconds of sound, of film, or of a sensor."""
    noise = torch.Generator().manual_seed(seed)
    if kind is Audio:
        return Audio(0.1 * torch.randn(1, 32000, generator=noise), 16000)
    if kind is Series:
        return Series(torch.randn(6, 800, generator=noise), rate=400.0)
    frames = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8, generator=noise)
    return Image(frames[0]) if kind is Image else Video(frames, fps=4.0)


def records(model: AnyX, stage: Stage, folder: Path, count: int) -> list[dict[str, Any]]:
    """Requests and replies that a stage can learn from: media are sent, shown, or both, one a row, keys in turn."""
    sends = any(name.startswith("inputs") for name in stage.train) or not model.outputs
    shows = any(name.startswith("outputs") for name in stage.train) and model.outputs
    rows = []
    for index in range(count):
        words = SAID.split()
        caption = " ".join(words[(index + i) % len(words)] for i in range(12))
        user: list[dict[str, Any]] = [{"type": "text", "text": "tell me what this is" if sends else caption}]
        reply: list[dict[str, Any]] = [{"type": "text", "text": caption}]
        if sends:
            key = list(model.inputs)[index % len(model.inputs)]
            path = medium(model.inputs[key].kind, index).save(folder / f"{index}.{model.inputs[key].kind.suffix}")
            user.insert(0, {"type": key, "path": str(path)})
        if shows:
            key = list(model.outputs)[index % len(model.outputs)]
            path = medium(model.outputs[key].kind, index).save(folder / f"{index}.{model.outputs[key].kind.suffix}")
            reply.append({"type": key, "path": str(path), "caption": caption})
        rows.append({"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]})
    return rows


def train(model: AnyX, stage: Stage, steps: int, device: str, folder: Path) -> tuple[Clock, float]:
    """Some steps of a stage, and the seconds before the first: features, optimiser."""
    folder.mkdir(parents=True)
    short = dataclasses.replace(
        stage, steps=steps + 1, epochs=None, accumulate=1, workers=0, warmup=1, log_every=steps + 1
    )
    clock = Clock(device)
    where = run.Run(
        folder / "run",
        Metrics(folder / "metrics.csv", sorted(stage.losses)),
        FeatureCache(folder / "features"),
        device=device,
        callbacks=[clock],
    )
    rows = records(model, stage, folder, min(64, stage.batch_size * (steps + 1)))
    started = now(device)
    run.fit(model, short, [Feed("random", rows)], [1.0], where)
    return clock, now(device) - started - sum(clock.seconds)


@torch.no_grad()
def reply(model: AnyX, device: str, words: int) -> dict[str, float]:
    """One reply as `AnyX.stream` makes it, but with random weights: so many words, then every output's group."""
    sent = [{"type": key, "media": medium(port.kind, 0)} for key, port in model.inputs.items()]
    chat = [{"role": "user", "content": [*sent, {"type": "text", "text": "answer with everything you have"}]}]
    found: dict[str, float] = {}
    with timed(found, "reading the request", device):
        batch = model.processor.collate([model.processor(chat, generate=True)], generate=True)
        spliced, _ = model.read(batch.to(torch.device(device)), side="left")
        cache, state = model.llm.prefill(spliced.embeddings, spliced.mask)
    with timed(found, f"{words} words", device):
        for _ in range(words):
            best = int(model.llm.logits(state)[0, : model.llm.vocabulary].argmax())
            state = model.llm.step([[best]], cache)[0][-1:]
    for key, port in model.outputs.items():
        with timed(found, f"outputs.{key}", device):
            states = model.llm.step([list(port.ids)], cache)[0]
            assert port.decoder is not None
            (made,) = port.decoder(model.condition(key, states[None]), generators=[generator(0, 0)])
        assert isinstance(made, port.kind)
    return found


@contextmanager
def timed(found: dict[str, float], name: str, device: str) -> Iterator[None]:
    """Seconds of what happens inside."""
    started = now(device)
    yield
    found[name] = now(device) - started


def measure(config: Config, device: str, steps: int, words: int, folder: Path) -> dict[str, Any]:
    """Build, train every stage for some steps, reply."""
    rate, source = peak_rate(device)
    started = time.perf_counter()
    model = build(config, device=device)
    built = time.perf_counter() - started
    count = sum(parameter.numel() for parameter in {id(p): p for p in model.parameters()}.values())
    report: dict[str, Any] = {"parameters": count, "seconds to build": built, "peak": rate, "peak from": source}
    report["stages"] = {}
    for name, stage in config.stages.items():
        forget_peak(device)
        clock, before = train(model, stage, steps, device, folder / name)
        second = statistics.median(clock.seconds)
        report["stages"][name] = {
            "seconds before": before,
            "seconds a step": second,
            "tokens a second": statistics.median(clock.tokens) / second,
            "operations a step": clock.operations,
            "MFU": clock.operations / second / rate,
            "peak bytes": peak_memory(device),
        }
    forget_peak(device)
    model.eval()
    report["reply"] = reply(model, device, words)
    report["reply peak bytes"] = peak_memory(device)
    report["machine"] = torch.cuda.get_device_name() if device.startswith("cuda") else platform.machine()
    report["torch"] = torch.__version__
    return report


def show(report: Mapping[str, Any], words: int) -> None:
    """The report as tables."""
    console = Console()
    console.print(
        f"{report['parameters']:,} parameters, built in {report['seconds to build']:.0f} s; "
        f"peak {report['peak'] / 1e12:.3g} TFLOP/s ({report['peak from']})"
    )
    table = Table("stage", "s before", "s a step", "tokens/s", "TFLOP a step", "MFU", "peak GiB", box=None)
    for name, row in report["stages"].items():
        table.add_row(
            name,
            f"{row['seconds before']:.1f}",
            f"{row['seconds a step']:.3f}",
            f"{row['tokens a second']:.0f}",
            f"{row['operations a step'] / 1e12:.3g}",
            f"{row['MFU']:.1%}",
            f"{row['peak bytes'] / 2**30:.1f}",
        )
    console.print(table)
    table = Table("reply", "seconds", box=None)
    for name, seconds in report["reply"].items():
        table.add_row(name, f"{seconds:.2f}")
    table.add_row("words a second", f"{words / report['reply'][f'{words} words']:.1f}")
    table.add_row("peak GiB", f"{report['reply peak bytes'] / 2**30:.1f}")
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path, default=HERE.parents[1] / "configs/models/nextgpt.yaml")
    parser.add_argument("overrides", nargs="*", help="a.b=c, laid over the YAML")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=5, help="timed steps a stage, after one that warms up")
    parser.add_argument("--words", type=int, default=32, help="words of the reply")
    parser.add_argument("--json", type=Path, help="write the report here too")
    given = parser.parse_args(arguments)
    torch.manual_seed(0)
    config = check(published.random(yamls.read(given.config, given.overrides)))
    with tempfile.TemporaryDirectory() as folder:
        report = measure(config, given.device, given.steps, given.words, Path(folder))
    show(report, given.words)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")
    return report


if __name__ == "__main__":
    main()
