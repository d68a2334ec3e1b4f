"""The processes of a run, as its parts see them: which one this is, what share is its own, what all of them say.

`ALONE` is the run of one process: its questions are answered at once, and nothing is sent. All questions but `sum` go
between the hosts (gloo), so that nothing here waits for a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """Process `rank` of `world`; `group` are the hosts of all of them, with patience for what one does alone."""

    rank: int = 0
    world: int = 1
    group: distributed.ProcessGroup | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.world > 1:
            distributed.barrier(self.group)

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Each flag: whether any process has it set; all ask with as many."""
        if self.world == 1:
            return list(flags)
        found = torch.tensor(flags, dtype=torch.uint8)
        distributed.all_reduce(found, distributed.ReduceOp.MAX, group=self.group)
        return [bool(flag) for flag in found.tolist()]

    def first(self, value: T) -> T:
        """What the first process says."""
        said = [value]
        if self.world > 1:
            distributed.broadcast_object_list(said, src=0, group=self.group)
        return said[0]

    def every(self, value: T) -> list[T]:
        """What each process says, in their order."""
        said: list[Any] = [value]
        if self.world > 1:
            said = [None] * self.world
            distributed.all_gather_object(said, value, group=self.group)
        return said

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the processes, where the tensor is; without gradients."""
        total = tensor.detach()
        if self.world > 1:
            total = total.clone()
            distributed.all_reduce(total)
        return total


ALONE = Ranks()
