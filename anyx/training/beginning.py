"""What a stage begins with that another stage left (`init`)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from anyx.model import AnyX
from anyx.training import checkpoint
from anyx.training.backbones import Model
from anyx.training.plan import kept
from anyx.waiting import wake


def begin(model: Model, path: Path) -> None:
    """Start from the weights that another stage left."""
    if isinstance(model, AnyX):
        wake(model.encoders, model.outputs, checkpoint.names_in(path))
    brought = checkpoint.load_some(path, model.state_dict(keep_vars=True))
    if isinstance(model, AnyX):
        model.learnt = tuple(dict.fromkeys((*model.learnt, *wholes(model, brought))))


def wholes(model: AnyX, names: Collection[str]) -> list[str]:
    """The parts that a model folder holds only as a whole, and all of whose parameters are among those named."""
    held = {id(parameter) for name, parameter in model.named_parameters() if name in names}
    return [part for part, own in model.parts().items() if not kept(part) and all(id(one) in held for one in own)]
