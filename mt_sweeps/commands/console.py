"""The live view: a table on a terminal, plain lines where the output is piped."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Self, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mt_sweeps.formatting import counted, duration, error_text, errors_text, percent, value_text, values_text
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial, best_of
from trainers.report import Report

T = TypeVar("T")

_SOON = 20  # seconds in which a trial has usually reported
_COLOURS = {"running": "cyan", "complete": "green", "pruned": "yellow", "failed": "red", "waiting": "magenta"}
_ORDER = ("running", "complete", "pruned", "failed", "waiting")


class Board:
    """Shows a running sweep: a table that is redrawn on a terminal, plain lines elsewhere.

    Args:
        ledger: of the sweep; only read.
        concurrent: trials at once.
        on_first_report: called once, when the first trial has reported.
        is_live: False: plain lines on a terminal, too, where a debugger needs it.
    """

    def __init__(
        self, ledger: Ledger, concurrent: int, on_first_report: Callable[[], None], is_live: bool = True
    ) -> None:
        self._spec, self._ledger = ledger.spec, ledger
        self._trials: dict[TrialId, Trial] = {}
        self._reports: dict[TrialId, Report] = {}
        self._open: set[TrialId] = set()
        self._steps = self._seconds = 0.0  # of all reports
        self._ended, self._ended_steps = 0, 0
        self._note = ""
        for trial in ledger.all_trials():
            self._know(trial)
            if trial.last is not None:
                self._hear(trial, trial.last)
        self._on_first_report: Callable[[], None] | None = on_first_report
        self._start = time.monotonic()
        self._concurrent = concurrent
        self._last_line = -5.0
        self._console = Console()
        self._is_live = is_live and self._console.is_terminal
        self._live = Live(get_renderable=self._view, console=self._console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:
            self._live.stop()

    def started(self, trial: Trial) -> None:
        """A worker was given the trial."""
        self._know(trial)
        again = f" again (attempt {trial.attempt})" if trial.attempt > 1 else ""
        if trial.replicates is not None:
            self._line(f"{trial.id.label} starts{again}: {trial.replicates.label} with seed {trial.values['seed']}")
            return
        searched = {key: value for key, value in trial.values.items() if key in self._spec.search_space}
        self._line(f"{trial.id.label} starts{again}: {values_text(searched) or 'nothing searched'}")

    def reported(self, trial: Trial, report: Report) -> None:
        """The trial was evaluated."""
        self._hear(trial, report)
        if self._on_first_report is not None:
            self._on_first_report()
            self._on_first_report = None
            self._last_line = -5.0
        if time.monotonic() - self._last_line >= 5:  # a line an evaluation would be too many
            self._last_line = time.monotonic()
            self._line(f"{trial.id.label} step {report.step}: {errors_text(report)}{self._left_text()}")

    def ended(self, trial: Trial) -> None:
        """The trial is complete, pruned, failed, or waits again since its worker was lost."""
        self._know(trial)
        told = errors_text(trial.last) if trial.last else ""
        if trial.state == "pruned":
            told += f" at step {trial.step}"
        if trial.reason:
            told = f"{trial.reason}: {trial.message.splitlines()[0]}"
        state = "lost its worker and waits for another" if trial.state == "waiting" else trial.state
        self._line(f"{trial.id.label} {state}: {told}  [{self._ended}/{self._total} trials]{self._left_text()}")

    def message(self, text: str) -> None:
        """Something is to be known of the sweep as a whole."""
        self._note = text
        self._line(text)

    def seconds_left(self) -> float | None:
        """At the speed of the reports so far; pruning makes it less. None: there are no reports yet."""
        if not self._steps:
            return None
        remaining = 0.0
        for trial_id in list(self._open):  # the screen is drawn by a thread of its own
            last = self._reports.get(trial_id)
            remaining += self._steps_of(self._trials[trial_id]) - (last.step if last else 0)
        # Those still to come will go as far as those that ended, once there are a few of them.
        trials = list(self._trials.values()) if self._ended <= 3 else []
        known = self._ended_steps / self._ended if not trials else sum(map(self._steps_of, trials)) / len(trials)
        remaining += (self._total - len(self._trials)) * known
        return remaining * self._seconds / self._steps / self._concurrent

    @property
    def _total(self) -> int:
        return sum(map(self._ledger.total, self._spec.arms()))

    def _know(self, trial: Trial) -> None:
        trial_id = trial.id
        self._trials[trial_id] = trial
        if not trial.finished:
            self._open.add(trial_id)
            return
        self._open.discard(trial_id)
        self._ended += 1
        self._ended_steps += trial.step

    def _hear(self, trial: Trial, report: Report) -> None:
        trial_id = trial.id
        before = self._reports.get(trial_id)
        self._steps += report.step - (before.step if before else 0)
        self._seconds += report.seconds - (before.seconds if before else 0.0)
        self._reports[trial_id] = report

    def _steps_of(self, trial: Trial) -> int:
        return self._spec.config(trial.values, trial.arm).steps

    def _left_text(self) -> str:
        left = self.seconds_left()
        return f"  about {duration(left)} left" if left else ""

    def _waiting(self) -> str:
        """Which trials wait, and what for."""
        told = []
        for trial_id in sorted(self._open):
            trial = self._trials[trial_id]
            if trial.state == "waiting":
                told.append(f"{trial.id.label} (for a free place: it lost {counted(trial.lost_workers, 'worker')})")
            elif trial_id not in self._reports and time.time() - trial.attempt_started > _SOON:
                told.append(f"{trial.id.label} (for its first evaluation)")
        return ", ".join(told)

    def _line(self, text: str) -> None:
        if not self._is_live:
            print(f"{duration(time.monotonic() - self._start):>12}  {text}", flush=True)

    def _view(self) -> Group:
        trials = list(self._trials.values())
        count = {state: sum(trial.state == state for trial in trials) for state in _COLOURS}
        head = Text(self._spec.name, style="bold")
        head.append(f"  {sum(trial.finished for trial in trials)}/{self._total} trials done", style="not bold")
        for state, colour in _COLOURS.items():
            if count[state]:
                head.append(f"  {count[state]} {state}", style=colour)
        head.append(f"  {duration(time.monotonic() - self._start)} so far{self._left_text()}", style="not bold dim")
        lines = [head]
        metric = self._spec.metric
        best = best_of([trial for trial in trials if trial.arm == "search"], metric)
        if best is not None:
            lines.append(Text(f"best so far  {best.id.label}  {error_text(best.error(metric))}", style="green"))
        for arm in self._spec.finalists.baselines:
            baseline = best_of([trial for trial in trials if trial.arm == arm], metric)
            if baseline is not None:
                lines.append(Text(f"{arm} baseline  {error_text(baseline.error(metric))}", style="dim"))
        if waiting := self._waiting():
            lines.append(Text(f"waiting: {waiting}", style="dim"))
        if self._note:
            lines.append(Text(self._note, style="dim"))
        if not self._reports:
            lines.append(Text("the first workers start: they load PyTorch and the images", style="dim"))
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        wide = self._console.width >= 100
        for title, width in (("trial", 6), ("state", 8), ("step", 6)):
            table.add_column(title, no_wrap=True, min_width=width)
        for title in ("student", "teacher"):
            table.add_column(title, no_wrap=True, justify="right", min_width=7)
        keys = list(self._spec.search_space)
        for key in keys:
            table.add_column(_short(key, keys), no_wrap=True, overflow="ellipsis", max_width=None if wide else 8)
        # Those that run, then the best: what one looks for; all of them are in the dashboard.
        order = sorted(trials, key=lambda t: (_ORDER.index(t.state), (t.error(metric) or (9.0, 0.0))[0]))
        room = max(4, self._console.height - len(lines) - 4)
        for trial in order[:room]:
            report = self._reports.get(trial.id)
            # Of a finalist, whose values it has: its own are all settings, also those that its method does not read.
            whose, values = (f" = {trial.replicates.label}", {}) if trial.replicates else ("", trial.values)
            table.add_row(
                trial.id.label.removeprefix("trial ") + whose,
                Text(trial.reason or trial.state, style=_COLOURS[trial.state]),
                str(report.step if report else 0),
                percent(report.metrics.get("validation.student_error")) if report else "",
                percent(report.metrics.get("validation.teacher_error")) if report else "",
                *(value_text(values[key]) if key in values else "" for key in keys),
            )
        if len(order) > room:
            lines.append(Text(f"({len(order) - room} more trials are not shown)", style="dim"))
        return Group(*lines, table)


class TrainingProgress:
    """The progress of one training run: a bar on a terminal, a line an evaluation elsewhere.

    Args:
        steps: of the whole run.
    """

    def __init__(self, steps: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            disable=not sys.stdout.isatty(),
        )
        self._task = self._bar.add_task("", total=steps)
        self._steps = steps

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def reported(self, report: Report) -> None:
        """The run was evaluated."""
        shown = errors_text(report) or f"loss {report.metrics['train.loss']:.4g}"
        self._bar.update(self._task, completed=report.step, description=shown)
        if self._bar.disable:
            print(f"step {report.step}/{self._steps}: {shown}", flush=True)


def progress(of: Sequence[T], what: str) -> Iterable[T]:
    """Go through something long: a bar on a terminal, nothing elsewhere."""
    from rich.progress import track

    return track(of, what, disable=not sys.stdout.isatty(), transient=True)


def _short(key: str, keys: list[str]) -> str:
    """The last word of a dotted key, where no other key ends in it."""
    last = key.rpartition(".")[2]
    return key if sum(other.rpartition(".")[2] == last for other in keys) > 1 else last
