import os
from pathlib import Path

import pytest
import torch

from trainers import profiling
from trainers.profiling import Stopwatch, peak_memory, reset_peak_memory

CPU = torch.device("cpu")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(profiling, "time", clock)
    return clock


def test_time_counts_for_the_name_that_was_started_last(clock):
    watch = Stopwatch(CPU)
    for name, seconds in (("data", 1.0), ("step", 2.0), ("data", 4.0), ("step", 8.0), ("evaluation", 16.0)):
        watch.start(name)
        clock.now += seconds
    watch.stop()
    assert watch.seconds == {"data": 5.0, "step": 10.0, "evaluation": 16.0}


def test_time_that_is_stopped_counts_for_nothing(clock):
    watch = Stopwatch(CPU)
    clock.now += 32
    watch.start("step")
    clock.now += 1
    watch.stop()
    clock.now += 64
    watch.start("step")
    clock.now += 2
    watch.stop()
    clock.now += 128
    watch.stop()
    assert watch.seconds == {"step": 3.0}


def test_seconds_of_an_earlier_session_go_on(clock):
    watch = Stopwatch(CPU)
    watch.seconds = {"data": 10.0, "step": 20.0}
    watch.start("step")
    clock.now += 1
    watch.stop()
    assert watch.seconds == {"data": 10.0, "step": 21.0}


def test_a_total_is_that_of_the_names_asked_for():
    watch = Stopwatch(CPU)
    watch.seconds = {"data": 1.0, "step": 2.0, "evaluation": 4.0}
    assert watch.total("data", "step") == 3.0
    assert watch.total("nothing") == watch.total() == 0


def test_a_real_second_is_about_a_second():
    watch = Stopwatch(CPU)
    watch.start("step")
    deadline = profiling.time.perf_counter() + 0.05
    while profiling.time.perf_counter() < deadline:
        pass
    watch.stop()
    assert 0.05 <= watch.seconds["step"] < 5


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc, which Linux has")
def test_peak_memory_is_in_bytes_and_at_least_what_the_process_holds():
    held = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert 0.9 * held < peak_memory(CPU) < 100 * held


def test_peak_memory_of_a_cpu_is_that_of_the_process_and_is_not_reset():
    before = peak_memory(CPU)
    reset_peak_memory(CPU)
    assert peak_memory(CPU) >= before > 0
