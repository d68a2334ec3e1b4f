"""What each process of a test of many does: a stage of a tiny model with three kinds in and three out."""

from __future__ import annotations

import faulthandler
import multiprocessing
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import tiny
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from anyx.data.cache import FeatureCache
from anyx.data.sources import Feed, Record
from anyx.interfaces import Condition
from anyx.llm import LLM
from anyx.media import Audio, Image
from anyx.model import AnyX, InputPort, OutputPort
from anyx.schema import Stage
from anyx.training import launch, run
from anyx.training.report import Metrics
from anyx.training.trainee import Trainee

KINDS: dict[str, type[Image] | type[Audio]] = {"image": Image, "audio": Audio, "depth": Image}
ALL = {"llm.lora": 1e-3, "*puts.*.projector": 1e-3, "llm.signal_tokens": 1e-3, "encoders.*": 1e-3}
LOSSES: dict[str, Any] = {"text": 1, "caption": {"weights": {"audio": 2}}, "denoise": 0.5, "align": 0.1}
T = TypeVar("T")
Gradients = dict[str, Tensor | None]


class Teacher(tiny.TinyDecoder):
    """A tiny decoder whose captions have conditions, as long as they are."""

    def encode_text(self, captions: Sequence[str]) -> Condition:
        values = torch.stack([torch.linspace(0.1, len(caption) / 5, 15).view(3, 5) for caption in captions])
        masks = torch.stack([torch.arange(3) <= len(caption) % 3 for caption in captions])
        return Condition({"prompt_embeds": values}, {"prompt_embeds": masks})

    def text_parts(self) -> tuple[torch.nn.Module, str]:
        return torch.nn.Identity(), "lengths of captions"


def model() -> AnyX:
    """Nothing in it draws at random."""
    torch.manual_seed(0)
    words = tiny.tokenizer()
    lora = {"r": 2, "targets": ["q_proj", "v_proj"]}
    llm = LLM(tiny.causal_lm(words), words, tokens=dict.fromkeys(KINDS, 2), lora=lora)
    eye = tiny.TinyEncoder()
    eye.dropout.p = 0.0
    condition = {"prompt_embeds": (3, 5)}
    inputs = {key: InputPort("eye", tiny.TinyInputProjector(6, llm.dim), kind=kind) for key, kind in KINDS.items()}
    outputs = {
        key: OutputPort(
            tiny.TinyOutputProjector(llm.dim, condition), ids=llm.groups[key], kind=kind, decoder=Teacher(kind)
        )
        for key, kind in KINDS.items()
    }
    made = AnyX(llm, encoders={"eye": eye}, inputs=inputs, outputs=outputs)
    for parameter in llm._lora().values():  # a LoRA begins at zero, where half of it has no gradient
        torch.nn.init.normal_(parameter, std=0.05)
    return made


def record(index: int) -> Record:
    """Some of the kinds in, some out, often none, sometimes one that cannot be read."""
    chance = random.Random(index)
    said = [key for key in KINDS if chance.random() < 0.35]
    shown = [key for key in KINDS if chance.random() < 0.3]
    ask: list[Any] = [
        {"type": key, "media": medium(key, chance), "caption": "fox" * chance.randint(1, 3)} for key in said
    ]
    if chance.random() < 0.25:
        ask.append({"type": "image", "path": "nowhere.png"})
    answer: list[Any] = [
        {"type": key, "media": medium(key, chance), "caption": "a fox"[: chance.randint(1, 5)]} for key in shown
    ]
    ask.append({"type": "text", "text": "What do you hear? " * chance.randint(1, 4)})
    answer.append({"type": "text", "text": "A fox. " * chance.randint(1, 9)})
    return {"id": str(index), "messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]}


def medium(key: str, chance: random.Random) -> Image | Audio:
    """One of its kind."""
    level = chance.random()
    if KINDS[key] is Image:
        return Image(torch.full((3, 4, 4), int(255 * level), dtype=torch.uint8))
    return Audio(torch.full((1, 16), level), 16000)


def feed(size: int = 300) -> Feed:
    """Records that differ in what they hold."""
    return Feed("dialogues", [record(index) for index in range(size)])


def stage(**given: Any) -> Stage:
    """All learns, by all losses."""
    base = {"name": "s", "train": ALL, "losses": LOSSES, "data": {"dialogues": 1}, "steps": 4, "batch_size": 4}
    return Stage(**{**base, "clip": None, "schedule": "constant", "warmup": 0, "precision": "fp32", **given})


class Listener(Callback):
    """Keeps the gradients of every step, as the optimiser had them; may end the run before a step as a crash would."""

    def __init__(self, crash: int | None) -> None:
        self.found: list[Gradients] = []
        self.crash, self.done = crash, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Trainee)
        self.done = pl_module.done

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Trainee)
        if pl_module.done == self.crash:
            raise ValueError("crashed")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Trainee)
        if pl_module.done == self.done:
            return  # within an accumulation
        self.done, named = pl_module.done, pl_module.named_parameters()
        self.found.append({n: None if p.grad is None else p.grad.clone() for n, p in named if p.requires_grad})


def fit(stage: Stage, out: Path, strategy: str = "auto", limit: float = 240, crash: int | None = None) -> None:
    """A stage in this process, alone or among those started beside it; writes the gradients of every step."""
    torch.set_num_threads(1)
    faulthandler.dump_traceback_later(limit, exit=launch.environment() is not None)
    listener = Listener(crash)
    with launch.joined("cpu") as ranks:
        if ranks.leads:
            out.mkdir(parents=True, exist_ok=True)
        ranks.wait()
        metrics = Metrics(out / "metrics.csv", list(stage.losses))
        made = run.Run(out, metrics, FeatureCache(out / "features"), device="cpu", callbacks=[listener])
        there = replace(made, ranks=ranks, machines=launch.Machines.here(strategy=strategy))
        run.fit(model(), stage, [feed()], [1.0], there)
        faulthandler.cancel_dump_traceback_later()
        for step in {0, len(listener.found) // 2, len(listener.found) - 1}:
            assert distance(listener.found[step], ranks.first(listener.found[step])) == 0, "processes disagree"
        if ranks.leads:
            torch.save(listener.found, out / "gradients.pt")


def many(story: Callable[[], T], world: int) -> T:
    """Start processes that have imported nearly everything already: one server imports it for all tests."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["anyx.training.run"])
    return launch.start(story, world, "forkserver")


def distance(found: Gradients, wanted: Gradients) -> float:
    """The largest difference, as a share of the largest gradient of its step; infinite where only one has one."""
    if found.keys() != wanted.keys() or any((found[name] is None) != (wanted[name] is None) for name in found):
        return float("inf")
    pairs = [(mine, its) for name, mine in found.items() if mine is not None and (its := wanted[name]) is not None]
    if not all(bool(mine.isfinite().all()) for mine, _ in pairs):
        return float("inf")
    largest = max((float(its.abs().max()) for _, its in pairs), default=0.0)
    return max((float((mine - its).abs().max()) for mine, its in pairs), default=0.0) / max(1.0, largest)
