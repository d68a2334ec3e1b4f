"""Asking a run to end: how times are written, when signals are heeded at once and when they wait."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from anyx.training.stopping import Stop, Stopped, seconds_of


@pytest.fixture(autouse=True)
def _interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7200),
        ("90m", 5400),
        ("1h30m", 5400),
        ("0.5s", 0.5),
        ("00:45:00", 2700),
        ("1-02:00:00", 93600),
        ("2D", 172800),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "45:00", "2h 3", "-1h", "0m", "00:00:00", "soon"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"max_time: .* is no time"):
        Stop(text)


def test_a_signal_waits_while_it_is_held_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = Stop()
    with stop.watching():
        with stop.held():
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.asked
        with pytest.raises(Stopped, match=r"stopped after step 3 \(SIGTERM\); the same command with --resume goes on"):
            stop.check("after step 3")
    assert signal.getsignal(signal.SIGTERM) == before


def send(stop: Stop, number: int) -> None:
    with stop.watching():
        os.kill(os.getpid(), number)
        pytest.fail("it went on")


def test_outside_it_ends_the_run_at_once() -> None:
    with pytest.raises(Stopped, match=r"stopped before a step \(SIGUSR1\)"):
        send(Stop(), signal.SIGUSR1)
    with pytest.raises(KeyboardInterrupt):
        send(Stop(), signal.SIGINT)


def test_the_second_interrupt_ends_at_once() -> None:
    stop = Stop()
    with stop.watching(), stop.held():
        os.kill(os.getpid(), signal.SIGINT)
        assert (stop.asked, stop.code) == (True, 130)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def wait(stop: Stop) -> None:
    with stop.watching():
        for _ in range(100):
            time.sleep(0.1)
        pytest.fail("it went on")


def test_time_runs_out() -> None:
    stop = Stop("0.1s")
    assert not stop.asked
    with stop.watching(), stop.held():
        time.sleep(0.2)
        assert stop.asked
        assert stop.code == 0
    with pytest.raises(Stopped, match=r"\(0\.1s are over\)"):
        wait(Stop("0.1s"))


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stop().watching():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
