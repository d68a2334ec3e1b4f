"""What a stage (`anyx.schema.Stage`) thaws, and how that learns: optimiser, schedule, precision.

A stage freezes everything, thaws the parts that its globs name, gives each glob an optimiser group of its own, and
keeps what is frozen in `eval()`. A part that two globs name belongs to the later one. Nothing here knows what the
parts are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from anyx.frozen import Numbers
from anyx.schema import Stage

Parts = Mapping[str, Sequence[Parameter]]
SCHEDULES = ("cosine", "linear", "constant")


@dataclass(frozen=True)
class Selection:
    """What a stage thaws: glob -> part names, and the parameters of those parts."""

    globs: Mapping[str, Sequence[str]]
    parts: Parts
    rates: Mapping[str, float] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The thawed parts."""
        return [name for names in self.globs.values() for name in names]

    def group(self, glob: str) -> list[Parameter]:
        """The parameters of a glob, each once."""
        found = {id(parameter): parameter for name in self.globs[glob] for parameter in self.parts[name]}
        return list(found.values())

    def parameters(self) -> list[Parameter]:
        """All thawed parameters."""
        return [parameter for glob in self.globs for parameter in self.group(glob)]


def select(parts: Parts, train: Mapping[str, float]) -> Selection:
    """Match globs with parts; a glob that names nothing is an error that lists the parts."""
    if not train:
        raise ValueError(f"train: nothing is named; the parts are {', '.join(parts) or 'none'}")
    owner: dict[str, str] = {}
    for glob in train:
        found = [name for name in parts if fnmatchcase(name, glob) and len(parts[name])]
        if not found:
            raise ValueError(f"train: {glob!r} matches no part; the parts are {', '.join(parts) or 'none'}")
        owner |= dict.fromkeys(found, glob)
        owner |= {name: glob for name in owner if any(name.startswith(f"{part}.") for part in found)}  # it lies within
    globs = {glob: [name for name in parts if owner.get(name) == glob] for glob in train}
    seen: dict[int, str] = {}
    for glob, names in globs.items():  # a parameter shared by parts of two globs would have two owners
        for parameter in (parameter for name in names for parameter in parts[name]):
            if seen.setdefault(id(parameter), glob) != glob:
                raise ValueError(f"train: {seen[id(parameter)]!r} and {glob!r} share parameters; name them by one glob")
    return Selection({glob: names for glob, names in globs.items() if names}, parts, dict(train))


def thaw(model: nn.Module, selection: Selection) -> None:
    """Freeze all, thaw the selection, and set the modes: frozen modules in eval(), thawed ones in train()."""
    model.requires_grad_(False)
    for parameter in selection.parameters():
        parameter.requires_grad_(True)
    set_modes(model)


def set_modes(model: nn.Module) -> None:
    """train() for modules whose every parameter is thawed, and for their parameterless siblings (a LoRA's dropout)."""
    model.eval()
    for module in model.modules():
        children = list(module.children())
        if any(learns(child) for child in children):
            for child in children:
                if learns(child) or next(child.parameters(), None) is None:
                    child.train()
    if learns(model):
        model.train()


def learns(module: nn.Module) -> bool:
    """Whether a module has parameters and all of them are thawed."""
    flags = [parameter.requires_grad for parameter in module.parameters()]
    return bool(flags) and all(flags)


def make_optimizer(stage: Stage, selection: Selection, extra: Sequence[Parameter] = ()) -> AdamW:
    """AdamW with one group a glob; `extra` parameters (a learned temperature) learn at the highest rate, undecayed."""
    decay = stage.weight_decay
    groups = [
        {"params": selection.group(glob), "lr": selection.rates[glob], "weight_decay": decay}
        for glob in selection.globs
    ]
    if extra:
        groups.append({"params": list(extra), "lr": max(selection.rates.values()), "weight_decay": 0.0})
    return AdamW(groups, betas=(stage.betas[0], stage.betas[1]), fused=True)


def make_schedule(stage: Stage, optimizer: Optimizer, steps: int) -> LambdaLR:
    """Linear warm-up, then to zero by a cosine or a line, or constant."""
    if stage.schedule not in SCHEDULES:
        raise ValueError(f"stages.{stage.name}.schedule: {stage.schedule!r} is not one of {', '.join(SCHEDULES)}")
    warmup = stage.warmup if stage.warmup >= 1 else math.ceil(stage.warmup * steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if stage.schedule == "constant":
            return 1.0
        place = min(1.0, (step - warmup) / max(1, steps - warmup))
        return 1 - place if stage.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * place))

    return LambdaLR(optimizer, factor)


def autocast_dtype(stage: Stage, device: torch.device) -> torch.dtype | None:
    """bf16 where it was asked for, or where the machine computes it natively; None for fp32."""
    return lowered(stage, native=torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_has_bf16())


def lowered(stage: Stage, *, native: bool) -> torch.dtype | None:
    """The same for a device that has bf16 by itself (`native`) or has not."""
    if stage.precision not in ("auto", "bf16", "fp32"):
        raise ValueError(f"stages.{stage.name}.precision: {stage.precision!r} is not one of auto, bf16, fp32")
    if stage.precision == "fp32":
        return None
    return torch.bfloat16 if stage.precision == "bf16" or native else None


def numbers_of(stage: Stage) -> Numbers:
    """How frozen encoders compute in a stage, whether their features are kept or not."""
    if isinstance(stage.cache, bool):
        return Numbers()
    dtype = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[stage.cache]
    return Numbers(own=True, kept=None if dtype == torch.float32 else dtype)


def cpu_has_bf16() -> bool:
    """Whether matrix products in bf16 run natively here."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
