"""What a command shows while it works: a screen or a bar on a terminal, plain lines if the output is piped."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Self, TypeVar

from rich.console import Console, Group
from rich.live import Live

from mt_sweeps.commands.live_view import best_lines, view
from mt_sweeps.formatting import counted, duration, errors_text, values_text
from mt_sweeps.results.short_budget import ShortBudget
from mt_sweeps.results.time_left import TimeLeft
from mt_sweeps.spec.arms import Arm, TrialId
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial
from mt_sweeps.terminal import can_redraw, print
from trainers.report import Report

T = TypeVar("T")

_SECONDS_PER_REPORT = 5  # between lines of evaluations: one per evaluation would be too many
_SECONDS_OF_SILENCE = 60  # at most, between two lines
_SECONDS_PER_SCREEN = 0.5  # at least, between two drawings
_SECONDS_OF_A_CLOCK = 5  # at most, between two drawings


class Board:
    """Shows a running sweep: a screen that is redrawn on a terminal, plain lines elsewhere.

    Args:
        ledger: of the sweep; only read.
        concurrent: trials at once.
        on_first_report: called once, when the first trial has reported.
        on_failure: called when a trial has failed.
        is_live: False: plain lines on a terminal, too, where a debugger needs it.
        sweep: whose budget and images the forecasts are of; None: a short budget is not warned of.
    """

    def __init__(
        self,
        ledger: Ledger,
        concurrent: int,
        on_first_report: Callable[[], None],
        on_failure: Callable[[], None] = lambda: None,
        is_live: bool = True,
        sweep: SweepStore | None = None,
    ) -> None:
        self._spec, self._ledger = ledger.spec, ledger
        self._trials: dict[TrialId, Trial] = {}
        self._ended: dict[Arm, set[TrialId]] = defaultdict(set)  # counted at the end of each of many trials
        self._reports: dict[TrialId, Report] = {}
        self._time_left = TimeLeft(ledger, concurrent, None if sweep is None else sweep.load_environment())
        self._short_budget = None if sweep is None else ShortBudget(sweep, ledger, self._time_left)
        self._note = ""
        for trial in ledger.all_trials():
            self._remember(trial)
        self._on_first_report: Callable[[], None] | None = on_first_report
        self._on_failure = on_failure
        self._start = time.monotonic()
        self._reported = self._told = self._start - 5.0  # when a report was shown, and when anything was
        self._console = Console()
        self._is_live = is_live and can_redraw() and self._console.is_terminal
        self._live = Live(get_renderable=self._view, console=self._console, auto_refresh=False, transient=True)
        self._over, self._has_news = threading.Event(), threading.Event()

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        threading.Thread(target=self._redraw if self._is_live else self._repeat, name="board", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._has_news.set()
        if self._is_live:
            self._live.stop()
        if lines := best_lines(self._spec, list(self._trials.values())):
            print("\n".join(["", "best trials of the search", *lines]), flush=True)

    def started(self, trial: Trial) -> None:
        """A worker was given the trial."""
        self._update(trial)
        again = f" again (attempt {trial.attempt})" if trial.attempt > 1 else ""
        if trial.replicates is not None:
            self._line(f"{trial.id.label} starts{again}: {trial.replicates.label} with seed {trial.values['seed']}")
            return
        searched = {key: value for key, value in trial.values.items() if key in self._spec.search_space}
        self._line(f"{trial.id.label} starts{again}: {values_text(searched) or 'nothing searched'}")

    def reported(self, trial: Trial, report: Report) -> None:
        """The trial was evaluated."""
        self._count_report(trial, report)
        self._has_news.set()
        if self._on_first_report is not None:
            self._on_first_report()
            self._on_first_report = None
            self._reported = self._start - _SECONDS_PER_REPORT
        if time.monotonic() - self._reported >= _SECONDS_PER_REPORT:
            self._reported = time.monotonic()
            whole = self._time_left.whole.get(trial.id)
            step = f"step {report.step}/{whole}" if whole else f"step {report.step}"
            self._line(f"{trial.id.label} {step}: {errors_text(report, self._spec.metric)}{self._left_text()}")
        if self._short_budget is not None and (warning := self._short_budget.warning()) is not None:
            self.message(f"warning: {warning}")

    def ended(self, trial: Trial) -> None:
        """The trial is complete, pruned or failed, or it lost its worker and waits again."""
        self._update(trial)
        result = errors_text(trial.last, self._spec.metric) if trial.last else ""
        if trial.state == "pruned":
            result += f" at step {trial.step}"
        if trial.reason:
            result = f"{trial.reason}: {trial.message.splitlines()[0]}"
        state: str = trial.state
        if state == "waiting":
            state, result = "lost its worker and waits for another", trial.message
        count = f"[{trial.arm}: {len(self._ended[trial.arm])} of {self._totals[trial.arm]}]"
        self._line(f"{trial.id.label} {state}: {result}  {count}{self._left_text()}")
        if trial.state == "failed":
            self._on_failure()

    def message(self, text: str) -> None:
        """There is news of the sweep as a whole."""
        self._note = text
        self._line(text)

    @property
    def _totals(self) -> dict[Arm, str]:
        """How many trials each arm will have. Finalists end when the verdict is decided, so there may be fewer."""
        is_limit = "finalists" in self._spec.arms() and self._ledger.remaining("finalists") > 0
        return {
            arm: f"{'at most ' * (is_limit and arm == 'finalists')}{self._ledger.total(arm)}"
            for arm in self._spec.arms()
        }

    def _update(self, trial: Trial) -> None:
        self._time_left.update(trial)
        self._remember(trial)

    def _remember(self, trial: Trial) -> None:
        self._trials[trial.id] = trial
        if trial.finished:
            self._ended[trial.arm].add(trial.id)
        if trial.last is not None:
            self._reports[trial.id] = trial.last

    def _count_report(self, trial: Trial, report: Report) -> None:
        self._time_left.reported(trial, report)
        self._reports[trial.id] = report

    def _left_text(self) -> str:
        left = self._time_left.seconds()
        return f"  about {duration(left)} left" if left and round(left) else ""

    def _line(self, text: str) -> None:
        self._told = time.monotonic()
        self._has_news.set()
        if not self._is_live:
            print(f"{duration(time.monotonic() - self._start):>12}  {text}", flush=True)

    def _repeat(self) -> None:
        """Say once in a while that work goes on, where nothing else is to be told."""
        while not self._over.wait(1.0):
            if time.monotonic() - self._told >= _SECONDS_OF_SILENCE:
                running = sum(trial.state == "running" for trial in list(self._trials.values()))
                self._line(f"{counted(running, 'trial')} at work{self._left_text()}")

    def _redraw(self) -> None:
        """Draw the screen when there is news, but not too often, and once in a while for the time that has passed."""
        while not self._over.is_set():
            self._has_news.wait(_SECONDS_OF_A_CLOCK)
            self._has_news.clear()
            if not self._over.is_set():
                self._live.refresh()
                self._over.wait(_SECONDS_PER_SCREEN)

    def _view(self) -> Group:
        passed, left = time.monotonic() - self._start, self._time_left.seconds()
        head = f"{duration(passed)} so far{self._left_text()}"
        share = passed / (passed + left) if left is not None else 0.0
        return view(
            self._spec,
            dict(self._trials),
            self._reports,
            self._time_left.whole,
            self._totals,
            head,
            share,
            self._note,
            self._console,
        )


def progress(of: Sequence[T], what: str) -> Iterable[T]:
    """Iterate with a bar on a terminal, and nothing elsewhere."""
    from rich.progress import track

    return track(of, what, disable=not can_redraw(), transient=True)
