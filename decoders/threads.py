"""What all threads of a process share: the log's level, and modules that one of them at a time may change.

A server decodes several requests at once. What a block changes for the whole process is put back by the last thread
that leaves it, whatever the order; who wants modules that another thread has waits.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from weakref import WeakKeyDictionary

from diffusers.utils import logging
from torch import nn
from transformers.utils import logging as transformers_logging

_GUARD = threading.Lock()
_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_INSIDE: list[ExitStack] = []  # one entry a thread that is in `quiet`; the first knows how to put things back


@contextmanager
def alone(modules: Iterable[nn.Module]) -> Iterator[None]:
    """For as long as the block lasts no other thread is in such a block with any of these modules.

    A thread may enter again what it has; all of a block's modules are taken in one order, so that none waits forever.
    """
    with _GUARD:
        locks = [_LOCKS.setdefault(module, threading.RLock()) for module in sorted(set(modules), key=id)]
    with ExitStack() as held:
        for lock in locks:
            held.enter_context(lock)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keep notes on deprecated pipelines, missing safety checkers and casts, and bars, out of the log."""
    with _GUARD:
        _INSIDE.append(ExitStack() if _INSIDE else _silence())
    try:
        yield
    finally:
        with _GUARD:
            last = _INSIDE.pop()
            if not _INSIDE:
                last.close()


def _silence() -> ExitStack:
    """Silence the libraries; closing what is given puts back what was."""
    before = ExitStack()
    before.callback(logging.set_verbosity, logging.get_verbosity())
    if transformers_logging.is_progress_bar_enabled():
        before.callback(transformers_logging.enable_progress_bar)
    before.enter_context(warnings.catch_warnings())
    logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    return before
