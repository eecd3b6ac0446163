"""What a terminal shows of a running sweep: how far it is, the best, the finalists, and the trials."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mt_sweeps.formatting import counted, metric_text, percent, value_text, values_text
from mt_sweeps.spec.arms import Arm, TrialId
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.study.trial import Trial, best_of
from trainers.errors import escaped
from trainers.report import Report, metric_of

_SOON = 20  # seconds in which a trial has usually reported
_WIDE = 80  # columns from which both networks' errors are shown
_BEST = 5  # trials that are left on the screen
_COLOURS = {"running": "cyan", "complete": "green", "pruned": "yellow", "failed": "red", "waiting": "magenta"}
_ORDER = ("running", "complete", "pruned", "failed", "waiting")


def view(
    spec: SweepSpec,
    trials: Mapping[TrialId, Trial],
    reports: Mapping[TrialId, Report],
    steps: Mapping[TrialId, int],
    totals: Mapping[Arm, str],
    head: str,
    share: float,
    note: str,
    console: Console,
) -> Group:
    """Return what is on the screen while a sweep runs.

    Args:
        spec: of the sweep.
        trials: all that have begun.
        reports: the last one of each trial.
        steps: how many each trial will train, if it goes to its end.
        totals: how many trials each arm will have, in words.
        head: the first line's end: how long it takes.
        share: of the whole that is done, from 0 to 1.
        note: the last news of the sweep as a whole, or nothing.
        console: whose size it must fit.
    """
    everything = list(trials.values())
    first = Text(spec.name, style="bold")
    first.append(f"  {head}", style="not bold")
    bar = Table.grid()  # with the end of its line
    bar.add_row(ProgressBar(total=1.0, completed=share, width=min(60, console.width)))
    lines: list[RenderableType] = [first, bar, _arms(totals, everything)]
    lines += [*_best_lines(spec, everything), *_finalist_lines(spec, everything)]
    notes = [f"waiting: {waiting}"] if (waiting := _waiting(everything, reports)) else []
    notes += [note] if note else []
    notes += [] if reports else ["the first workers start: they load PyTorch and the images"]
    lines += [Text(escaped(note), style="dim") for note in notes]
    used = sum(len(console.render_lines(line)) for line in lines)
    shown = [trial for trial in everything if trial.replicates is None or trial.state == "running"]
    table, left_out = _table(spec, shown, reports, steps, console.width, room=max(4, console.height - used - 4))
    if left_out:
        more = "trial is" if left_out == 1 else "trials are"
        lines.append(Text(f"({left_out} more {more} not shown)", style="dim"))
    return Group(*lines, table)


def best_lines(spec: SweepSpec, trials: Sequence[Trial]) -> list[str]:
    """Return the best trials of the search with their values, a line each, or nothing if none is complete."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.arm == "search"]
    best = sorted(complete, key=lambda trial: (trial.objective(spec.metric), trial.number))[:_BEST]
    return [
        f"{trial.id.label:>9}  {metric_text(spec.error_name, trial.error(spec.metric)):>13}  "
        + values_text({key: value for key, value in trial.values.items() if key in spec.search_space})
        for trial in best
    ]


def _arms(totals: Mapping[Arm, str], trials: Sequence[Trial]) -> Table:
    """Return a row for each arm: how many of its trials have ended, of how many, and their states."""
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(min_width=10, no_wrap=True)
    for arm, total in totals.items():
        states: list[str] = [trial.state for trial in trials if trial.arm == arm]
        ended = sum(trial.finished for trial in trials if trial.arm == arm)
        line = Text(f"{ended} of {total} {'trial' if total == '1' else 'trials'}")
        for state, colour in _COLOURS.items():
            if count := states.count(state):
                line.append(f"  {count} {state}", style=colour)
        rows.add_row(arm, line)
    return rows


def _best_lines(spec: SweepSpec, trials: Sequence[Trial]) -> list[Text]:
    name, lines = spec.error_name, []
    best = best_of([trial for trial in trials if trial.arm == "search"], spec.metric)
    if best is not None:
        lines.append(Text(f"best so far  {best.id.label}  {metric_text(name, best.error(spec.metric))}", style="green"))
    for arm in spec.finalists.baselines:
        baseline = best_of([trial for trial in trials if trial.arm == arm], spec.metric)
        if baseline is not None:
            lines.append(Text(f"{arm} baseline  {metric_text(name, baseline.error(spec.metric))}", style="dim"))
    return lines


def _finalist_lines(spec: SweepSpec, trials: Sequence[Trial]) -> list[Text]:
    """Return a line per contender: the mean error over its seeds, and how many are done."""
    by_contender: dict[TrialId, list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.replicates is not None:
            by_contender[trial.replicates].append(trial)
    lines = []
    for contender, seeds in by_contender.items():
        errors = [trial.objective(spec.metric) for trial in seeds if trial.state == "complete"]
        mean = (
            f"mean {percent(sum(errors) / len(errors))} of {counted(len(errors), 'seed')}" if errors else "no seed yet"
        )
        lines.append(Text(f"{contender.label}, trained again  {mean}"))
    return lines


def _waiting(trials: Sequence[Trial], reports: Mapping[TrialId, Report]) -> str:
    """Return which trials wait, and for what."""
    reasons = []
    for trial in sorted((trial for trial in trials if not trial.finished), key=lambda trial: trial.id):
        if trial.state == "waiting":
            lost = f": it lost {counted(trial.lost_workers, 'worker')}" if trial.lost_workers else ""
            reasons.append(f"{trial.id.label} (for a free slot{lost})")
        elif trial.id not in reports and time.time() - trial.attempt_started > _SOON:
            reasons.append(f"{trial.id.label} (for its first evaluation)")
    return ", ".join(reasons)


def _table(
    spec: SweepSpec,
    trials: Sequence[Trial],
    reports: Mapping[TrialId, Report],
    steps: Mapping[TrialId, int],
    width: int,
    room: int,
) -> tuple[Table, int]:
    """Return the table of trials, and how many of them it has no room for.

    A key that does not fit in the width is left out: half a number would be another number.
    """
    # The running trials first, then the best ones. The dashboard has all of them.
    order = sorted(trials, key=lambda t: (_ORDER.index(t.state), (t.error(spec.metric) or (9.0, 0.0))[0]))
    networks = ("student", "teacher") if width >= _WIDE else (spec.metric.split(".")[1].split("_")[0],)
    columns: dict[str, list[str]] = {name: [] for name in ("trial", "state", "step", *networks)}
    keys = list(spec.search_space)
    columns |= {_short(key, keys): [] for key in keys}
    for trial in order[:room]:
        report = reports.get(trial.id)
        # A finalist names the trial that it trains again: its own values are all settings.
        suffix, values = (f" = {trial.replicates.label}", {}) if trial.replicates else ("", trial.values)
        columns["trial"].append(trial.id.label.removeprefix("trial ") + suffix)
        columns["state"].append(trial.reason or trial.state)
        whole = steps.get(trial.id, 0)
        columns["step"].append(f"{report.step if report else trial.step}" + (f"/{whole}" if whole else ""))
        for network in networks:
            metrics = report.metrics if report else {}
            error = metrics.get(metric_of(spec.metric, network))
            if error is None and width < _WIDE:  # there is no teacher
                error = metrics.get(metric_of(spec.metric, "student"))
            columns[network].append(percent(error))
        for key in keys:
            columns[_short(key, keys)].append(value_text(values[key]) if key in values else "")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    used, fitting, left_out = 0, [], 0
    for title, cells in columns.items():
        used += max(map(len, [title, *cells])) + 2
        if used - 2 > width:
            left_out += 1
            continue
        fitting.append(cells)
        table.add_column(title, no_wrap=True, justify="right" if title in networks else "left")
    if left_out:
        table.caption = f"{counted(left_out, 'column')} more in a wider window"
        table.caption_justify = "left"
    for row, trial in enumerate(order[:room]):
        cells_of_row = [cells[row] for cells in fitting]
        table.add_row(cells_of_row[0], Text(cells_of_row[1], style=_COLOURS[trial.state]), *cells_of_row[2:])
    return table, max(0, len(order) - room)


def _short(key: str, keys: list[str]) -> str:
    """Return the last word of a dotted key, or the whole key if another one ends in the same word."""
    last = key.rpartition(".")[2]
    return key if sum(other.rpartition(".")[2] == last for other in keys) > 1 else last
