"""What a device takes for a call, by its table and by measuring."""

import time

import pytest
import torch

from anyx.training import devices
from anyx.training.rehearsal import Memory, Work

GIB = 1 << 30


def test_a_call_takes_its_operations_or_its_bytes() -> None:
    h100 = devices.device("h100")
    product = Work("products", torch.bfloat16, 10**12, 10**6)
    assert h100.takes(product) == pytest.approx(1e12 / (989e12 * 0.70))
    traffic = Work("traffic", torch.bfloat16, 0, 10**9)
    assert h100.takes(traffic) == pytest.approx(1e9 / (3350e9 * 0.85))
    assert h100.takes(product._replace(moved=10**12)) == pytest.approx(1e12 / (3350e9 * 0.85))
    assert h100.seconds({product: 200}, 10) == pytest.approx(200 * h100.takes(product))
    assert h100.seconds({product: 2}, 10**6) == pytest.approx(9.0, rel=0.01)  # the host is slower


def test_a_device_without_bfloat16_computes_in_float32() -> None:
    v100 = devices.device("v100")
    assert not v100.half
    product = Work("products", torch.bfloat16, 10**12, 0)
    assert v100.takes(product) == v100.takes(product._replace(dtype=torch.float32))


def test_rates_lie_between_those_measured() -> None:
    curve = [(10.0, 1.0), (1000.0, 100.0)]
    assert [devices.at(curve, size) for size in (1, 10, 1000, 10**9)] == [1, 1, 100, 100]
    assert devices.at(curve, 100) == pytest.approx(10)


def test_memory_is_what_stays_and_what_an_allocator_takes_for_the_rest() -> None:
    a100 = devices.device("a100")
    assert a100.holds(Memory(8, 2, 4, 20)) == pytest.approx(8 + 4 + 1.1 * 22 + GIB)


@pytest.mark.parametrize("name", ["b200", "a10", "l40s", "rtx4090", "rtx3090", "t4", "cpu", "a100-40", "h200"])
def test_the_table_is_whole(name: str) -> None:
    found = devices.device(name)
    assert found.memory > GIB
    assert all(rate > 1e12 for curve in found.rates.values() for _, rate in curve) or name == "cpu"
    assert found.waits == (name == "cpu")


def test_this_machine_is_measured() -> None:
    """Twice as many numbers take no less time, and a product takes what it takes, within what a busy machine varies."""
    here = devices.here()
    assert here.memory > GIB
    assert 1e-7 < here.dispatch < 1e-3
    x = torch.randn(512, 512)
    start = time.perf_counter()
    for _ in range(20):
        x @ x
    taken = (time.perf_counter() - start) / 20
    said = here.takes(Work("products", torch.float32, 2 * 512**3, 3 * 4 * 512**2))
    assert taken / 10 < said < 10 * taken
