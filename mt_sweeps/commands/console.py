"""What a command shows while it works: a table or a bar on a terminal, plain lines if the output is piped."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Self, TypeVar

from pydantic import ValidationError
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mt_sweeps.formatting import counted, duration, errors_text, metric_text, percent, value_text, values_text
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial, best_of
from mt_sweeps.terminal import print
from trainers.errors import escaped
from trainers.report import Report, metric_of

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
        on_failure: called when a trial has failed.
        is_live: False: plain lines on a terminal, too, where a debugger needs it.
    """

    def __init__(
        self,
        ledger: Ledger,
        concurrent: int,
        on_first_report: Callable[[], None],
        on_failure: Callable[[], None] = lambda: None,
        is_live: bool = True,
    ) -> None:
        self._spec, self._ledger = ledger.spec, ledger
        self._trials: dict[TrialId, Trial] = {}
        self._reports: dict[TrialId, Report] = {}
        self._open: set[TrialId] = set()
        self._steps = self._seconds = 0.0  # of all reports
        self._ended = 0
        self._searched_steps: list[int] = []  # of the trials that were complete or pruned, without finalists and probes
        self._note = ""
        for trial in ledger.all_trials():
            self._update(trial)
            if trial.last is not None:
                self._count_report(trial, trial.last)
        self._on_first_report: Callable[[], None] | None = on_first_report
        self._on_failure = on_failure
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
        if self._on_first_report is not None:
            self._on_first_report()
            self._on_first_report = None
            self._last_line = -5.0
        if time.monotonic() - self._last_line >= 5:  # a line per evaluation would be too many
            self._last_line = time.monotonic()
            self._line(
                f"{trial.id.label} step {report.step}: {errors_text(report, self._spec.metric)}{self._left_text()}"
            )

    def ended(self, trial: Trial) -> None:
        """The trial is complete, pruned or failed, or it lost its worker and waits again."""
        self._update(trial)
        result = errors_text(trial.last, self._spec.metric) if trial.last else ""
        if trial.state == "pruned":
            result += f" at step {trial.step}"
        if trial.reason:
            result = f"{trial.reason}: {trial.message.splitlines()[0]}"
        state = "lost its worker and waits for another" if trial.state == "waiting" else trial.state
        self._line(f"{trial.id.label} {state}: {result}  [{self._ended}/{self._total} trials]{self._left_text()}")
        if trial.state == "failed":
            self._on_failure()

    def message(self, text: str) -> None:
        """There is news of the sweep as a whole."""
        self._note = text
        self._line(text)

    def seconds_left(self) -> float | None:
        """Return the seconds left at the speed so far (pruning makes it less), or None if there are no reports yet.

        Trials still to come will go as far as those that ended, once there are a few of them; a trial that failed says
        nothing of that. Finalists are not pruned, and counted as many as there are at most.
        """
        if not self._steps:
            return None
        remaining = 0.0
        for trial_id in list(self._open):  # the screen is drawn by a thread of its own
            last = self._reports.get(trial_id)
            remaining += self._steps_of(self._trials[trial_id]) - (last.step if last else 0)
        trials, searched = list(self._trials.values()), self._searched_steps
        whole = sum(map(self._steps_of, trials)) / len(trials)
        known = sum(searched) / len(searched) if len(searched) > 3 else whole
        for arm in self._spec.arms():
            to_come = self._ledger.total(arm) - sum(trial.arm == arm for trial in trials)
            remaining += to_come * (whole if arm == "finalists" else 0 if arm == "probe" else known)
        return remaining * self._seconds / self._steps / self._concurrent

    @property
    def _total(self) -> str:
        """How many trials there will be."""
        return f"{'at most ' * self._is_limit}{sum(map(self._ledger.total, self._spec.arms()))}"

    @property
    def _is_limit(self) -> bool:
        """Whether there may be fewer trials: finalists end when the verdict is decided."""
        return "finalists" in self._spec.arms() and self._ledger.remaining("finalists") > 0

    def _update(self, trial: Trial) -> None:
        trial_id = trial.id
        self._trials[trial_id] = trial
        if not trial.finished:
            self._open.add(trial_id)
            return
        self._open.discard(trial_id)
        self._ended += 1
        if trial.state != "failed" and not trial.is_probe and trial.arm != "finalists":
            self._searched_steps.append(trial.step)

    def _count_report(self, trial: Trial, report: Report) -> None:
        trial_id = trial.id
        if trial.is_probe:
            return
        before = self._reports.get(trial_id)
        self._steps += report.step - (before.step if before else 0)
        self._seconds += report.seconds - (before.seconds if before else 0.0)
        self._reports[trial_id] = report

    def _steps_of(self, trial: Trial) -> int:
        try:
            return 0 if trial.is_probe else self._spec.config(trial.values, trial.arm).total_steps
        except ValidationError:  # it will be refused
            return 0

    def _left_text(self) -> str:
        left = self.seconds_left()
        return f"  {'at most' if self._is_limit else 'about'} {duration(left)} left" if left and round(left) else ""

    def _waiting(self) -> str:
        """Return which trials wait, and for what."""
        reasons = []
        for trial_id in sorted(self._open):
            trial = self._trials[trial_id]
            if trial.state == "waiting":
                reasons.append(f"{trial.id.label} (for a free slot: it lost {counted(trial.lost_workers, 'worker')})")
            elif trial_id not in self._reports and time.time() - trial.attempt_started > _SOON:
                reasons.append(f"{trial.id.label} (for its first evaluation)")
        return ", ".join(reasons)

    def _line(self, text: str) -> None:
        if not self._is_live:
            print(f"{duration(time.monotonic() - self._start):>12}  {text}", flush=True)

    def _view(self) -> Group:
        lines = [self._head(), *self._best_lines()]
        notes = [f"waiting: {waiting}"] if (waiting := self._waiting()) else []
        notes += [self._note] if self._note else []
        notes += [] if self._reports else ["the first workers start: they load PyTorch and the images"]
        lines += [Text(escaped(note), style="dim") for note in notes]
        table, left_out = self._table(room=max(4, self._console.height - len(lines) - 4))
        if left_out:
            lines.append(Text(f"({left_out} more trials are not shown)", style="dim"))
        return Group(*lines, table)

    def _head(self) -> Text:
        trials = list(self._trials.values())
        head = Text(self._spec.name, style="bold")
        head.append(f"  {sum(trial.finished for trial in trials)}/{self._total} trials done", style="not bold")
        for state, colour in _COLOURS.items():
            if count := sum(trial.state == state for trial in trials):
                head.append(f"  {count} {state}", style=colour)
        head.append(f"  {duration(time.monotonic() - self._start)} so far{self._left_text()}", style="not bold dim")
        return head

    def _best_lines(self) -> list[Text]:
        trials, metric, name = list(self._trials.values()), self._spec.metric, self._spec.error_name
        lines = []
        best = best_of([trial for trial in trials if trial.arm == "search"], metric)
        if best is not None:
            lines.append(Text(f"best so far  {best.id.label}  {metric_text(name, best.error(metric))}", style="green"))
        for arm in self._spec.finalists.baselines:
            baseline = best_of([trial for trial in trials if trial.arm == arm], metric)
            if baseline is not None:
                lines.append(Text(f"{arm} baseline  {metric_text(name, baseline.error(metric))}", style="dim"))
        return lines

    def _table(self, room: int) -> tuple[Table, int]:
        """Return the table of trials, and how many of them it has no room for."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        is_wide = self._console.width >= 100
        for title, width in (("trial", 6), ("state", 8), ("step", 6)):
            table.add_column(title, no_wrap=True, min_width=width)
        for title in ("student", "teacher"):
            table.add_column(title, no_wrap=True, justify="right", min_width=7)
        keys, metric = list(self._spec.search_space), self._spec.metric
        for key in keys:
            table.add_column(_short(key, keys), no_wrap=True, overflow="ellipsis", max_width=None if is_wide else 8)
        # The running trials first, then the best ones. The dashboard has all of them.
        order = sorted(self._trials.values(), key=lambda t: (_ORDER.index(t.state), (t.error(metric) or (9.0, 0.0))[0]))
        for trial in order[:room]:
            report = self._reports.get(trial.id)
            # A finalist names the trial that it trains again: its own values are all settings.
            suffix, values = (f" = {trial.replicates.label}", {}) if trial.replicates else ("", trial.values)
            table.add_row(
                trial.id.label.removeprefix("trial ") + suffix,
                Text(trial.reason or trial.state, style=_COLOURS[trial.state]),
                str(report.step if report else 0),
                percent(report.metrics.get(metric_of(metric, "student"))) if report else "",
                percent(report.metrics.get(metric_of(metric, "teacher"))) if report else "",
                *(value_text(values[key]) if key in values else "" for key in keys),
            )
        return table, max(0, len(order) - room)


class TrainingProgress:
    """The progress of one training run: a bar on a terminal, one line per evaluation elsewhere.

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
    """Iterate with a bar on a terminal, and nothing elsewhere."""
    from rich.progress import track

    return track(of, what, disable=not sys.stdout.isatty(), transient=True)


def _short(key: str, keys: list[str]) -> str:
    """Return the last word of a dotted key, or the whole key if another one ends in the same word."""
    last = key.rpartition(".")[2]
    return key if sum(other.rpartition(".")[2] == last for other in keys) > 1 else last
