"""`resume`: check that images and weights are those with which a sweep began, and go on with it."""

from pathlib import Path

from mt_sweeps.commands.conduct import check_mlflow, conduct, print_places, started_engine
from mt_sweeps.commands.notify import Notifier
from mt_sweeps.errors import InputError
from mt_sweeps.execution.preflight import check_data, check_storage, spec_versions
from mt_sweeps.plugins import changed_plugins
from mt_sweeps.results.status import is_budget_spent
from mt_sweeps.results.unstarted import way_on
from mt_sweeps.spec.load import with_more_hours, with_trials
from mt_sweeps.storage.environment import Environment, file_digest
from mt_sweeps.storage.home import Home, SweepStore, command_line
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.terminal import print


def resume_sweep(
    home: Home,
    name: str | None,
    more: int = 0,
    in_process: bool = False,
    notify: str | None = None,
    hours: float = 0.0,
) -> None:
    """Go on with a sweep whose driver is gone, from each trial's last checkpoint.

    Args:
        home: where it lives.
        name: of the sweep, or None for the newest.
        more: trials to search with beyond those it was started with.
        in_process: run the trials in this process, one after another, without Ray.
        notify: as of `run_sweep`.
        hours: more than its budget had.

    Raises:
        InputError: there is no such sweep, it has a living driver, or it cannot be resumed here.
        SweepError: the sweep ended without a result.
    """
    sweep = home.sweep(name)
    sweep.check_plugins()
    check_storage(Path(sweep.name), home, sweep.load_spec())
    if sweep.is_driven:
        raise InputError(sweep.already_driven)
    notifier = Notifier(notify, sweep)
    # Before anything is read that another process may change.
    with notifier.at_the_end(), sweep.exclusive(sweep.already_driven):
        sweep.clear_stop_request()  # of a driver before this one
        _resume(sweep, more, hours, in_process, notifier)


def _resume(sweep: SweepStore, more: int, hours: float, in_process: bool, notifier: Notifier) -> None:
    """Go on with a sweep whose lock is held; arguments and errors as of `resume_sweep`."""
    spec, label = sweep.load_spec(), Path(sweep.name)
    if more:
        spec = with_trials(spec, spec.trials + more)
    if hours:
        spec = with_more_hours(spec, hours)
    ledger = Ledger(sweep.ledger, spec)
    if is_budget_spent(sweep, ledger):
        way = way_on(sweep, ledger)
        if more:
            raise InputError(f"{sweep.name}: its budget is spent, so none of {more} more trials would start; {way}")
        print(f"note: the budget of {sweep.name} is spent, so no trial starts; {way}", flush=True)
    if more or hours:
        sweep.save_spec(spec)
    if all(trial.finished for trial in ledger.all_trials()) and not any(map(ledger.remaining, spec.arms())):
        print(f"{spec.name} is finished: MLflow is completed, nothing else is left to do", flush=True)
        conduct(sweep, spec, None, notifier)
        return
    environment = sweep.load_environment()
    _print_file_change(sweep, environment)
    data = check_data(label, spec)
    if data.fingerprint != environment.data_fingerprint:
        raise InputError(
            f"{sweep.name}: the images are not those that the sweep began with; bring them back, or start a new sweep"
        )
    if data.split_fingerprint != environment.split_fingerprint:
        raise InputError(
            f"{sweep.name}: the images serve other purposes than when the sweep began (they have other copies or "
            "groups, or an earlier version drew them); start a new sweep"
        )
    if data.weights != environment.weights:
        raise InputError(
            f"{sweep.name}: the file of model.weights is not the one that the sweep began with; bring it back, or "
            "start a new sweep"
        )
    for module in changed_plugins(environment.versions, spec_versions(spec)):
        print(f"note: the code of the plugin {module} has changed since the sweep began", flush=True)
    mlflow_problem = check_mlflow(sweep.home, spec)
    with started_engine(label, spec, data, in_process) as (share, _):
        if environment.gpus_per_trial and not share.gpus:
            raise InputError(f"{sweep.name}: its trials ran on GPUs and there are none now; resume it where some are")
        print(f"{spec.name} goes on where it was", flush=True)
        print_places(sweep, mlflow_problem)
        conduct(sweep, spec, share, notifier, in_process, mlflow_problem)


def _print_file_change(sweep: SweepStore, environment: Environment) -> None:
    """Say that an edit of the search-space file since the sweep began is not used, and what to do."""
    file = Path(environment.file)
    if environment.file_digest and file_digest(file) not in ("", environment.file_digest):
        command = command_line(sweep.home, "run", str(file))
        print(
            f"note: {file} has changed since the sweep began, and the change is not used: a sweep goes on with what it "
            f"was started with; for a new sweep: {command}\n"
            f"      trials, budget, resources and tracking may be changed in {sweep.path / 'spec.yaml'}",
            flush=True,
        )
