"""Carry out what people ask of a sweep: requests become rows of the ledger, by the process that writes it."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from mt_sweeps.spec.arms import TrialId
from mt_sweeps.spec.points import params_of_point
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.storage.requests import Request
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial


@dataclass(frozen=True)
class Changes:
    """What came of requests.

    Attributes:
        added: trials of new points, which wait.
        ended: trials that waited, and are ended by hand now.
        to_end: trials that run: each is to end at its next report. Their requests stay until then.
    """

    added: list[Trial] = field(default_factory=list)
    ended: list[Trial] = field(default_factory=list)
    to_end: set[TrialId] = field(default_factory=set)


def take_requests(
    sweep: SweepStore, ledger: Ledger, running: AbstractSet[TrialId], is_search_over: Callable[[], bool]
) -> Changes:
    """Write what is asked of a sweep to its ledger, and remove the requests that are done or cannot be.

    Args:
        sweep: of which the lock is held.
        ledger: of it.
        running: the trials that workers have.
        is_search_over: returns True if the search is to start no more trials.

    Raises:
        Unfinished: another process has taken the sweep over.
    """
    changes, requests = Changes(), sweep.requests()
    if requests:  # of trials that another driver has begun, this one would know nothing
        ledger.check_driver()
    for request in requests:
        if request.action == "add":
            known = {trial.request for trial in ledger.trials("search")}
            is_open = ledger.open_trials() > 0 and not is_search_over() and _is_new(ledger, request)
            if request.id in known or is_open:
                changes.added.append(ledger.add_point(request.id, request.values))
        elif (trial := _unfinished(ledger, request)) is not None:
            if trial.id in running:
                changes.to_end.add(trial.id)
                continue
            changes.ended.append(_end(sweep, ledger, trial))
        sweep.remove_request(request)
    return changes


def _end(sweep: SweepStore, ledger: Ledger, trial: Trial) -> Trial:
    """End a trial that waits.

    A worker that was given up may still record. So the trial ends in an attempt of its own, whose records are those
    that are known now.
    """
    known = sweep.trials.records(trial.id)
    if trial.attempt and trial.state == "waiting":
        trial = ledger.restart(trial)
        sweep.trials.begin(trial.id, trial.attempt, known)
    ended = ledger.end_by_hand(trial, known)
    sweep.trials.drop_checkpoints(trial.id)
    return ended


def _is_new(ledger: Ledger, request: Request) -> bool:
    """Return True if no trial has the values of a request: two commands may ask for the same point at once."""
    try:
        return ledger.trial_at(params_of_point(ledger.spec, request.values)) is None
    except ValueError:  # it becomes a failed trial, which says why
        return True


def _unfinished(ledger: Ledger, request: Request) -> Trial | None:
    """Return the trial that a request would end, or None if it has ended already or is none."""
    trials = ledger.trials(request.arm) if request.arm in ledger.spec.arms() else []
    trial = trials[request.number] if request.number < len(trials) else None
    return None if trial is None or trial.finished else trial
