"""Many clients at once: no error but 429, and memory that stays."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from live import FOLDER, ROOT, anyworld, live

from anyx.imports import import_file

SLOW = pytest.param(64, 150.0, marks=pytest.mark.slow)  # a minute to warm up, and more than one to see growth


@pytest.mark.parametrize(("clients", "seconds"), [(8, 5.0), SLOW])
def test_a_server_bears_many_clients(clients: int, seconds: float) -> None:
    bench = import_file(ROOT / "experiments" / "benchmarks" / "serving_load.py")
    with contextlib.ExitStack() as stack:
        if seconds > bench.WARM:
            url, pid = stack.enter_context(bench.served(str(FOLDER / "model"), *bench.FILLED))
        else:  # the memory of a short one says nothing
            url, pid = stack.enter_context(live(anyworld())).url, None
        load = asyncio.run(bench.measured(url, pid, clients, seconds))
    found: dict[str, Any] = load.summary()
    print({"clients": clients, **found})
    assert not found["errors"]
    assert set(load.latencies) <= {"200", "422", "429"}
    assert found["answered"] > clients
    assert found["p99 ms"] < 60_000
    if seconds > bench.WARM:
        assert found["growth MiB/min"] < 8, "memory grows no more after the first minute"
