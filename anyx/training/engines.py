"""Which of Lightning's engines holds a model on the devices of a run."""

from __future__ import annotations

from lightning.pytorch.strategies import DDPStrategy, Strategy

from anyx.training.launch import Machines


def engine(machines: Machines) -> str | Strategy:
    """The strategy of a run on these machines; one process needs none."""
    if machines.world == 1:
        return "auto"
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)
