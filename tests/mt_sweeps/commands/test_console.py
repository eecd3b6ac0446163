import io
import re
import time
from dataclasses import replace

import pytest
from rich.console import Console

from mt_sweeps.commands import console
from mt_sweeps.commands.console import Board
from mt_sweeps.spec.arms import TrialId
from tests.helpers.sweeps import digits, new_ledger, report, supervised_report


@pytest.fixture
def ledger(tmp_path):
    return new_ledger(tmp_path / "ledger.db", digits("trials=4"))


def board(ledger, first=lambda: None):
    return Board(ledger, concurrent=2, on_first_report=first)


def test_piped_output_is_plain_lines(ledger, capsys):
    shown = board(ledger)
    trial = ledger.ask_search()
    with shown:
        shown.started(trial)
        shown.reported(trial, report(30, 0.5))
        shown.ended(ledger.complete(trial, report(300, 0.25)))
    out = capsys.readouterr().out
    assert "trial 0 starts: ema.decay 0.95" in out
    assert "trial 0 step 30/300: teacher 50.0 %, student 50.0 %" in out
    assert "trial 0 complete: teacher 25.0 %, student 25.0 %  [search: 1 of 4]" in out
    assert "\x1b" not in out


def test_a_failure_is_told_with_its_reason(ledger, capsys):
    shown = board(ledger)
    trial = ledger.ask_search()
    shown.started(trial)
    shown.ended(ledger.fail(trial, "diverged", "Diverged: the loss is nan\nat step 3", None))
    assert "trial 0 failed: diverged: Diverged: the loss is nan" in capsys.readouterr().out


def test_a_lost_worker_is_told_with_its_reason(ledger, capsys):
    shown = board(ledger)
    trial = ledger.ask_search()
    shown.started(trial)
    shown.ended(replace(ledger.worker_lost(trial, "its node died"), message="its node died"))
    assert "trial 0 lost its worker and waits for another: its node died  [" in capsys.readouterr().out


def test_while_finalists_are_left_their_number_is_called_a_maximum(tmp_path):
    settings = ("trials=1", "finalists.baselines=[]", "finalists.top=1", "finalists.seeds=4")
    ledger = new_ledger(tmp_path / "ledger.db", digits(*settings))
    shown = board(ledger)
    trial = ledger.ask_search()
    shown.started(trial)
    shown.reported(trial, report(300, 0.5))
    shown.ended(ledger.complete(trial, report(300, 0.5)))
    assert arm_lines(shown, 160) == [
        "search      1 of 1 trial  1 complete",
        "finalists   0 of at most 4 trials",
    ]


def test_no_time_left_is_never_announced(ledger, capsys):
    shown = board(ledger)
    for _ in range(6):
        trial = ledger.ask_search()
        shown.started(trial)
        shown.reported(trial, report(300, 0.5))
        shown.ended(ledger.complete(trial, report(300, 0.5)))
    assert " 0 s left" not in capsys.readouterr().out


def test_the_first_report_is_announced_once(ledger):
    calls = []
    shown = board(ledger, lambda: calls.append(1))
    trial = ledger.ask_search()
    shown.started(trial)
    for step in (30, 60):
        shown.reported(trial, report(step, 0.5))
    assert calls == [1]


def test_the_table_of_a_terminal_shows_what_runs_and_the_best_so_far(ledger):
    shown = board(ledger)
    first, second = ledger.ask_search(), ledger.ask_search()
    for trial in (first, second):
        shown.started(trial)
        shown.reported(trial, report(30, 0.5, student=0.6))
    shown.reported(first, report(300, 0.125))
    shown.ended(ledger.complete(first, report(300, 0.125)))
    out = io.StringIO()
    Console(file=out, width=120, height=30).print(shown._view())
    text = out.getvalue()
    assert "best so far  trial 0  12.5 % ± 1.0" in text
    assert "running" in text
    assert "60.0 %" in text


def arm_lines(shown, width):
    out = io.StringIO()
    Console(file=out, width=width, height=30).print(shown._view())
    return [line.rstrip() for line in out.getvalue().splitlines() if re.match(r"\w+ +\d+ of ", line)]


@pytest.mark.parametrize("width", [60, 160])
def test_each_count_of_trials_says_of_which_arm_it_is(ledger, width):
    shown = board(ledger)
    for _ in range(2):
        trial = ledger.ask_search()
        shown.started(trial)
        shown.ended(ledger.complete(trial, report(300, 0.5)))
    shown.started(ledger.ask_search())
    assert arm_lines(shown, width) == [
        "search      1 of 4 trials  1 complete",
        "supervised  1 of 1 trial  1 complete",
        "published   0 of 1 trial  1 running",
    ]


def waiting_line(shown):
    out = io.StringIO()
    Console(file=out, width=150, height=30).print(shown._view())
    return next(line for line in out.getvalue().splitlines() if line.startswith("waiting: "))


def test_the_table_says_what_a_trial_waits_for(ledger):
    shown = board(ledger)
    first, second, third = ledger.ask_search(), ledger.ask_search(), ledger.ask_search()
    for trial in (first, replace(second, attempt_started=second.attempt_started - 60), third):
        shown.started(trial)
    shown.reported(first, report(30, 0.5))
    shown.started(ledger.ask_search())  # just now
    shown.ended(ledger.worker_lost(third, "killed"))
    line = waiting_line(shown)
    assert "published 0 (for a free slot: it lost 1 worker)" in line
    assert "supervised 0 (for its first evaluation)" in line
    shown.ended(replace(first, state="waiting", lost_workers=0))
    assert "trial 0 (for a free slot)," in waiting_line(shown), "of a sweep that was interrupted"
    assert "trial" not in line, "neither the one that has reported nor the one that has just started"


def test_a_trial_that_goes_on_is_at_the_step_that_it_had_reached(ledger):
    shown = board(ledger)
    trial = ledger.ask_search()
    shown.started(replace(trial, attempt=2, step=240))
    out = io.StringIO()
    Console(file=out, width=150, height=30).print(shown._view())
    assert "240/300" in out.getvalue()


def test_each_baseline_is_shown_beside_the_best(ledger, capsys):
    shown = board(ledger)
    for error in (0.2, 0.4, 0.3):
        trial = ledger.ask_search()
        shown.started(trial)
        shown.ended(ledger.complete(trial, report(300, error)))
    out = io.StringIO()
    Console(file=out, width=120, height=30).print(shown._view())
    assert "supervised baseline  40.0 % ± 1.0" in out.getvalue()
    assert "published baseline  30.0 % ± 1.0" in out.getvalue()
    start = next(line for line in capsys.readouterr().out.splitlines() if "published 0 starts" in line)
    assert "ema.decay 0.999" in start
    assert "batch_size" not in start, "of its settings, only what the others search"


def test_a_finalist_is_shown_as_whose_values_it_has(ledger):
    shown = board(ledger)
    trial = ledger.ask_search()
    shown.started(
        replace(
            trial,
            arm="finalists",
            number=9,
            replicates=TrialId("supervised", 0),
            values=trial.values | {"seed": 10003},
        )
    )
    out = io.StringIO()
    Console(file=out, width=120, height=30).print(shown._view())
    (row,) = (line for line in out.getvalue().splitlines() if line.startswith("finalist 9"))
    assert row.split() == ["finalist", "9", "=", "supervised", "0", "running", "0"], "and nothing that it does not read"


def test_many_trials_fit_on_the_screen(ledger):
    shown = board(ledger)
    trial = ledger.ask_search()
    for number in range(200):
        shown.started(replace(trial, number=number))
    out = io.StringIO()
    shown._console = Console(file=out, width=100, height=20)
    shown._console.print(shown._view())
    assert out.getvalue().count("\n") <= 20
    assert "more trials are not shown" in out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_nothing_is_cut_in_any_width(ledger, width):
    shown = board(ledger)
    trial = ledger.ask_search()
    shown.started(trial)
    shown.reported(trial, report(60, 0.5, student=0.6))
    out = io.StringIO()
    shown._console = Console(file=out, width=width, height=30)
    shown._console.print(shown._view())
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in out.getvalue()
    assert any(line.split()[:4] == ["0", "running", "60/300", "60.0"] for line in lines) == (width >= 80)
    assert any(line.split()[:4] == ["0", "running", "60/300", "50.0"] for line in lines) == (width < 80)
    assert ("in a wider window" in out.getvalue()) == (width < 100)


def test_a_narrow_screen_has_the_student_s_error_where_there_is_no_teacher(ledger):
    shown = board(ledger)
    trial = ledger.ask_search()
    shown.started(trial)
    shown.reported(trial, supervised_report(30, 0.4))
    out = io.StringIO()
    shown._console = Console(file=out, width=60, height=30)
    shown._console.print(shown._view())
    assert any(line.split()[:4] == ["0", "running", "30/300", "40.0"] for line in out.getvalue().splitlines())


def test_a_finalist_s_contender_has_a_line_with_its_mean(ledger):
    shown = board(ledger)
    trial = ledger.ask_search()
    for number, error in enumerate((0.1, 0.2)):
        done = replace(ledger.complete(trial, report(300, error)) if number == 0 else trial, state="complete")
        last = report(300, error)
        shown.started(
            replace(
                done,
                arm="finalists",
                number=number,
                replicates=TrialId("search", 3),
                last=last,
                values=trial.values | {"seed": 10000 + number},
            )
        )
    out = io.StringIO()
    Console(file=out, width=120, height=30).print(shown._view())
    assert "trial 3, trained again  mean 15.0 % of 2 seeds" in out.getvalue()
    assert "finalist 0" not in out.getvalue(), "its seeds have the one line"


def test_the_best_trials_are_left_on_the_screen(ledger, capsys):
    shown = board(ledger)
    with shown:
        for error in (0.3, 0.1):
            trial = ledger.ask_search()
            while trial.arm != "search":
                ledger.complete(trial, report(300, 0.01))
                trial = ledger.ask_search()
            shown.started(trial)
            shown.ended(ledger.complete(trial, report(300, error)))
    left = capsys.readouterr().out.partition("best trials of the search\n")[2].splitlines()
    assert ["10.0 %" in left[0], "30.0 %" in left[1], len(left)] == [True, True, 2]
    assert "consistency.weight" in left[0]


def test_piped_output_is_never_silent_for_long(ledger, capsys, monkeypatch):
    monkeypatch.setattr(console, "_SECONDS_OF_SILENCE", 0.0)
    with board(ledger) as shown:
        shown.started(ledger.ask_search())
        time.sleep(1.3)
    assert "1 trial at work" in capsys.readouterr().out
