"""Processes apart, their memory, and stopwatches."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from tests.benchmarks.measuring import Stopwatch, one_process, run_apart


def touch_memory(megabytes: int) -> int:
    """Use memory in a process of its own; return how much."""
    return int(np.ones(megabytes << 20, np.uint8).sum())


def test_peak_memory_is_that_of_the_measured_function_alone() -> None:
    parents = np.ones(400 << 20, np.uint8)
    small, large = run_apart(touch_memory, 1), run_apart(touch_memory, 300)
    assert large.value == 300 << 20
    assert large.peak_rss - small.peak_rss == pytest.approx(299 << 20, rel=0.1)
    assert small.peak_rss < len(parents)


def test_a_stopwatch_adds_up_and_tells_working_from_waiting() -> None:
    watch = Stopwatch()
    with watch:
        time.sleep(0.2)
    assert watch.seconds >= 0.2
    assert watch.cpu_seconds < 0.1
    with watch:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
    assert watch.seconds >= 0.3
    assert watch.cpu_seconds >= 0.1
    assert watch.other_cpu_seconds >= 0


def test_an_error_in_a_process_apart_arrives() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        run_apart(int, "no number")


def test_one_process_may_do_for_all_that_is_run_apart() -> None:
    with one_process():
        first = run_apart(os.getpid).value
        with one_process():
            assert run_apart(os.getpid).value == first != os.getpid()
        assert run_apart(os.getpid).value == first
    assert run_apart(os.getpid).value != first
