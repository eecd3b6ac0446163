from types import SimpleNamespace

import pytest
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from mt_sweeps.errors import Unfinished
from mt_sweeps.execution import driver, ray_watch
from mt_sweeps.execution.attempt import DISK_FULL, Failure, Outcome
from mt_sweeps.execution.coordinator import Coordinator
from mt_sweeps.execution.resources import Share
from mt_sweeps.execution.worker import TrialWorker
from tests.helpers.sweeps import Silent, Sweep, report


@pytest.fixture
def tune(tmp_path, monkeypatch):
    """Tune's side of a sweep of four trials."""
    monkeypatch.setattr(ray_watch, "dead_process", lambda: None)
    sweep = Sweep(tmp_path, "trials=4", "finalists.baselines=[]")
    return driver._Driver(Coordinator(sweep.ledger, sweep.directory, Share(0.0, 1, 2), Silent()))


def done(outcome):
    return {"outcome": outcome, "done": True}


COMPLETE = done(Outcome(report(300, 0.1), None, done=True))


def test_a_full_experiment_starts_no_more_trials_and_the_next_one_goes_on(tune, monkeypatch):
    monkeypatch.setattr(driver, "TRIALS_AT_MOST", 3)
    for tune_id in "abc":
        assert isinstance(tune.suggest(tune_id), dict)
    assert tune.suggest("d") == Searcher.FINISHED
    tune.worker_lost("a", "its worker was lost")
    for tune_id in "bc":
        tune.ended(tune_id, COMPLETE)
    tune.started = 0
    assert [isinstance(tune.suggest(tune_id), dict) for tune_id in "ef"] == [True, True], "the lost one, and the last"
    for tune_id in "ef":
        tune.ended(tune_id, COMPLETE)
    assert tune.suggest("g") == Searcher.FINISHED, "nothing is left"


def test_workers_get_no_environment_of_their_own_so_that_none_holds_a_secret_and_those_that_wait_are_used(monkeypatch):
    from ray.tune.execution import class_cache

    made = []
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET")
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    monkeypatch.setattr(class_cache.ray, "remote", lambda **options: made.append(options) or (lambda worker: worker))
    class_cache._ActorClassCache().get(TrialWorker)
    assert made == [{"runtime_env": {"env_vars": {}}}]


def test_tune_waits_while_a_trial_runs_that_may_yet_be_lost(tune):
    for tune_id in "abcd":
        tune.suggest(tune_id)
    assert tune.suggest("e") is None


def test_an_error_ends_the_experiment_and_is_raised_where_it_belongs(tune):
    tune.suggest("a")
    tune.ended("a", done(Outcome(None, Failure(DISK_FULL, "No space left on device"), done=True)))
    assert tune.should_stop()
    assert tune.suggest("b") == Searcher.FINISHED
    with pytest.raises(Unfinished, match="the disk is full"):
        tune._coordinator.conclude()


def test_a_worker_that_dies_with_ray_itself_does_not_count_against_its_trial(tune, monkeypatch):
    tune.suggest("a")
    monkeypatch.setattr(ray_watch, "dead_process", lambda: "raylet")
    tune.worker_lost("a", "its worker was lost")
    assert tune._coordinator._ledger.trials("search")[0].state == "running"


def test_tunes_hooks_hand_everything_on(tune):
    scheduler, searcher, stopper = (
        hook(tune) for hook in (driver._LedgerScheduler, driver._LedgerSearcher, driver._SweepStopper)
    )
    assert isinstance(searcher.suggest("a"), dict)
    first = {"outcome": Outcome(report(30, 0.5), None, done=False)}
    assert scheduler.on_trial_result(None, SimpleNamespace(trial_id="a"), first) == FIFOScheduler.CONTINUE
    scheduler.on_trial_complete(None, SimpleNamespace(trial_id="a"), COMPLETE)
    assert isinstance(searcher.suggest("b"), dict)
    scheduler.on_trial_error(None, SimpleNamespace(trial_id="b", error_file=None))
    assert not stopper.stop_all()
    trials = tune._coordinator._ledger.trials("search")
    assert [(trial.state, trial.lost_workers) for trial in trials] == [("complete", 0), ("waiting", 1)]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            "Failure # 1\nray::TrialWorker.train()\n  File ...\nmt_sweeps.execution.attempt.GpuLost: CUDA fails\n",
            "CUDA fails",
        ),
        ("a worker was killed due to the node running low on memory. See", "the node ran low on memory"),
        ("The actor died.\nWorker exit type: SYSTEM_ERROR ... (3) ...", "its process died"),
        (None, "its process died"),
    ],
)
def test_why_a_worker_was_lost_is_said_if_ray_knows(tmp_path, error, why):
    file = tmp_path / "error.txt"
    if error is not None:
        file.write_text(error)
    assert driver._why_lost(SimpleNamespace(error_file=str(file))).endswith(why)
