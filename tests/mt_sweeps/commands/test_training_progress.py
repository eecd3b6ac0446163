import io
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from mt_sweeps.commands import training_progress
from mt_sweeps.commands.training_progress import TrainingProgress
from tests.helpers.sweeps import report


@pytest.fixture
def clock(monkeypatch):
    """Seconds that tests set; what waits for them polls all the time."""
    seconds = [0.0]
    monkeypatch.setattr(training_progress, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    monkeypatch.setattr(training_progress, "_POLL_SECONDS", 0.001)
    return seconds


@pytest.fixture
def printed(monkeypatch):
    lines = []
    monkeypatch.setattr(training_progress, "print", lambda text, **_: lines.append(text))
    return lines


def wait_for(lines, count):
    for _ in range(2000):
        if len(lines) >= count:
            return
        time.sleep(0.001)
    raise AssertionError(f"{count} lines were expected: {lines}")


def screen(progress, width=100):
    out = io.StringIO()
    Console(file=out, width=width).print(progress._view())
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_phase_of_more_than_five_seconds_is_named_once_and_then_every_minute(clock, printed):
    with TrainingProgress() as progress:
        progress.phase("preparing the images")
        clock[0] = 4.9
        progress.phase("preparing the network")
        clock[0] = 9.8
        time.sleep(0.02)
        assert printed == [], "neither took five seconds"
        clock[0] = 9.9
        wait_for(printed, 1)
        clock[0] = 69.8
        time.sleep(0.02)
        assert printed == ["preparing the network"]
        clock[0] = 69.9
        wait_for(printed, 2)
    assert printed == ["preparing the network"] * 2


def test_piped_output_has_each_evaluation_and_between_two_of_them_a_line_per_minute(clock, printed):
    steps = [0]
    with TrainingProgress() as progress:
        progress.training(lambda: steps[0], 331)
        steps[0], clock[0] = 1, 4.0  # much is prepared in the first step
        time.sleep(0.02)
        steps[0], clock[0] = 31, 24.0
        wait_for(printed, 1)  # the first sign of life
        progress.reported(report(31, 0.25, student=0.5))
        steps[0], clock[0] = 121, 84.0
        wait_for(printed, 3)
    assert printed == [
        "step 31/331  about 3 min 20 s left",
        "step 31/331: teacher 25.0 %, student 50.0 %  about 3 min 20 s left",
        "step 121/331  teacher 25.0 %, student 50.0 % at step 31  about 2 min 20 s left",
    ]


def test_the_time_left_of_a_training_that_goes_on_is_measured_from_where_it_goes_on(clock, printed):
    steps = [200]
    progress = TrainingProgress()
    progress.training(lambda: steps[0], 300)
    for steps[0], clock[0] in ((200, 10.0), (210, 20.0), (250, 60.0)):
        progress._text()  # as it is polled
    progress.reported(report(250, 0.25))
    assert printed == ["step 250/300: teacher 25.0 %, student 25.0 %  about 50 s left"]


def test_a_terminal_shows_the_step_the_last_error_and_the_time_left(clock):
    steps = [0]
    progress = TrainingProgress()
    progress.phase("preparing the images")
    clock[0] = 7.0
    assert screen(progress) == ["preparing the images  7 s so far"]
    progress.training(lambda: steps[0], 3000)
    assert screen(progress)[0] == "step 0/3000"
    steps[0], clock[0] = 10, 8.0
    assert screen(progress)[0] == "step 10/3000", "the pace is not known yet"
    steps[0], clock[0] = 600, 67.0
    progress._last = report(500, 0.25)
    line, bar = screen(progress)
    assert line == "step 600/3000  teacher 25.0 %, student 25.0 % at step 500  about 4 min 00 s left"
    assert set(bar) == {"━"}
    assert max(map(len, screen(progress, width=60))) <= 60


def test_a_linear_probe_has_no_steps(printed):
    progress = TrainingProgress()
    progress.phase("fitting the linear probe")
    progress.reported(report(300, 0.25))
    assert printed == ["fitting the linear probe: teacher 25.0 %, student 25.0 %"]
