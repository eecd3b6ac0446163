"""`add` and `end`: how a person steers a sweep, whether a process drives it or not."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mt_sweeps.commands.ending import ending
from mt_sweeps.errors import InputError
from mt_sweeps.formatting import values_text
from mt_sweeps.results.status import search_stop_reason
from mt_sweeps.results.trials import trial_named
from mt_sweeps.search_space.space import Values
from mt_sweeps.spec.points import expand_point, params_of_point, parse_point
from mt_sweeps.storage.home import Home, SweepStore
from mt_sweeps.storage.requests import Request, new_id
from mt_sweeps.study.ledger_view import LedgerView, ledger_of
from mt_sweeps.study.trial import Trial, common_failure

if TYPE_CHECKING:
    from mt_sweeps.study.ledger import Ledger

ANSWER_SECONDS = 30  # that the driver is waited for; it does what was asked for also later


def add(home: Home, name: str, assignments: Sequence[str]) -> str:
    """Give a point to a sweep. It takes the place of a trial whose values the sampler would have chosen.

    Args:
        home: of the sweep.
        name: of the sweep.
        assignments: `key=value` each, of searched keys; the sampler chooses the others.

    Returns:
        What came of it, in words.

    Raises:
        InputError: there is no such sweep, its search has ended, or the point is not in its space or there already.
    """
    sweep = home.sweep(name)
    request = point_request(sweep, ledger_of(sweep), parse_point(assignments))
    trial = _done(sweep, request, lambda ledger: _added(ledger, request))
    if trial is None and any(left.id == request.id for left in sweep.requests()):
        return f"{name}: the point waits for the driver, which takes it as its next trial"
    if trial is None:  # what was so when it was asked for is so no longer
        reason = _why_not(sweep, ledger_of(sweep), request.values) or "its search ended; search on in a new sweep"
        raise InputError(f"{name}: the point was not taken up: {reason}")
    text = f"{name}: trial {trial.number} tries {values_text(trial.values)}"
    return f"{text}; it comes next" if sweep.is_driven else f"{text}; go on with: {sweep.resume_command}"


def point_request(sweep: SweepStore, ledger: LedgerView, point: Values) -> Request:
    """Return the request for a point, which is not left with the sweep yet.

    Args:
        sweep: that is to try it.
        ledger: of it.
        point: values of searched keys, as typed.

    Raises:
        InputError: the search has ended, or the point is not in its space or there already.
    """
    name, spec = sweep.name, ledger.spec
    if spec.sampler.name == "grid":
        raise InputError(f"{name}: a grid is enumerated, and takes no points; `{sweep.command('copy')}` and change it")
    try:
        values = expand_point(spec, point)
        params_of_point(spec, point)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
    if (reason := _why_not(sweep, ledger, values)) is not None:
        raise InputError(f"{name}: {reason}")
    return Request(new_id(), "add", values)


def end(home: Home, name: str, trial: str) -> str:
    """End a running or waiting trial of a sweep. It is pruned, and the sampler learns from what it measured.

    Args:
        home: of the sweep.
        name: of the sweep.
        trial: as `trials` names it.

    Returns:
        What came of it, in words.

    Raises:
        InputError: there is no such sweep or trial, it has ended, or it is a finalist.
    """
    sweep = home.sweep(name)
    wanted = trial_named(sweep, ledger_of(sweep), trial)
    request = end_request(sweep, wanted)
    ended = _done(sweep, request, lambda ledger: _finished(ledger, wanted))
    if ended is None:
        return f"{name}: {wanted.id.label} ends at its next evaluation"
    if not ended.is_ended_by_hand:
        raise InputError(f"{name}: {ended.id.label} is {ended.state}: it ended before it was ended by hand")
    return f"{name}: {ended.id.label} is {ended.message}"


def end_request(sweep: SweepStore, wanted: Trial) -> Request:
    """Return the request to end a trial, which is not left with the sweep yet.

    Args:
        sweep: of the trial.
        wanted: the trial.

    Raises:
        InputError: it has ended, or it is a finalist.
    """
    name = sweep.name
    if wanted.finished:
        raise InputError(f"{name}: {wanted.id.label} is {wanted.state}; only a trial that runs or waits can be ended")
    if wanted.arm == "finalists":
        raise InputError(
            f"{name}: {wanted.id.label} is one of those that the verdict compares, which needs all of them; end the "
            f"whole sweep with `{sweep.command('stop')}`"
        )
    return Request(new_id(), "end", arm=wanted.arm, number=wanted.number)


def _done(sweep: SweepStore, request: Request, result: Callable[[LedgerView], Trial | None]) -> Trial | None:
    """Leave a request, and return the trial that it is about once the ledger shows that it is done.

    Where no process drives the sweep, this one does what is asked for.

    Args:
        sweep: of which something is asked.
        request: what.
        result: returns the trial from a ledger in which it is done.

    Returns:
        The trial, or None if it was not done: the driver is busy, or it cannot be.
    """
    sweep.add_request(request)
    until = time.monotonic() + ANSWER_SECONDS
    while True:
        # Looked at in this order: a driver that ends after the first leaves what it did for the second.
        is_driven, is_left = sweep.is_driven, any(left.id == request.id for left in sweep.requests())
        if is_left and not is_driven:
            _take_up(sweep)
            continue
        trial = result(ledger_of(sweep))
        if trial is not None:
            sweep.remove_request(request)
        if trial is not None or not is_left or time.monotonic() > until:
            return trial
        time.sleep(0.2)


def _take_up(sweep: SweepStore) -> None:
    """Do what is asked of a sweep that no process drives; nothing if one has begun to."""
    from mt_sweeps.study.ledger import Ledger  # brings Optuna

    try:
        with sweep.exclusive(sweep.already_driven):
            ledger = Ledger(sweep.ledger, sweep.load_spec())
            take_up(sweep, ledger)
            ledger.close()
    except InputError:
        if not sweep.is_driven:
            raise
    except Exception as error:
        how_to_go_on = f"what was asked for waits, and is done first by `{sweep.resume_command}`"
        raise ending(error, how_to_go_on)[1] from None


def take_up(sweep: SweepStore, ledger: "Ledger") -> None:
    """Do what is asked of a sweep whose lock is held, and that no trial runs of.

    Args:
        sweep: the sweep.
        ledger: of it.
    """
    from mt_sweeps.study.requests import take_requests  # brings Optuna

    ledger.take_over()  # what a dead driver left running waits
    take_requests(sweep, ledger, set(), lambda: search_stop_reason(sweep, ledger) is not None)


def _why_search_has_ended(sweep: SweepStore, ledger: LedgerView) -> str | None:
    searched = ledger.trials("search")
    if not sweep.is_driven and common_failure(searched) is not None:
        return "its search has ended: the first three trials failed alike"
    if len(searched) >= ledger.total("search"):
        return f"its search has ended: all {len(searched)} trials have started"
    if ledger.open_trials() <= 0:
        return "the trials that are left are for the points of its file"
    reason = search_stop_reason(sweep, ledger)
    return reason and f"its search has ended: {reason}"


def _why_not(sweep: SweepStore, ledger: LedgerView, values: Values) -> str | None:
    """Return why a sweep does not take a point in its space, and what to do; None: it does."""
    if (ended := _why_search_has_ended(sweep, ledger)) is not None:
        return f"{ended}; {_ways_to_search_on(sweep, ledger)}"
    where = _where_it_is(sweep, ledger, params_of_point(ledger.spec, values))
    return where and f"{where} has these values; give other ones"


def _ways_to_search_on(sweep: SweepStore, ledger: LedgerView) -> str:
    """Return how a point can be tried after all: with more trials, or in a new sweep."""
    copy = sweep.command("copy", sweep.name, "-o", f"{sweep.name}-again.yaml")
    anew = f"`{copy}`, write the point under points, and run that file"
    if ledger.open_trials() > 0 or common_failure(ledger.trials("search")) is not None:  # more trials would not help
        return f"to try the point, start a new sweep: {anew}"
    when = "when it has ended, " if sweep.is_driven else ""
    more = sweep.command("resume", sweep.name, "--trials", "+8")
    return (
        f"to try the point, {when}search with more trials: `{more}`, and add the point while some of them have not "
        f"started; or start a new sweep: {anew}"
    )


def _where_it_is(sweep: SweepStore, ledger: LedgerView, params: Values) -> str | None:
    """Return which trial or point has these parameters already, or None. A trial may be tried again if it failed."""
    spec = ledger.spec
    if (trial := ledger.trial_at(params)) is not None:
        return trial.id.label
    for point in ledger.points_left("search"):
        if params_of_point(spec, point) == params:
            return "a given point that is still to come"
    waiting = (request.values for request in sweep.requests() if request.action == "add")
    return "a point that was added before" if any(params_of_point(spec, one) == params for one in waiting) else None


def _added(ledger: LedgerView, request: Request) -> Trial | None:
    return next((trial for trial in ledger.trials("search") if trial.request == request.id), None)


def _finished(ledger: LedgerView, trial: Trial) -> Trial | None:
    now = ledger.trials(trial.arm)[trial.number]
    return now if now.finished else None
