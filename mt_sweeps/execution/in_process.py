"""The engine without Ray: trials run one after another in this process, where a debugger and tests can follow them."""

from collections.abc import Callable

from mt_sweeps.errors import Unfinished
from mt_sweeps.execution.attempt import Assignment, Attempt, GpuLost
from mt_sweeps.execution.coordinator import Coordinator


def _attended(assignment: Assignment) -> Attempt:
    return Attempt(assignment, is_attended=True)


def run(coordinator: Coordinator, make_attempt: Callable[[Assignment], Attempt] = _attended) -> None:
    """Run trials until the coordinator has no more, or says that everything is to stop.

    Args:
        coordinator: decides what runs.
        make_attempt: returns the attempt of an assignment.
    """
    with coordinator.capture_errors():
        while not _stops(coordinator) and (assignment := coordinator.next_assignment()) is not None:
            attempt = make_attempt(assignment)
            try:
                outcome = attempt.advance()
                while not outcome.done and outcome.report is not None and not _stops(coordinator):
                    if coordinator.reported(assignment, outcome.report):
                        break
                    outcome = attempt.advance()
            except GpuLost as error:
                coordinator.worker_lost(assignment, str(error))
                raise Unfinished(f"{error}; in a new process, `resume` goes on") from None
            finally:
                attempt.close()
            if coordinator.should_stop:
                return  # what was trained is recorded, and the trial still RUNNING in the ledger: it can be resumed
            coordinator.ended(assignment, outcome)


def _stops(coordinator: Coordinator) -> bool:
    coordinator.poll()
    return coordinator.should_stop
