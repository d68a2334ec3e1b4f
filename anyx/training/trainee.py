"""The LightningModule: one step of any stage. It knows losses by name and parts by name, nothing of what they are.

A batch arrives with the state to resume from after it. Sums of losses stay on the device and are read only when they
are logged, so that no step waits for a loss. Of several processes (`together.py`) each does its part of a step.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from anyx.data.batches import Dialogues, Pairs
from anyx.data.mixture import State
from anyx.model import AnyX, Output
from anyx.ranks import ALONE, Ranks
from anyx.schema import Stage
from anyx.training import losses
from anyx.training.backbones import Model
from anyx.training.conditions import Found, Step
from anyx.training.engines import Lockstep
from anyx.training.objectives import OF_CONDITIONS, OF_THE_LLM, Term, states_are_given, terms
from anyx.training.stage import (
    Selection,
    autocast_dtype,
    make_optimizer,
    make_schedule,
    numbers_of,
    select,
    set_modes,
    thaw,
)
from anyx.training.states import SignalStates
from anyx.training.together import Together
from anyx.unpadded import allowed
from anyx.waiting import wake

MISSED = 16  # batches in a row


class Trainee(lightning.LightningModule):
    """A model in a stage. `steps` is how many optimiser steps the schedule spans, `ranks` which process this is.

    `lockstep` keeps an LLM in step whose layers are shared out over the processes, which `strategy` says.
    """

    def __init__(
        self,
        model: Model,
        stage: Stage,
        steps: int,
        ranks: Ranks = ALONE,
        lockstep: Lockstep | None = None,
        strategy: str = "auto",
    ) -> None:
        super().__init__()
        self.lockstep, self.strategy = lockstep, strategy
        self.model, self.stage, self.steps, self.ranks = model, stage, steps, ranks
        self.together: Together | None = None
        self.terms: list[Term] = terms(stage.losses)
        self.weights = {term.name: term.weight for term in self.terms}
        contrast: Mapping[str, Any] = next((term.options for term in self.terms if term.name == "contrastive"), {})
        learned = bool(contrast.get("learn_temperature"))
        self.selection: Selection = select(model.parts(), stage.train)
        if isinstance(model, AnyX):
            wake(model.encoders, model.outputs, self.selection.names)
            model.encoders.numbers = numbers_of(stage)
            self.selection = select(model.parts(), stage.train)  # of what is in memory now
        thaw(model, self.selection)
        self.scale = nn.Parameter(torch.tensor(-math.log(contrast.get("temperature", 0.07))), requires_grad=learned)
        self.reads_output = any(term.name in OF_THE_LLM for term in self.terms)
        self.given = states_are_given(self.weights, self.selection.names)
        self.packs = isinstance(model, AnyX) and allowed(stage.pack, model.llm.model) and not model.llm.adapters
        kept = self.given and not lockstep
        self.states = SignalStates(model, pack=stage.pack) if kept and isinstance(model, AnyX) else None
        self.rate = 0.0  # of the last step, in the first group
        self.missed, self.applied = 0, False  # batches in a row that no loss was about; whether one ever was
        self.done = 0  # optimiser steps of the whole stage, over resumed runs
        self.fetched: State = {}  # of the data, after the last batch
        self.position: State = {}  # the same, after the last optimiser step
        self.memo: dict[str, Tensor] = {}
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int | Tensor] = {}
        self.dtype_: torch.dtype | None = None
        self.average: Average | None = None
        self.best: State = {}  # of validation: step, value, validations since, weights (`validating.py`)
        self.follow()

    def thawed(self) -> dict[str, Tensor]:
        """What a checkpoint holds: thawed parameters, and the running statistics of modules in train()."""
        found: dict[str, Tensor] = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        kept = self.model.state_dict(keep_vars=True).keys()
        for prefix, module in self.model.named_modules():
            if module.training:
                buffers = (
                    (f"{prefix}.{name}" if prefix else name, x) for name, x in module.named_buffers(recurse=False)
                )
                found |= {name: x for name, x in buffers if name in kept}
        return found | ({"training.scale": self.scale} if self.scale.requires_grad else {})

    def on_fit_start(self) -> None:
        """Modes and precision, once the device is known, and what the processes say to one another."""
        set_modes(self.model)
        self.dtype_ = autocast_dtype(self.stage, self.device)
        if self.average:
            self.average.shadow = {name: tensor.to(self.device) for name, tensor in self.average.shadow.items()}
        if self.ranks.world > 1:
            slots = [(term.name, key) for term in self.terms for key in term.keys(self.model)]
            learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
            self.together = Together(self.ranks, learning, slots, self.strategy)

    def follow(self) -> None:
        """Begin the moving average, if there is one, at what the weights are now."""
        self.average = Average(self.thawed(), self.stage.ema) if self.stage.ema else None

    def configure_model(self) -> None:
        """Nothing: what an engine shares out was shared out before the model came to its device."""

    def on_fit_end(self) -> None:
        """The next stage has others to speak of."""
        for one in (self.together, self.lockstep):
            if one:
                one.release()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """The batch knows how; of several processes one may have nothing in it."""
        value, state = batch
        return None if value is None else value.to(device), state

    def training_step(self, batch: tuple[Dialogues | Pairs | None, State], index: int) -> Tensor:
        """The weighted sum of the stage's losses."""
        value, self.fetched = batch
        with self.precision():
            if value is None and self.lockstep and self.reads_output:
                self.lockstep.idle()
            found = {} if value is None else self.find(value)
            if self.together is None:
                self.check_applied(bool(found))
                each = {name: said.joined() for name, said in found.items()}
                there: Mapping[str, Tensor | int] = dict.fromkeys(each, 1)
            else:
                each, there = self.together.shared(found, self.device)
        total = losses.weighted(each, self.weights) if each else torch.zeros((), device=self.device)
        for name, loss in {"loss": total, **each}.items():
            self.sums[name] = self.sums.get(name, 0) + loss.detach()
            self.counts[name] = self.counts.get(name, 0) + there.get(name, 1)
        if self.together is not None:
            return self.together.joined(total, self.lockstep.passed() if self.lockstep else ())
        if not total.requires_grad:  # plain text, where only projectors learn: a step of zero gradients
            total = total + 0.0 * torch.stack([parameter.sum() for parameter in self.selection.parameters()]).sum()
        return total

    def find(self, value: Dialogues | Pairs) -> dict[str, Found]:
        """What each loss says of a batch."""
        output = self.output(value) if self.reads_output and isinstance(value, Dialogues) else None
        step = Step(self.model, value, output, self.scale, self.memo, {})
        return {term.name: said for term in self.terms if (said := term.found(step)) is not None}

    def check_applied(self, applied: bool) -> None:
        """Raise where no loss was about any of the last batches; one by itself, of plain text, is no mistake."""
        self.missed, self.applied = 0 if applied else self.missed + 1, self.applied or applied
        if self.missed >= MISSED:
            raise ValueError(self.none_applies)

    def on_train_end(self) -> None:
        """A stage whose losses were about nothing has learnt nothing."""
        whole = self.missed in (self.done, self.done * self.stage.accumulate)  # not the end of a resumed one
        if self.missed and not self.applied and whole and self.done >= self.steps:
            raise ValueError(self.none_applies)

    @property
    def none_applies(self) -> str:
        """What is said of batches that no loss is about."""
        named = ", ".join(self.weights)
        return f"stages.{self.stage.name}: none of the losses {named} applies to {self.missed} batches in a row"

    def output(self, value: Dialogues) -> Output:
        """What the losses read of the model: all of it, or conditions of states that were computed once."""
        if self.states is not None:
            return self.states(value.batch)
        conditions = not OF_CONDITIONS.isdisjoint(self.weights)
        output: Output = self.model(value.batch, pack=self.stage.pack, conditions=conditions)
        return output

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, one group a glob."""
        optimizer = make_optimizer(self.stage, self.selection, [self.scale] if self.scale.requires_grad else [])
        schedule = make_schedule(self.stage, optimizer, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip by the norm over all that learns; every process has the gradients of the whole batch by now."""
        if self.together:
            self.check_applied(self.together.settle())
        if self.stage.clip and not (self.together and self.together.apart):
            torch.nn.utils.clip_grad_norm_(self.selection.parameters(), self.stage.clip)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Step, count, and let the moving average follow."""
        self.rate = float(optimizer.param_groups[0]["lr"])
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.done, self.position = self.done + 1, self.fetched
        if self.average:
            self.average.follow(self.thawed())

    def settle(self) -> None:
        """Make the losses since the last log those of all processes, which all have to ask for."""
        if self.together:
            self.sums = self.together.mean(self.sums, self.device)

    def check_finite(self) -> None:
        """Raise where a loss since the last log was no number: what follows is not worth keeping."""
        lost = [name for name, value in self.sums.items() if not math.isfinite(float(value))]
        if lost:
            named = ", ".join([name for name in lost if name != "loss"] or lost)
            raise ValueError(
                f"stages.{self.stage.name}: {named} is no finite number by step {self.done}; lower the learning rate, "
                "clip gradients, or look for extreme values in the data (the last checkpoint is from before)"
            )

    def means(self) -> dict[str, float]:
        """Mean losses since the last call; here, and only here, the host waits for the device."""
        self.settle()
        self.check_finite()
        counts = {name: int(count) for name, count in self.counts.items()}
        values = {name: float(value) / counts[name] for name, value in self.sums.items() if counts[name]}
        self.sums, self.counts = {}, {}
        return values

    @contextlib.contextmanager
    def precision(self) -> Iterator[None]:
        """bf16 autocast where the stage has it."""
        with torch.autocast(self.device.type, dtype=self.dtype_) if self.dtype_ else contextlib.nullcontext():
            yield


class Average:
    """An exponential moving average of tensors; its start is warmed up, so that early weights are soon forgotten."""

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.shadow = {name: tensor.detach().float().clone() for name, tensor in tensors.items()}

    @torch.no_grad()
    def follow(self, tensors: Mapping[str, Tensor]) -> None:
        """Move towards the tensors."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, shadow in self.shadow.items():
            shadow.lerp_(tensors[name].detach().to(shadow.device, shadow.dtype), 1 - decay)
