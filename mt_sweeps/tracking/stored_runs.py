"""The runs of a sweep that MLflow has: find them, take their weights, give them the report, remove them."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from mt_sweeps.errors import SweepError
from mt_sweeps.spec.arms import Arm, TrialId
from mt_sweeps.storage.home import Home, SweepStore
from mt_sweeps.tracking.client import Client
from mt_sweeps.tracking.mlflow_errors import first_line, raise_if_permanent
from mt_sweeps.tracking.shared_view import tag_of
from trainers.files import BEST_MODEL


def stored_runs(client: Client, sweep: SweepStore) -> dict[str, str]:
    """Return the ids of a sweep's runs: of trials by `TrialId.slug`, of the sweep by ""."""
    parents = [run.id for run in client.runs({"mt.sweep": sweep.load_environment().id, "mt.arm": "sweep"})]
    runs = {"": parents[0]} if parents else {}
    for parent in parents[:1]:
        for run in client.runs({"mlflow.parentRunId": parent}):
            runs[TrialId(cast(Arm, run.tags["mt.arm"]), int(run.tags["mt.trial"])).slug] = run.id
    return runs


def download_models(home: Home, sweep: SweepStore, trials: Sequence[TrialId], folder: Path) -> dict[TrialId, Path]:
    """Return the best weights that MLflow has of some trials of a sweep, as files on this machine.

    Args:
        home: holds the embedded store.
        sweep: the sweep.
        trials: of it.
        folder: to put them, a folder for each trial.

    Raises:
        InputError: MLflow will never answer; see `raise_if_permanent`.
        SweepError: MLflow does not answer.
    """
    tracking = sweep.load_spec().tracking
    if tracking.uri is None and not home.mlflow_db.exists():
        return {}
    models: dict[TrialId, Path] = {}
    try:
        client = Client(home, tracking)
        runs = stored_runs(client, sweep)
        for trial in trials:
            for network in ("teacher", "student"):
                if trial.slug not in runs or trial in models:
                    continue
                target = folder / trial.slug
                target.mkdir(exist_ok=True)
                if (file := client.download(runs[trial.slug], f"{network}/{BEST_MODEL}", target)) is not None:
                    models[trial] = file
    except Exception as error:  # of MLflow's client, its store or the network
        raise_if_permanent(error, home, tracking)
        raise SweepError(f"MLflow does not answer ({first_line(error)}): it has the weights; try again") from None
    return models


def send_report(home: Home, sweep: SweepStore) -> None:
    """Store the HTML report, written anew, with the sweep's parent run, if there is one.

    Raises:
        InputError: MLflow will never answer; see `raise_if_permanent`.
        SweepError: MLflow does not answer.
    """
    tracking = sweep.load_spec().tracking
    if tracking.uri is None and not home.mlflow_db.exists():
        return
    try:
        client = Client(home, tracking)
        for run in client.runs({"mt.sweep": sweep.load_environment().id, "mt.arm": "sweep"}):
            client.log_file(run.id, sweep.report)
    except Exception as error:  # of MLflow's client, its store or the network
        raise_if_permanent(error, home, tracking)
        raise SweepError(
            f"MLflow has not got the report ({first_line(error)}); the same command sends it again"
        ) from None


def remove_runs(home: Home, sweep: SweepStore) -> int:
    """Delete all runs of a sweep, but not those of final trainings; return how many there were."""
    spec = sweep.load_spec()
    if spec.tracking.uri is None and not home.mlflow_db.exists():
        return 0
    client = Client(home, spec.tracking)
    parents = [run.id for run in client.runs({"mt.sweep": sweep.load_environment().id, "mt.arm": "sweep"})]
    client.delete_experiment_tag(tag_of(sweep.load_environment().id))
    children = [run.id for parent in parents for run in client.runs({"mlflow.parentRunId": parent})]
    for run in (*children, *parents):  # the parents last: without them the next call would not find the children
        client.remove(run)
    return len(children) + len(parents)
