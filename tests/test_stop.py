from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from edge.stop import StopSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_long_wait_at_once(number: signal.Signals) -> None:
    with StopSignals() as stop:
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        started = time.monotonic()
        assert stop.wait(30)
    assert time.monotonic() - started < 5


def test_without_a_signal_the_wait_runs_out() -> None:
    with StopSignals() as stop:
        assert not stop.wait(0.01)
        assert not stop.wait(0)
        assert not stop.wait(-1)


def test_a_stop_that_came_between_two_waits_is_not_lost() -> None:
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(0)
        assert stop.wait(0)  # and stays


def test_leaving_restores_the_signals_as_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_after_the_first_ctrl_c_the_second_one_forces() -> None:
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
