"""Where a sweep is in MLflow's pages: its saved view, which holds the answer, and its runs."""

from mt_sweeps.addresses import part_with_credentials
from mt_sweeps.errors import SweepError
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.storage.home import Home, SweepStore
from mt_sweeps.tracking.client import Client
from mt_sweeps.tracking.mlflow_errors import first_line, raise_if_permanent
from mt_sweeps.tracking.shared_view import run_page, runs_page, tag_of, view_page
from mt_sweeps.tracking.stored_runs import stored_runs


def has_pages(tracking: Tracking) -> bool:
    """Return True if MLflow's pages are served already: the store is a server, and no database."""
    return tracking.uri is not None and tracking.uri.startswith("http")


def address(tracking: Tracking, page: str) -> str:
    """Return the address of a page on the sweep's own server."""
    return f"{(tracking.uri or '').rstrip('/')}/#/{page}"


def sweep_page(sweep: SweepStore) -> str:
    """Return the page of a sweep: its view; its run if there is no view; all runs if there is neither.

    Raises:
        InputError: MLflow will never answer; see `raise_if_permanent`.
        SweepError: MLflow does not answer.
    """
    home, tracking = sweep.home, sweep.load_spec().tracking
    sweep_id = sweep.load_environment().id
    try:
        client = Client(home, tracking)
        runs = [run.id for run in client.runs({"mt.sweep": sweep_id, "mt.arm": "sweep"})]
    except Exception as error:  # of MLflow's client, its store or the network
        raise_if_permanent(error, home, tracking)
        raise SweepError(f"{tracking.uri or home.mlflow_db}: MLflow does not answer ({first_line(error)})") from None
    if not runs:
        return runs_page(client.experiment)
    has_view = tag_of(sweep_id) in client.experiment_tags
    return view_page(client.experiment, sweep_id) if has_view else run_page(client.experiment, runs[0])


def link_to(sweep: SweepStore) -> str | None:
    """Return the address of a sweep's view on its own server, whether it is there yet or not.

    Returns:
        The address; None if the sweep has no server, or it does not answer: nothing waits for a link.
    """
    tracking = sweep.load_spec().tracking
    if not has_pages(tracking):
        return None
    try:
        experiment = Client(sweep.home, tracking).experiment
    except Exception:  # of MLflow's client or the network
        return None
    return address(tracking, view_page(experiment, sweep.load_environment().id))


def run_pages(home: Home, sweep: SweepStore) -> dict[str, str]:
    """Return the addresses of a sweep's pages on an MLflow server: of trials by `TrialId.slug`, of the sweep by "".

    Nothing is returned of the embedded store, whose server has another address each time, nor while there is no answer.
    """
    tracking = sweep.load_spec().tracking
    if not has_pages(tracking):
        return {}
    try:
        client = Client(home, tracking)
        return run_addresses(tracking, client.experiment, stored_runs(client, sweep))
    except Exception:  # of MLflow's client, its store or the network: a report needs none of them
        return {}


def run_addresses(tracking: Tracking, experiment: str, runs: dict[str, str]) -> dict[str, str]:
    """Return the addresses of the pages of runs, as `run_pages` does.

    Args:
        tracking: of the sweep.
        experiment: its id.
        runs: ids, by name.
    """
    if tracking.uri is None or not tracking.uri.startswith("http") or part_with_credentials(tracking.uri):
        return {}
    return {name: address(tracking, f"experiments/{experiment}/runs/{run}") for name, run in runs.items()}
