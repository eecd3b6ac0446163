"""How a sweep stands, read from its ledger: for `status`, `list`, `best` and `export`."""

from typing import Any

from mt_sweeps.errors import InputError
from mt_sweeps.formatting import counted, duration, error_text, values_text
from mt_sweeps.results import best_file
from mt_sweeps.storage.home import Home, SweepStore, command_line
from mt_sweeps.study import budget
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial

FORMAT = "mt-sweeps-status/1"  # of `--json`, as in docs/json.md
STATES = ("waiting", "running", "complete", "pruned", "failed")


def status(directory: SweepStore) -> dict[str, Any]:
    """The sweep as `status --json` shows it.

    Returns:
        `format`; `name`; `state`, as the function of that name; `arms`: trials by state; `best`: trial, error, standard
        error and values, or null; `seconds` that drivers worked.
    """
    spec = directory.load_spec()
    ledger = Ledger(directory.ledger, spec)
    driven = directory.is_driven
    arms: dict[str, dict[str, int]] = {}
    for arm in spec.arms():
        trials = ledger.trials(arm)
        counts = {state: sum(trial.state == state for trial in trials) for state in STATES}
        counts["waiting"] = ledger.remaining(arm)
        if not driven:  # what a dead driver left running waits for the next one
            counts["waiting"] += counts["running"]
            counts["running"] = 0
        arms[arm] = {"total": ledger.total(arm), **counts}
    found = ledger.best()
    return {
        "format": FORMAT,
        "name": directory.name,
        "state": state(directory, ledger, driven),
        "arms": arms,
        "best": _best(found, spec.metric) if found else None,
        "seconds": ledger.active_seconds,
    }


def state(directory: SweepStore, ledger: Ledger, driven: bool) -> str:
    """running, finished (a spent budget included), or interrupted: no process drives it and trials are left."""
    return "running" if driven else "interrupted" if _is_open(directory, ledger) else "finished"


def _is_open(directory: SweepStore, ledger: Ledger) -> bool:
    """Whether a driver would find something to do."""
    environment = directory.load_environment()
    gpus, concurrent = environment.gpus_per_trial, environment.concurrent
    spent = ledger.active_seconds, gpus * ledger.seconds_done
    if any(trial.state == "running" for trial in ledger.all_trials()):
        return True
    if budget.is_spent(ledger, *spent):
        return False
    over = budget.stop_reason(ledger, *spent, gpus, concurrent)
    return any(ledger.remaining(arm) for arm in ledger.spec.arms() if arm == "finalists" or not over)


def best_of(directory: SweepStore) -> best_file.BestFile:
    """The best-hyper-parameters file of a sweep, as it stands now.

    Raises:
        InputError: no trial has completed.
    """
    ledger = Ledger(directory.ledger, directory.load_spec())
    found = ledger.best()
    if found is None:
        raise InputError(f"{directory.name}: no trial has completed yet; see `mt-sweep status {directory.name}`")
    return best_file.best_file(ledger, found, directory.load_environment())


def status_text(row: dict[str, Any], home: Home) -> str:
    """For people."""
    lines = [f"{row['name']}: {row['state']}, {duration(row['seconds'])} of work"]
    for arm, counts in row["arms"].items():
        told = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
        lines.append(f"  {arm:10} {counted(counts['total'], 'trial')}: {told}")
    if row["best"]:
        best = row["best"]
        lines.append(f"  best       trial {best['trial']}: {error_text((best['error'], best['standard_error']))}")
        lines.append(f"             {values_text(best['values'])}")
    if row["state"] == "interrupted":
        lines.append(f"  go on with: {command_line('resume', row['name'], home)}")
    return "\n".join(lines)


def list_text(rows: list[dict[str, Any]]) -> str:
    """For people: a line a sweep."""
    if not rows:
        return "no sweeps yet; start one with: mt-sweep run search_spaces/digits.yaml"
    width = max(len(row["name"]) for row in rows)
    lines = []
    for row in rows:
        search = row["arms"]["search"]
        done = search["complete"] + search["pruned"] + search["failed"]
        best = row["best"]
        told = f"best {error_text((best['error'], best['standard_error']))}" if best else ""
        lines.append(f"{row['name']:{width}}  {row['state']:11}  {done}/{search['total']} trials  {told}")
    return "\n".join(lines)


def _best(trial: Trial, metric: str) -> dict[str, Any]:
    error, standard_error = trial.error(metric) or (None, None)
    return {
        "trial": trial.number,
        "metric": metric,
        "error": error,
        "standard_error": standard_error,
        "values": trial.values,
    }
