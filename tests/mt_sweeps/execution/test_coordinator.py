"""What runs next, what is pruned, requeued and stopped: decided without any engine."""

from pathlib import Path

import pytest

from mt_sweeps.errors import SweepError, Unfinished
from mt_sweeps.execution.attempt import DISK_FULL, STORAGE_LOST, Failure, Outcome
from mt_sweeps.execution.coordinator import Coordinator
from mt_sweeps.execution.resources import Share
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.storage.requests import Request, new_id
from mt_sweeps.storage.trial_files import PICTURES
from mt_sweeps.study.ledger import LOSSES, Ledger
from mt_sweeps.study.sampler import ArmSampler
from tests.helpers.sweeps import Silent, Sweep, reopened, report
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


def test_pictures_are_kept_of_trials_that_were_the_best_when_they_completed(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=4", "pruner.name=none")
    files = coordinator._sweep.trials
    for error in (0.3, 0.4, 0.2, 0.2):
        assignment = coordinator.next_assignment()
        folder = Path(assignment.address)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PICTURES).write_text(f"of an error of {error}")
        complete(coordinator, assignment, error)
    kept = [files.pictures(trial.id) for trial in ledger.trials("search")]
    assert kept == [b"of an error of 0.3", None, b"of an error of 0.2", None]


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


def test_a_lost_worker_costs_an_attempt_and_too_many_of_them_the_trial(tmp_path, monkeypatch):
    coordinator, ledger = coordinator_of(tmp_path, "trials=1")
    heard = []
    monkeypatch.setattr(coordinator._listener, "ended", heard.append)
    for attempt in range(1, LOSSES + 1):
        assignment = coordinator.next_assignment()
        assert assignment.address.endswith(f"attempt-{attempt}")
        coordinator.worker_lost(assignment, "its node died")
    assert coordinator.next_assignment() is None
    assert (ledger.trials("search")[0].state, ledger.trials("search")[0].reason) == ("failed", "lost_worker")
    assert [trial.message for trial in heard[:-1]] == ["its node died"] * (LOSSES - 1)


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


def resumed_after(tmp_path, *recorded):
    """The ledger, and the trials that run, after the driver died before it heard of what trial 3 had recorded."""
    coordinator, ledger = coordinator_of(tmp_path, "trials=4")
    assignments = [coordinator.next_assignment() for _ in range(4)]
    for assignment, error in zip(assignments[:3], (0.1, 0.2, 0.15), strict=True):
        coordinator.reported(assignment, report(90, error))
    sweep = coordinator._sweep
    sweep.trials.begin(TrialId("search", 3), 1, [*recorded])
    for trial in ledger.trials("search"):
        ledger.requeue(trial)
    reopened = Ledger(sweep.ledger, ledger.spec)
    resumed = Coordinator(reopened, sweep, Share(0.0, 1, 4), Silent())
    return reopened, [assignment.trial.number for assignment in iter(resumed.next_assignment, None)]


def test_what_a_dead_driver_left_unreported_is_replayed_and_may_prune(tmp_path):
    ledger, running = resumed_after(tmp_path, report(60, 0.6), report(90, 0.5))
    assert running == [0, 1, 2]
    assert ledger.trials("search")[3].state == "pruned"
    assert ledger.trials("search")[3].step == 90


def test_a_trial_that_had_trained_to_its_end_is_not_pruned_by_a_replay(tmp_path):
    ledger, running = resumed_after(tmp_path, report(60, 0.6), report(300, 0.5))
    assert running == [0, 1, 2, 3], "it reached the rung with its last report, and only has to be completed"
    assert ledger.trials("search")[3].step == 300


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


class Messages(Silent):
    """A listener that keeps the news of the sweep as a whole."""

    def __init__(self):
        self.texts = []

    def message(self, text):
        self.texts.append(text)


@pytest.mark.parametrize("trials", [2, 1])
def test_that_the_budget_is_spent_is_news_at_that_moment_if_trials_are_left(tmp_path, monkeypatch, trials):
    coordinator, _ = coordinator_of(tmp_path, f"trials={trials}", "budget.hours=1")
    coordinator._listener = listener = Messages()
    coordinator.next_assignment()
    polled(coordinator)
    assert listener.texts == []
    monkeypatch.setattr(coordinator, "_spent", lambda: (3600.0, 0.0))
    polled(coordinator)
    polled(coordinator)
    news = "the budget is spent: running trials are finished, no more are started"
    assert listener.texts == [news] * (trials - 1)


def test_a_search_that_ends_before_its_last_trial_says_why_and_how_many_hours_it_lacks(tmp_path, monkeypatch):
    settings = ("trials=3", "budget.hours=1", "finalists.top=1", "finalists.seeds=2")
    coordinator, ledger = coordinator_of(tmp_path, *settings)
    coordinator._listener = listener = Messages()
    complete(coordinator, coordinator.next_assignment())
    ledger.seconds_done = 300.0
    monkeypatch.setattr(coordinator, "_spent", lambda: (3500.0, 0.0))
    for _ in range(2):
        assert coordinator.next_assignment().trial.arm == "finalists"
    ended = [text for text in listener.texts if text.startswith("the search ends")]
    assert len(ended) == 1
    assert "what is left of the budget is for the finalists; trials that do not start: 2 search; " in ended[0]
    assert "mt-sweep resume digits --hours +0.14" in ended[0]


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


def test_finalists_run_ahead_on_free_slots_and_start_no_more_when_it_is_decided(tmp_path):
    settings = ("trials=2", "points=[]", "finalists.top=2", "finalists.seeds=8")
    coordinator, ledger = coordinator_of(tmp_path, *settings)
    heard = []
    coordinator._listener.message = heard.append
    for error in (0.1, 0.3):
        complete(coordinator, coordinator.next_assignment(), error)
    running = [coordinator.next_assignment() for _ in range(3)]  # three slots, two contenders
    while running:
        first = running.pop(0)
        number = ledger.trials("finalists")[first.trial.number].replicates.number
        seed = ledger.trials("finalists")[first.trial.number].values["seed"]
        complete(coordinator, first, (0.3 if number else 0.1) + seed % 3 / 1000)
        if (more := coordinator.next_assignment()) is not None:
            running.append(more)
    trained = len(ledger.trials("finalists"))
    assert 2 * 3 <= trained <= 2 * 4 + 2, "two may have run ahead"
    assert ledger.remaining("finalists") == 0
    assert coordinator.conclude() is None
    assert heard[0] == "the best and the baselines are trained again: 16 trials at most"
    (decided,) = heard[1:]
    assert decided.startswith("trial 0 beats trial 1 by ")
    assert decided.endswith(" of at most 8 seeds")


WIDE_RESNET = ("trainer.model={name: wide_resnet, width: 1}", "points=[]", "finalists.top=0")
DEPTHS = "search_space={model.depth: {type: int, low: 10, high: 28}}"


def accepted_by_an_earlier_version(tmp_path, *overrides):
    """A sweep over depths of which most make no network, as if the file had not been tried."""
    sweep = Sweep(tmp_path, *WIDE_RESNET, DEPTHS.replace("28}", "28, step: 6}"), "finalists.baselines=[]", *overrides)
    depth = sweep.spec.search_space["model.depth"][0].model_copy(update={"step": 1})
    spec = sweep.spec.model_copy(update={"search_space": {"model.depth": [depth]}})
    return Ledger.create(tmp_path / "ledger.db", spec, {}), sweep


def test_a_configuration_that_is_refused_after_all_is_that_trials_failure_and_the_sweep_goes_on(tmp_path):
    ledger, sweep = accepted_by_an_earlier_version(tmp_path, "trials=12", "sampler={name: random}")
    coordinator = Coordinator(ledger, sweep.directory, Share(0.0, 1, 1), Silent())
    while (assignment := coordinator.next_assignment()) is not None:
        complete(coordinator, assignment)
    assert coordinator.conclude() is None
    trials = ledger.trials("search")
    assert len(trials) == 12
    for trial in trials:
        is_legal = trial.values["model.depth"] in (10, 16, 22, 28)
        assert (trial.state, trial.reason) == (("complete", "") if is_legal else ("failed", "refused"))
    assert {trial.state for trial in trials} == {"complete", "failed"}
    refused = next(trial for trial in trials if trial.state == "failed")
    assert f"search_space.model.depth: {refused.values['model.depth']} layers make no whole blocks" in refused.message


def test_a_sweep_that_died_at_a_refused_configuration_goes_on(tmp_path):
    ledger, sweep = accepted_by_an_earlier_version(tmp_path, "trials=6", "sampler={name: random}")
    while ledger.ask_search().values["model.depth"] in (10, 16, 22, 28):
        pass
    for trial in ledger.trials("search"):
        ledger.requeue(trial)
    coordinator = Coordinator(reopened(ledger, tmp_path), sweep.directory, Share(0.0, 1, 1), Silent())
    while (assignment := coordinator.next_assignment()) is not None:
        complete(coordinator, assignment)
    assert coordinator.conclude() is None


def test_whatever_raises_while_a_trial_is_prepared_is_that_trials_failure(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=3")
    files = coordinator._sweep.trials
    first = coordinator.next_assignment()
    files.begin(first.trial, 1, [report(30, 0.1)])
    records = next(Path(files.location).glob("**/records.jsonl"))
    records.write_text("[1, 2]\n")  # no record
    coordinator.worker_lost(first, "its node died")
    second = coordinator.next_assignment()
    assert second.trial == TrialId("search", 1)
    assert (ledger.trials("search")[0].state, ledger.trials("search")[0].reason) == ("failed", "refused")


def test_a_suggestion_that_raises_is_a_failed_trial_and_the_next_one_is_asked_for(tmp_path, monkeypatch):
    suggest = ArmSampler.suggest

    def raises_for_the_first(self, number, fixed):
        if number == 0:
            raise ValueError("no such distribution")
        return suggest(self, number, fixed)

    monkeypatch.setattr(ArmSampler, "suggest", raises_for_the_first)
    coordinator, ledger = coordinator_of(tmp_path, "trials=2")
    assert coordinator.next_assignment().trial == TrialId("search", 1)
    failed = ledger.trials("search")[0]
    assert (failed.state, failed.reason) == ("failed", "refused")
    assert failed.message == "its values cannot be chosen: ValueError: no such distribution"
    again = reopened(ledger, Path(coordinator._sweep.ledger).parent)
    assert [trial.state for trial in again.trials("search")] == ["failed", "running"]


def asked(coordinator, action, **what):
    """A request as `add` and `end` leave it, and a poll of the driver."""
    request = Request(new_id(), action, **what)
    coordinator._sweep.add_request(request)
    polled(coordinator)
    return request


def polled(coordinator):
    coordinator._polled = -1.0
    coordinator.poll()


def test_a_point_that_is_added_is_the_next_assignment_and_the_count_stays(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=3", "points=[]")
    first = coordinator.next_assignment()
    asked(coordinator, "add", values={"ema.decay": 0.97})
    assert coordinator._sweep.requests() == []
    second = coordinator.next_assignment()
    assert (second.trial, second.config.ema.decay) == (TrialId("search", 1), 0.97)
    assert second.address.endswith("0001/attempt-1")
    for assignment in (first, second, coordinator.next_assignment()):
        complete(coordinator, assignment)
    assert coordinator.next_assignment() is None
    assert [trial.origin == "point" for trial in ledger.trials("search")][1:] == [True, False]


def test_a_driver_that_died_before_it_removed_a_request_is_followed_by_one_that_adds_nothing_twice(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=4")
    request = asked(coordinator, "add", values={"ema.decay": 0.97})
    coordinator._sweep.add_request(request)
    again = reopened(ledger, Path(coordinator._sweep.ledger).parent)
    again.take_over()
    polled(Coordinator(again, coordinator._sweep, Share(0.0, 1, 2), Silent()))
    assert [trial.request for trial in again.trials("search")] == [request.id]
    assert coordinator._sweep.requests() == []


@pytest.mark.parametrize("budget", ["budget.patience=1", "trials=2"])
def test_a_point_that_comes_after_the_end_of_the_search_is_dropped(budget, tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=8", budget)
    for error in (0.1, 0.2):
        complete(coordinator, coordinator.next_assignment(), error)
    asked(coordinator, "add", values={"ema.decay": 0.97})
    assert coordinator._sweep.requests() == []
    assert len(ledger.trials("search")) == 2


def test_a_running_trial_ends_by_hand_at_its_next_report(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=2")
    first, second = coordinator.next_assignment(), coordinator.next_assignment()
    assert not coordinator.reported(first, report(30, 0.1))
    asked(coordinator, "end", number=0)
    assert ledger.trials("search")[0].state == "running"
    assert len(coordinator._sweep.requests()) == 1, "until it has ended"
    assert not coordinator.reported(second, report(30, 0.1))
    assert coordinator.reported(first, report(60, 0.1))
    assert coordinator.reported(first, report(60, 0.1)), "told again, the same answer"
    coordinator.ended(first, Outcome(report(60, 0.1), None, done=False))
    trial = ledger.trials("search")[0]
    assert (trial.state, trial.reason, trial.step) == ("pruned", "ended_by_hand", 60)
    polled(coordinator)
    assert coordinator._sweep.requests() == []
    complete(coordinator, second)
    assert coordinator.conclude() is None


def test_a_trial_that_waits_ends_by_hand_at_once_with_what_its_lost_worker_recorded(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=1")
    assignment = coordinator.next_assignment()
    asked(coordinator, "end", number=0)
    coordinator._sweep.trials.begin(assignment.trial, 1, [report(30, 0.4)])  # recorded, and lost before it was reported
    coordinator.worker_lost(assignment, "its node died")
    polled(coordinator)
    trial = ledger.trials("search")[0]
    assert (trial.state, trial.reason, trial.last.step) == ("pruned", "ended_by_hand", 30)
    assert coordinator.next_assignment() is None
    assert coordinator._sweep.requests() == []


def test_a_trial_that_trained_to_its_end_meanwhile_is_complete_and_the_request_is_dropped(tmp_path):
    coordinator, ledger = coordinator_of(tmp_path, "trials=1")
    assignment = coordinator.next_assignment()
    asked(coordinator, "end", number=0)
    complete(coordinator, assignment)
    polled(coordinator)
    assert ledger.trials("search")[0].state == "complete"
    assert coordinator._sweep.requests() == []


def test_what_is_no_request_and_what_names_no_trial_stop_nothing(tmp_path):
    coordinator, _ = coordinator_of(tmp_path, "trials=1")
    asked(coordinator, "end", number=7)
    asked(coordinator, "end", arm="finalists")
    folder = coordinator._sweep.path / "requests"
    (folder / "1.json").write_text("{")
    (folder / "2.json").mkdir()
    polled(coordinator)
    assert coordinator._sweep.requests() == []
    assert coordinator.next_assignment() is not None
