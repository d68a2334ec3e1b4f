"""Random generators: seeding them, for good or for a while; their states, one a process of a run, for checkpoints."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

State = dict[str, Any]
log = logging.getLogger("anyx")


def seed_everything(seed: int) -> None:
    """Seed every generator that a step may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within the block the generators of the processor draw by a seed; after it they go on as if nothing was drawn."""
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state())
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        random.setstate(before[1])
        np.random.set_state(before[2])


def put_back(found: Mapping[int, State], rank: int = 0) -> None:
    """Go on from the state of a rank; one that the checkpoint did not have draws as it was seeded."""
    if rank in found:
        restore(found[rank])
    else:
        log.warning("the checkpoint is of %d processes: rank %d draws by its seed", len(found), rank)


def state() -> State:
    """The state of every generator that a step may draw from, of tensors and plain values."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
    }


def restore(found: Mapping[str, Any]) -> None:
    """Put it back."""
    torch.set_rng_state(found["torch"])
    if found["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(found["cuda"][: torch.cuda.device_count()])
    random.setstate(found["python"])
    name, keys, *rest = found["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
