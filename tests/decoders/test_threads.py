"""Two requests at once: what a block changes for the whole process is put back, whichever thread leaves it last."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.utils import logging
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from anyx.decoders import residence, threads
from anyx.decoders.stable_diffusion import StableDiffusionDecoder

META, SOON, LONG = torch.device("meta"), 0.2, 30.0


def in_turn(block: Callable[[], Any]) -> None:
    """Two threads enter a block one after the other, and leave it in the same order: the first is the first to go."""
    entered, left, failed = [threading.Event() for _ in range(2)], threading.Event(), []

    def first() -> None:
        with block():
            entered[0].set()
            failed.append(not entered[1].wait(LONG))
        left.set()

    def second() -> None:
        failed.append(not entered[0].wait(LONG))
        with block():
            entered[1].set()
            failed.append(not left.wait(LONG))
            failed.append(logging.get_verbosity() != logging.ERROR or transformers_logging.is_progress_bar_enabled())

    both = [threading.Thread(target=part) for part in (first, second)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert failed == [False] * 4


@pytest.mark.parametrize("bars", [True, False])
def test_the_last_to_leave_puts_the_log_back(bars: bool) -> None:
    level, shown, filters = logging.get_verbosity(), transformers_logging.is_progress_bar_enabled(), warnings.filters[:]
    (transformers_logging.enable_progress_bar if bars else transformers_logging.disable_progress_bar)()
    logging.set_verbosity_info()
    try:
        in_turn(threads.quiet)
        with threads.quiet(), threads.quiet():
            assert logging.get_verbosity() == logging.ERROR
        with pytest.raises(KeyError), threads.quiet():
            raise KeyError
        assert logging.get_verbosity() == logging.INFO
        assert transformers_logging.is_progress_bar_enabled() == bars
        assert warnings.filters == filters
    finally:
        logging.set_verbosity(level)
        (transformers_logging.enable_progress_bar if shown else transformers_logging.disable_progress_bar)()


def test_lent_weights_are_one_thread_s_at_a_time() -> None:
    models = [nn.Linear(3, 3) for _ in range(3)]
    before = [model.weight for model in models]
    has, goes, others = threading.Event(), threading.Event(), threading.Event()

    def first() -> list[bool]:
        with residence.lent(models[:2], META):
            has.set()
            goes.wait(LONG)
            return [model.weight.is_meta for model in models]

    def second() -> list[bool]:
        has.wait(LONG)
        with residence.lent(reversed(models[1:]), META):
            others.set()
            return [model.weight.is_meta for model in models]

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.submit(first), pool.submit(second)
        assert not others.wait(SOON), "the first has one of the models still"
        goes.set()
        assert one.result() == [True, True, False]
        assert two.result() == [False, True, True]
    assert all(model.weight is weight for model, weight in zip(models, before, strict=True))


def test_a_loan_that_fails_half_way_is_given_back() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = list(model.parameters())
    broken = model[1].weight = nn.Parameter(torch.ones(2, 2))
    broken.detach = None  # type: ignore[assignment, method-assign]  # as memory that runs out: an error in the middle
    with pytest.raises(TypeError), residence.lent([model], META):
        pass
    assert model[0].weight is before[0]
    assert not model[0].weight.is_meta


def test_requests_at_once_are_answered_as_alone(tiny: dict[str, Any], tmp_path: Path) -> None:
    """Of a decoder whose weights wait, and whose null condition the first request has to make."""
    path = StableDiffusionDecoder(**tiny).save(tmp_path)
    (path / "null_condition.safetensors").unlink()
    told = StableDiffusionDecoder(path=str(path)).encode_text(["cat", "dog", "cat dog", "dog dog"])

    def make(decoder: StableDiffusionDecoder, row: int) -> Tensor:
        one = type(told)(*({name: x[row : row + 1] for name, x in part.items()} for part in told))
        return decoder(one, generators=[torch.Generator().manual_seed(row)], steps=3)[0].pixels

    alone = [make(StableDiffusionDecoder(path=str(path)), row) for row in range(4)]
    for offload in ("never", "model"):
        decoder = StableDiffusionDecoder(path=str(path), offload=offload)  # type: ignore[arg-type]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda row, one=decoder: make(one, row), range(4)))
        assert all(torch.equal(x, y) for x, y in zip(alone, together, strict=True))
        assert not decoder.text.held
