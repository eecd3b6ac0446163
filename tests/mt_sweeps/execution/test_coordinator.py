"""What runs next, what is pruned, requeued and stopped: decided without any engine."""

import pytest

from mt_sweeps.errors import SweepError, Unfinished
from mt_sweeps.execution.attempt import DISK_FULL, STORAGE_LOST, Failure, Outcome
from mt_sweeps.execution.coordinator import Coordinator
from mt_sweeps.execution.resources import Share
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.study.ledger import LOSSES, Ledger
from tests.helpers.sweeps import Silent, Sweep, report
from tests.helpers.training import in_fresh_process


def coordinator_of(tmp_path, *overrides):
    sweep = Sweep(tmp_path, "finalists.baselines=[]", *overrides)
    return Coordinator(sweep.ledger, sweep.directory, Share(0.0, 1, 2), Silent()), sweep.ledger


def complete(coordinator, assignment, error=0.1):
    coordinator.ended(assignment, Outcome(report(300, error), None, done=True))


def fail(coordinator, assignment, reason="diverged"):
    coordinator.ended(assignment, Outcome(None, Failure(reason, f"{reason}: it is"), done=True))


@pytest.mark.system
def test_it_needs_neither_ray_nor_mlflow():
    script = "import sys, mt_sweeps.execution.in_process; print([m for m in ('ray', 'mlflow') if m in sys.modules])"
    assert in_fresh_process(script).strip() == "[]"


def test_an_assignment_has_all_that_a_worker_needs(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=2")
    assignment = coordinator.next_assignment()
    trial = ledger.trials("search")[0]
    assert trial.state == "running"
    assert assignment.trial == trial.id
    assert assignment.config == ledger.spec.config(trial.values)
    assert assignment.address.endswith("trials/0000/attempt-1")
    assert (assignment.previous, assignment.threads, assignment.gpus) == (None, 1, 0.0)


def test_when_all_is_done_there_is_no_assignment_and_nothing_was_left(tmp_path):
    coordinator, _ = coordinator_of(tmp_path, "trials=2")
    for _ in range(2):
        complete(coordinator, coordinator.next_assignment())
    assert coordinator.next_assignment() is None
    assert coordinator.is_idle
    assert coordinator.conclude() is None


def test_while_a_trial_runs_nothing_is_over(tmp_path):
    coordinator, _ = coordinator_of(tmp_path, "trials=1")
    coordinator.next_assignment()
    assert coordinator.next_assignment() is None
    assert not coordinator.is_idle


def test_a_trial_is_pruned_at_a_rung_and_its_last_report_ends_it(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=4")
    assignments = [coordinator.next_assignment() for _ in range(4)]
    ends = [
        coordinator.reported(a, report(90, error)) for a, error in zip(assignments, (0.1, 0.2, 0.3, 0.4), strict=True)
    ]
    assert ends == [False, False, True, True]
    for assignment in assignments[2:]:
        coordinator.ended(assignment, Outcome(report(90, 0.3), None, done=False))
    assert [trial.state for trial in ledger.trials("search")] == ["running", "running", "pruned", "pruned"]


def test_a_lost_worker_costs_an_attempt_and_too_many_of_them_the_trial(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=1")
    for attempt in range(1, LOSSES + 1):
        assignment = coordinator.next_assignment()
        assert assignment.address.endswith(f"attempt-{attempt}")
        coordinator.worker_lost(assignment, "its node died")
    assert coordinator.next_assignment() is None
    assert (ledger.trials("search")[0].state, ledger.trials("search")[0].reason) == ("failed", "lost_worker")


def test_a_report_that_comes_again_does_not_prune_a_trial_in_hindsight(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=4")
    first, *others = [coordinator.next_assignment() for _ in range(4)]
    assert not coordinator.reported(first, report(90, 0.4)), "the first at a rung goes on"
    assert not coordinator.reported(first, report(120, 0.4))
    for assignment, error in zip(others, (0.1, 0.2, 0.3), strict=True):
        coordinator.reported(assignment, report(90, error))
    assert not coordinator.reported(first, report(90, 0.4)), "now the last of four, and long past the rung"
    assert not coordinator.reported(first, report(120, 0.4))
    assert ledger.trials("search")[0].step == 120


def test_what_comes_late_of_a_worker_that_was_given_up_changes_nothing(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=1")
    first = coordinator.next_assignment()
    coordinator.worker_lost(first, "its node does not answer")
    second = coordinator.next_assignment()
    assert coordinator.reported(first, report(30, 0.9)), "that worker is to end"
    coordinator.ended(first, Outcome(report(300, 0.9), None, done=True))
    coordinator.worker_lost(first, "its node does not answer")
    trial = ledger.trials("search")[0]
    assert (trial.state, trial.attempt, trial.step, trial.lost_workers) == ("running", 2, 0, 1)
    complete(coordinator, second)
    complete(coordinator, second)
    assert [trial.state for trial in ledger.trials("search")] == ["complete"]


def test_the_records_of_an_attempt_that_was_given_up_end_where_the_next_one_begins(tmp_path):
    coordinator, _ = coordinator_of(tmp_path, "trials=1")
    first = coordinator.next_assignment()
    coordinator.worker_lost(first, "its node does not answer")
    coordinator.next_assignment()
    files = coordinator._sweep.trials
    files.begin(first.trial, 1, [report(30, 0.9)])  # by a worker that is not dead after all
    assert files.records(first.trial) == []


def test_what_a_dead_driver_left_unreported_is_replayed_and_may_prune(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=4")
    assignments = [coordinator.next_assignment() for _ in range(4)]
    for assignment, error in zip(assignments[:3], (0.1, 0.2, 0.15), strict=True):
        coordinator.reported(assignment, report(90, error))
    sweep = coordinator._sweep
    sweep.trials.begin(TrialId("search", 3), 1, [report(60, 0.6), report(90, 0.5)])  # recorded, and never reported
    for trial in ledger.trials("search"):
        ledger.requeue(trial)
    reopened = Ledger(sweep.ledger, ledger.spec)
    resumed = Coordinator(reopened, sweep, Share(0.0, 1, 4), Silent())
    numbers = [assignment.trial.number for assignment in iter(resumed.next_assignment, None)]
    assert 3 not in numbers
    assert reopened.trials("search")[3].state == "pruned"
    assert reopened.trials("search")[3].step == 90


def test_the_first_three_failing_alike_stop_the_sweep_and_name_the_configuration(tmp_path):
    coordinator, _ = coordinator_of(tmp_path, "trials=8")
    assignments = [coordinator.next_assignment() for _ in range(4)]
    for assignment in assignments[:3]:
        assert not coordinator.should_stop
        fail(coordinator, assignment)
    assert coordinator.should_stop
    assert coordinator.next_assignment() is None
    with pytest.raises(SweepError, match=r"first three trials all failed with diverged(.|\n)*trials/0000/attempt-1"):
        coordinator.conclude()


@pytest.mark.parametrize(("reason", "text"), [(DISK_FULL, "the disk is full"), (STORAGE_LOST, "the storage is away")])
def test_a_fault_of_the_machine_ends_the_sweep_and_leaves_the_trial_to_be_resumed(reason, text, tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=2")
    assignment = coordinator.next_assignment()
    with coordinator.capture_errors():
        fail(coordinator, assignment, reason)
    assert coordinator.should_stop
    assert ledger.trials("search")[0].state == "running"
    with pytest.raises(Unfinished, match=rf"{text}(.|\n)*resume with `"):
        coordinator.conclude()


def test_a_request_to_stop_is_seen_and_concludes_as_an_interrupt(tmp_path):
    coordinator, _ = coordinator_of(tmp_path, "trials=2")
    coordinator.next_assignment()
    coordinator._sweep.request_stop()
    assert not coordinator.should_stop
    coordinator.poll()
    assert coordinator.should_stop
    with pytest.raises(KeyboardInterrupt):
        coordinator.conclude()


def test_a_spent_budget_starts_no_more_trials_and_says_why(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=8", "budget.patience=1")
    complete(coordinator, coordinator.next_assignment(), 0.1)
    complete(coordinator, coordinator.next_assignment(), 0.2)
    assert coordinator.next_assignment() is None
    assert "has not improved" in coordinator.conclude()
    assert len(ledger.trials("search")) == 2


def test_finalists_are_planned_when_the_search_has_ended(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=2", "finalists.top=1", "finalists.seeds=2")
    first, second = coordinator.next_assignment(), coordinator.next_assignment()
    complete(coordinator, first, 0.3)
    assert coordinator.next_assignment() is None, "the second may yet be the best"
    complete(coordinator, second, 0.2)
    finalists = list(iter(coordinator.next_assignment, None))
    assert [assignment.trial for assignment in finalists] == [TrialId("finalists", 0), TrialId("finalists", 1)]
    assert {trial.replicates for trial in ledger.trials("finalists")} == {TrialId("search", 1)}
    assert len({assignment.config.seed for assignment in finalists}) == 2
