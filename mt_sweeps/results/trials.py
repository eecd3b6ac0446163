"""The trials of a sweep as a table, and one of them in full, for `trials` and `show`."""

import csv
import io
from dataclasses import asdict, dataclass
from typing import Any

from mt_sweeps.errors import InputError
from mt_sweeps.formatting import (
    counted,
    duration,
    error_text,
    labeled,
    local_time,
    no_formula,
    percent,
    value_text,
    values_text,
)
from mt_sweeps.results.finalists import contender_name, scored_error
from mt_sweeps.search_space.space import Value, Values
from mt_sweeps.spec.arms import Arm, TrialId
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study.ledger_view import LedgerView, ledger_of
from mt_sweeps.study.trial import CHOSEN, Origin, State, Trial, shown_state
from trainers.config.compatibility import CONSISTENCY_ONLY
from trainers.report import Report, error_name, metric_of

TABLE_FORMAT = "mt-sweeps-trials/1"  # of `trials --json`, described in docs/json.md
TRIAL_FORMAT = "mt-sweeps-trial/1"  # of `show --json`
_MOST_ROWS = 20  # of a learning curve


@dataclass(frozen=True)
class TrialRow:
    """One trial, as a row of the table.

    Attributes:
        name: as `show` takes it.
        arm: search, supervised, ...
        trial: its number in the arm.
        state: what became of it so far.
        reason: of a failure or of an end by hand, one word; else empty.
        origin: who chose its values; empty: nobody, or it is not known.
        error: at its last evaluation, as a fraction; None: it has none.
        standard_error: of the error.
        step: optimiser steps of its last report.
        seconds: that workers spent on it.
        started: seconds since 1970.
        values: those that it tried.
        of: of a finalist, what it trains again: "trial 7", "supervised"; else empty.
        seed: of a finalist; else None.
        verdict_error: of a finalist that completed, its error on the images that the verdict is of; else None.
    """

    name: str
    arm: Arm
    trial: int
    state: State
    reason: str
    origin: Origin
    error: float | None
    standard_error: float | None
    step: int
    seconds: float
    started: float
    values: Values
    of: str
    seed: int | None
    verdict_error: float | None


def trial_rows(sweep: SweepStore) -> list[TrialRow]:
    """Return all trials of a sweep: those of the search first, the best of them first, then the baselines' and others.

    Raises:
        InputError: the sweep cannot be read.
    """
    ledger, driven = ledger_of(sweep), sweep.is_driven
    rows = [_row(trial, ledger.spec, driven) for trial in ledger.all_trials()]
    states: list[State] = ["complete", "pruned", "running", "waiting", "failed"]
    arms = ledger.spec.arms()

    def place(row: TrialRow) -> tuple[int, int, float, int]:
        error = row.error if row.error is not None and row.arm == "search" else 0.0
        return arms.index(row.arm), states.index(row.state) if row.arm == "search" else 0, error, row.trial

    return sorted(rows, key=place)


def table_json(sweep: SweepStore, rows: list[TrialRow]) -> dict[str, Any]:
    """Return what `trials --json` prints."""
    return {"format": TABLE_FORMAT, "sweep": sweep.name, "trials": [asdict(row) for row in rows]}


def table_columns(rows: list[TrialRow]) -> dict[str, list[Value | None]]:
    """Return the table by column: what is known of each trial, then a column per searched key; None where it has none.

    Returns:
        By the name of the column, its values in the order of the rows.
    """
    # The values of the other two are all settings.
    keys = dict.fromkeys(key for row in rows for key in row.values if row.arm not in ("finalists", "published"))
    facts = [name for name in TrialRow.__dataclass_fields__ if name != "values"]
    columns = {name: [getattr(row, name) for row in rows] for name in facts}
    return columns | {key: [row.values.get(key) if _concerns(row, key) else None for row in rows] for key in keys}


def _concerns(row: TrialRow, key: str) -> bool:
    """Return False for a key of the consistency loss in a training on labeled images alone."""
    return row.of != "supervised" or not key.startswith(CONSISTENCY_ONLY)


def table_csv(rows: list[TrialRow]) -> str:
    """Return the table as CSV, with a column per searched key. No cell is a formula for a spreadsheet."""
    columns = table_columns(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        cells = ["" if cell is None else cell for cell in row]
        writer.writerow([no_formula(cell) if isinstance(cell, str) else cell for cell in cells])
    return text.getvalue()


def table_text(rows: list[TrialRow]) -> str:
    """Return the table for people: a line per trial, the searched values of each."""
    lines = (
        [f"{'trial':14} {'state':9} {'error':15} searched values, what is trained again, or why it failed"]
        if rows
        else []
    )
    for row in rows:
        error = "" if row.error is None else error_text((row.error, row.standard_error or 0.0))
        lines.append(f"{row.name:14} {row.state:9} {error:15} {row.reason or _tried(row)}".rstrip())
    return "\n".join(lines) or "no trial has started"


def _tried(row: TrialRow) -> str:
    """Return what a trial tried: its searched values, or what it trains again."""
    if row.arm == "finalists":
        scored = "" if row.verdict_error is None else f", {percent(row.verdict_error)} in the verdict"
        return f"{row.of}, seed {row.seed}{scored}"
    return "" if row.arm == "published" else values_text(row.values)


@dataclass(frozen=True)
class TrialInFull:
    """One trial with all that is kept of it.

    Attributes:
        row: as in the table.
        attempts: how many were begun.
        message: of a failure or of an end by hand, a sentence; else empty.
        files: where its records, checkpoints and log are.
        records: its evaluations.
    """

    row: TrialRow
    attempts: int
    message: str
    files: str
    records: list[Report]

    def as_json(self) -> dict[str, Any]:
        """Return what `show --json` prints."""
        return {"format": TRIAL_FORMAT, **asdict(self)}


def find_trial(sweep: SweepStore, name: str) -> TrialInFull:
    """Return a trial of a sweep.

    Args:
        sweep: of it.
        name: its number in the search, or as the table names it: `supervised-0`.

    Raises:
        InputError: there is none of this name.
    """
    ledger = ledger_of(sweep)
    trial = trial_named(sweep, ledger, name)
    return TrialInFull(
        row=_row(trial, ledger.spec, sweep.is_driven),
        attempts=trial.attempt,
        message=trial.message,
        files=sweep.trials.address(trial.id, max(1, trial.attempt)),
        records=sweep.trials.records(trial.id),
    )


def trial_named(sweep: SweepStore, ledger: LedgerView, name: str) -> Trial:
    """Return a trial by its name.

    Args:
        sweep: of it.
        ledger: of the sweep.
        name: as of `find_trial`.

    Raises:
        InputError: there is none of this name.
    """
    for trial in ledger.all_trials():
        if name in (_name(trial.id), trial.id.slug):
            return trial
    count = len(ledger.trials("search"))
    known = f"0 to {count - 1}" if count else "none yet"
    raise InputError(
        f"{name}: {sweep.name} has no such trial; those of the search are {known}, the others as "
        f"`{sweep.command('trials')}` names them"
    )


def trial_text(trial: TrialInFull, metric: str) -> str:
    """Return a trial for people.

    Args:
        trial: which.
        metric: that trials are ranked by.
    """
    row = trial.row
    error = "" if row.error is None else f", {error_name(metric)} {error_text((row.error, row.standard_error or 0.0))}"
    chosen = f", {CHOSEN[row.origin]}" if row.origin in CHOSEN else ""
    lines = [
        f"trial {row.name}: {row.state}{error}{chosen}",
        *([f"  reason     {row.reason}: {trial.message}"] if row.reason else []),
        f"  started    {local_time(row.started)}, {counted(trial.attempts, 'attempt')}, "
        f"{duration(row.seconds)} of work, step {row.step}",
        *labeled("values", [f"{key} {value_text(value)}" for key, value in row.values.items()]),
        *labeled("curve", _curve(trial.records, metric)),
        f"  files      {trial.files}",
    ]
    return "\n".join(lines)


def _curve(reports: list[Report], metric: str) -> list[str]:
    """Return a learning curve: a line for each of at most twenty evaluations, the last among them."""
    every = -(-len(reports) // _MOST_ROWS) or 1
    shown = reports[::-1][::every][::-1]
    if not shown:
        return []
    networks = [name for name in ("student", "teacher") if metric_of(metric, name) in shown[-1].metrics]
    lines = [f"{'step':>9}  " + "  ".join(f"{name:>8}" for name in networks)]
    for report in shown:
        errors = "  ".join(f"{percent(report.metrics.get(metric_of(metric, name))):>8}" for name in networks)
        lines.append(f"{report.step:9,}  {errors}")
    return lines


def _row(trial: Trial, spec: SweepSpec, driven: bool) -> TrialRow:
    error, standard_error = trial.error(spec.metric) or (None, None)
    of = trial.replicates
    is_scored = of is not None and trial.state == "complete"
    return TrialRow(
        name=_name(trial.id),
        arm=trial.arm,
        trial=trial.number,
        state=shown_state(trial, driven),
        reason=trial.reason,
        origin=trial.origin,
        error=error,
        standard_error=standard_error,
        step=trial.step,
        seconds=round(trial.seconds, 3),
        started=trial.started,
        values=trial.values,
        of="" if of is None else contender_name(of),
        seed=None if of is None else int(trial.values["seed"]),
        verdict_error=scored_error(spec, trial) if is_scored else None,
    )


def _name(trial: TrialId) -> str:
    return str(trial.number) if trial.arm == "search" else f"{trial.arm}-{trial.number}"
