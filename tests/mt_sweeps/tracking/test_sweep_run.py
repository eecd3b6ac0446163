import json
from pathlib import Path

import pytest

from mt_sweeps.spec.arms import TrialId
from mt_sweeps.tracking.sweep_run import SweepRun, send_report
from tests.helpers.sweeps import Sweep
from trainers.files import BEST_MODEL


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two complete, one pruned, one failed, one running trial; shown twice by two windows, as after a restart."""
    made = Sweep(tmp_path_factory.mktemp("home"))
    ledger = made.ledger
    first = ledger.ask_search()
    last = made.train(first, 0.5, 0.25)
    SweepRun(made.home, made.directory, ledger).sync()
    ledger.complete(first, last)
    running = ledger.ask_search()
    assert running.arm == "supervised"
    published = ledger.ask_search()
    ledger.complete(published, made.train(published, 0.4))
    second = ledger.ask_search()
    ledger.prune(second, made.train(second, 0.7))
    third = ledger.ask_search()
    ledger.fail(third, "diverged", "Diverged: nan", None)
    window = SweepRun(made.home, made.directory, ledger)
    window.sync()
    made.train(running, 0.6)
    window.sync()
    SweepRun(made.home, made.directory, ledger).finish("FINISHED", "best: trial 0")
    return made


def test_there_is_one_parent_run_and_one_child_a_trial_however_often_it_is_shown(sweep):
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


def test_every_metric_is_there_once_at_its_step_and_with_its_records_time(sweep):
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


def stored(made, name):
    client, runs, _ = made.runs()
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


def test_the_artifacts_lie_in_the_home_directory(sweep):
    assert list(sweep.home.artifacts.glob(f"*/artifacts/teacher/{BEST_MODEL}"))


def completed(made, *errors):
    """The trials of the search, each with its error."""
    trials = []
    for error in errors:
        while (trial := made.ledger.ask_search()).arm != "search":
            made.ledger.fail(trial, "error", "", None)
        trials.append(made.ledger.complete(trial, made.train(trial, error)))
    return trials


def test_of_the_top_two_alone_the_weights_are_kept_once_no_better_one_can_follow(tmp_path):
    made = Sweep(tmp_path, "tracking.models=2")
    window = SweepRun(made.home, made.directory, made.ledger)
    completed(made, 0.3, 0.2)
    window.sync()
    assert stored(made, "trial-0000") == stored(made, "trial-0001") == []
    completed(made, 0.1)
    window.sync()
    assert not made.directory.trials.has_model(TrialId("search", 0))
    window.finish("KILLED", "")
    assert stored(made, "trial-0001") == [], "it may go on, and find better ones"
    SweepRun(made.home, made.directory, made.ledger).finish("FINISHED", "")
    assert stored(made, "trial-0000") == []
    assert stored(made, "trial-0001") == stored(made, "trial-0002") == [f"teacher/{BEST_MODEL}"]
    assert not list(made.directory.path.glob(f"trials/*/*/{BEST_MODEL}"))


def test_no_weights_are_kept_where_none_are_asked_for(tmp_path):
    made = Sweep(tmp_path, "tracking.models=none")
    completed(made, 0.3)
    SweepRun(made.home, made.directory, made.ledger).finish("FINISHED", "")
    assert stored(made, "trial-0000") == []
    assert not list(made.directory.path.glob(f"trials/*/*/{BEST_MODEL}"))


def test_a_run_that_was_made_twice_as_an_answer_was_lost_is_there_once(tmp_path):
    made = Sweep(tmp_path)
    completed(made, 0.3)
    window = SweepRun(made.home, made.directory, made.ledger)
    window.sync()
    client, runs, _ = made.runs()
    for name in ("digits", "trial-0000"):  # what was asked for, and comes late
        tags = {key: value for key, value in runs[name].data.tags.items() if key not in ("mt.state", "mt.best")}
        client.create_run(runs[name].info.experiment_id, runs[name].info.start_time, tags, name)
    assert made.runs()[2] == len(runs) + 2
    window.finish("FINISHED", "")
    _, after, count = made.runs()
    assert count == len(runs)
    assert all(after[name].info.run_id == run.info.run_id for name, run in runs.items())


def test_a_run_that_somebody_removed_is_made_again_with_all_its_metrics(tmp_path):
    made = Sweep(tmp_path)
    completed(made, 0.3)
    window = SweepRun(made.home, made.directory, made.ledger)
    window.sync()
    client, runs, _ = made.runs()
    client.delete_run(runs["trial-0000"].info.run_id)
    window.finish("FINISHED", "")
    client, runs, _ = made.runs()
    assert runs["trial-0000"].info.status == "FINISHED"
    assert runs["trial-0000"].data.metrics["validation.teacher_error"] == 0.3


def test_a_better_one_found_after_the_end_is_told_though_parameters_cannot_be_changed(tmp_path):
    made = Sweep(tmp_path)
    completed(made, 0.3)
    SweepRun(made.home, made.directory, made.ledger).finish("FINISHED", "best: trial 0")
    completed(made, 0.1)
    SweepRun(made.home, made.directory, made.ledger).finish("FINISHED", "best: trial 1")
    _, runs, _ = made.runs()
    assert runs["digits"].data.tags["mt.best"] == "1"
    assert "of an earlier best" in runs["digits"].data.tags["mt.params"]
    assert "best: trial 1" in runs["digits"].data.tags["mlflow.note.content"]


def test_a_report_that_is_written_anew_stands_on_the_sweeps_own_run(tmp_path):
    made = Sweep(tmp_path)
    made.directory.report.write_text("an early one")
    send_report(made.home, made.directory)
    assert not made.home.mlflow_db.exists(), "nothing is there to put it on"
    SweepRun(made.home, made.directory, made.ledger).finish("KILLED", "")
    made.directory.report.write_text("a new one")
    send_report(made.home, made.directory)
    client, runs, _ = made.runs()
    assert Path(client.download_artifacts(runs["digits"].info.run_id, "report.html")).read_text() == "a new one"
