import json
import shutil
from pathlib import Path

import pytest

from mt_sweeps.spec.arms import TrialId
from mt_sweeps.tracking.sweep_run import SweepRun, send_report
from tests.helpers.sweeps import Sweep
from trainers.files import BEST_MODEL

pytestmark = pytest.mark.system  # whole runs, in MLflow's own store


@pytest.fixture
def new_sweep(home, request):
    """A sweep without trials, in a home whose embedded MLflow has no runs; a parameter overrides its settings."""
    return Sweep(home.path, *getattr(request, "param", ()))


def run_of(sweep):
    return SweepRun(sweep.home, sweep.directory, sweep.ledger)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, empty_mlflow):
    """Two complete, one pruned, one failed, one running trial; synced by three drivers, as after restarts."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    sweep = Sweep(folder)
    ledger = sweep.ledger
    first = ledger.ask_search()
    last = sweep.train(first, 0.5, 0.25)
    run_of(sweep).sync()
    ledger.complete(first, last)
    running = ledger.ask_search()
    assert running.arm == "supervised"
    published = ledger.ask_search()
    ledger.complete(published, sweep.train(published, 0.4))
    second = ledger.ask_search()
    ledger.prune(second, sweep.train(second, 0.7))
    third = ledger.ask_search()
    ledger.fail(third, "diverged", "Diverged: nan", None)
    run = run_of(sweep)
    run.sync()
    sweep.train(running, 0.6)
    run.sync()
    run_of(sweep).finish("FINISHED", "best: trial 0")
    return sweep


def test_there_is_one_parent_run_and_one_child_per_trial_however_often_they_are_synced(sweep):
    _, runs, count = sweep.runs()
    assert sorted(runs) == ["digits", "published-0000", "supervised-0000", "trial-0000", "trial-0001", "trial-0002"]
    assert count == 6
    parent = runs["digits"].info.run_id
    assert all(run.data.tags["mlflow.parentRunId"] == parent for name, run in runs.items() if name != "digits")


def test_states_are_those_of_the_ledger(sweep):
    _, runs, _ = sweep.runs()
    status = {name: run.info.status for name, run in runs.items()}
    assert status == {
        "digits": "FINISHED",
        "trial-0000": "FINISHED",
        "trial-0001": "KILLED",
        "trial-0002": "FAILED",
        "published-0000": "FINISHED",
        "supervised-0000": "RUNNING",
    }
    assert runs["trial-0002"].data.tags["mt.reason"] == "diverged"


def test_every_metric_is_there_once_at_its_step_and_with_the_time_of_its_record(sweep):
    client, runs, _ = sweep.runs()
    history = client.get_metric_history(runs["trial-0000"].info.run_id, "validation.teacher_error")
    assert [(point.step, point.value, point.timestamp) for point in history] == [
        (30, 0.5, 1_700_000_030_000),
        (60, 0.25, 1_700_000_060_000),
    ]


def test_parameters_are_flat_under_the_keys_of_the_space_and_the_parent_has_the_winners(sweep):
    _, runs, _ = sweep.runs()
    wanted = {key: str(value) for key, value in sweep.spec.points[0].items()}
    assert runs["trial-0000"].data.params == wanted
    assert runs["digits"].data.params == wanted
    assert runs["digits"].data.metrics["validation.teacher_error"] == 0.25
    assert "best: trial 0" in runs["digits"].data.tags["mlflow.note.content"]


def test_the_published_baseline_is_a_run_with_all_its_settings_as_parameters(sweep):
    _, runs, _ = sweep.runs()
    run = runs["published-0000"]
    assert run.data.tags["mt.arm"] == "published"
    wanted = {"ema.decay": "0.999", "consistency.loss": "mse", "augmentation.translate": "1", "batch_size": "100"}
    assert run.data.params.items() >= wanted.items()


def stored(sweep, name):
    client, runs, _ = sweep.runs()
    return [file.path for file in client.list_artifacts(runs[name].info.run_id, "teacher")]


def test_the_teacher_of_a_completed_trial_is_kept_once_and_others_nowhere(sweep):
    assert stored(sweep, "trial-0000") == [f"teacher/{BEST_MODEL}"]
    assert stored(sweep, "trial-0001") == [], "it was pruned"
    for number in (0, 1):
        assert not sweep.directory.trials.has_model(TrialId("search", number))


def test_every_run_has_the_whole_configuration_of_its_trial(sweep):
    client, runs, _ = sweep.runs()
    for name, arm, number in (("trial-0001", "search", 1), ("supervised-0000", "supervised", 0)):
        file = client.download_artifacts(runs[name].info.run_id, "config.json")
        config = sweep.spec.config(sweep.ledger.trials(arm)[number].values, arm)
        assert json.loads(Path(file).read_text()) == json.loads(config.model_dump_json())


def test_tags_tell_state_seed_attempt_and_the_rungs_passed(sweep):
    _, runs, _ = sweep.runs()
    wanted = {"mt.state": "complete", "mt.seed": "0", "mt.attempt": "1", "mt.arm": "search", "mt.trial": "0"}
    assert runs["trial-0000"].data.tags.items() >= wanted.items()
    assert runs["trial-0000"].data.tags["mt.rung"] == "0", "the first rung is at step 90"


def test_a_trial_that_was_ended_by_hand_is_killed_and_its_tags_say_so(new_sweep):
    new_sweep.ledger.add_point("id", {"ema.decay": 0.9})
    run_of(new_sweep).sync()
    trial = new_sweep.ledger.ask_search()
    new_sweep.ledger.end_by_hand(trial, [new_sweep.train(trial, 0.5)])
    run_of(new_sweep).sync()
    _, runs, _ = new_sweep.runs()
    wanted = {"mt.state": "pruned", "mt.reason": "ended_by_hand", "mt.message": "ended by hand at step 30"}
    assert runs["trial-0000"].data.tags.items() >= wanted.items()
    assert runs["trial-0000"].info.status == "KILLED"


def test_the_artifacts_lie_in_the_home_directory(sweep):
    assert list(sweep.home.artifacts.glob(f"*/artifacts/teacher/{BEST_MODEL}"))


def complete(sweep, *errors):
    """Complete a trial of the search with each of these errors."""
    for error in errors:
        while (trial := sweep.ledger.ask_search()).arm != "search":
            sweep.ledger.fail(trial, "error", "", None)
        sweep.ledger.complete(trial, sweep.train(trial, error))


@pytest.mark.parametrize("new_sweep", [("tracking.models=2",)], indirect=True)
def test_no_weights_of_the_best_two_are_uploaded_while_a_better_one_can_follow(new_sweep):
    run = run_of(new_sweep)
    complete(new_sweep, 0.3, 0.2)
    run.sync()
    complete(new_sweep, 0.1)
    run.sync()
    assert not new_sweep.directory.trials.has_model(TrialId("search", 0)), "it is not among the best two any more"
    run.finish("KILLED", "")
    assert stored(new_sweep, "trial-0001") == [], "after a resume there may be better ones"


@pytest.mark.parametrize("new_sweep", [("tracking.models=2",)], indirect=True)
def test_only_the_weights_of_the_best_two_are_kept_at_the_end(new_sweep):
    complete(new_sweep, 0.3, 0.2, 0.1)
    run_of(new_sweep).finish("FINISHED", "")
    assert stored(new_sweep, "trial-0000") == []
    assert stored(new_sweep, "trial-0001") == stored(new_sweep, "trial-0002") == [f"teacher/{BEST_MODEL}"]
    assert not list(new_sweep.directory.path.glob(f"trials/*/*/{BEST_MODEL}"))


@pytest.mark.parametrize("new_sweep", [("tracking.models=none",)], indirect=True)
def test_no_weights_are_kept_if_none_are_wanted(new_sweep):
    complete(new_sweep, 0.3)
    run_of(new_sweep).finish("FINISHED", "")
    assert stored(new_sweep, "trial-0000") == []
    assert not list(new_sweep.directory.path.glob(f"trials/*/*/{BEST_MODEL}"))


def test_a_run_that_was_created_twice_because_an_answer_was_lost_is_there_once(new_sweep):
    complete(new_sweep, 0.3)
    run = run_of(new_sweep)
    run.sync()
    client, runs, _ = new_sweep.runs()
    for name in ("digits", "trial-0000"):  # created again, before their tags were sent
        tags = {key: value for key, value in runs[name].data.tags.items() if key not in ("mt.state", "mt.best")}
        client.create_run(runs[name].info.experiment_id, runs[name].info.start_time, tags, name)
    assert new_sweep.runs()[2] == len(runs) + 2
    run.finish("FINISHED", "")
    _, after, count = new_sweep.runs()
    assert count == len(runs)
    assert all(after[name].info.run_id == kept.info.run_id for name, kept in runs.items())


def test_a_run_that_somebody_removed_is_created_again_with_all_its_metrics(new_sweep):
    complete(new_sweep, 0.3)
    run = run_of(new_sweep)
    run.sync()
    client, runs, _ = new_sweep.runs()
    client.delete_run(runs["trial-0000"].info.run_id)
    run.finish("FINISHED", "")
    client, runs, _ = new_sweep.runs()
    assert runs["trial-0000"].info.status == "FINISHED"
    assert runs["trial-0000"].data.metrics["validation.teacher_error"] == 0.3


def test_a_better_trial_after_the_end_is_in_the_description_though_parameters_cannot_be_changed(new_sweep):
    complete(new_sweep, 0.3)
    run_of(new_sweep).finish("FINISHED", "best: trial 0")
    complete(new_sweep, 0.1)
    run_of(new_sweep).finish("FINISHED", "best: trial 1")
    _, runs, _ = new_sweep.runs()
    assert runs["digits"].data.tags["mt.best"] == "1"
    assert "of an earlier best" in runs["digits"].data.tags["mt.params"]
    assert "best: trial 1" in runs["digits"].data.tags["mlflow.note.content"]


def test_a_report_that_is_written_anew_replaces_the_one_of_the_sweeps_own_run(new_sweep):
    new_sweep.directory.report.write_text("an early one")
    run_of(new_sweep).finish("KILLED", "")
    new_sweep.directory.report.write_text("a new one")
    send_report(new_sweep.home, new_sweep.directory)
    client, runs, _ = new_sweep.runs()
    assert Path(client.download_artifacts(runs["digits"].info.run_id, "report.html")).read_text() == "a new one"


def test_a_report_without_a_run_is_sent_nowhere(tmp_path):
    sweep = Sweep(tmp_path)
    sweep.directory.report.write_text("a page")
    send_report(sweep.home, sweep.directory)
    assert not sweep.home.mlflow_db.exists()
