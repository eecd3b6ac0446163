import json
import shutil
from pathlib import Path

import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from mt_sweeps.spec.arms import TrialId
from mt_sweeps.tracking.client import Client
from mt_sweeps.tracking.pages import sweep_page
from mt_sweeps.tracking.sweep_run import SweepRun
from tests.helpers.sweeps import Sweep
from trainers.files import BEST_MODEL

pytestmark = pytest.mark.system  # whole runs, in MLflow's own store


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
    assert sorted(runs) == ["digits", "published 0", "supervised 0", "trial 0", "trial 1", "trial 2"]
    assert count == 6
    parent = runs["digits"].info.run_id
    assert all(run.data.tags["mlflow.parentRunId"] == parent for name, run in runs.items() if name != "digits")


def test_states_are_those_of_the_ledger(sweep):
    _, runs, _ = sweep.runs()
    status = {name: run.info.status for name, run in runs.items()}
    assert status == {
        "digits": "FINISHED",
        "trial 0": "FINISHED",
        "trial 1": "FINISHED",
        "trial 2": "FAILED",
        "published 0": "FINISHED",
        "supervised 0": "RUNNING",
    }
    assert runs["trial 2"].data.tags["mt.reason"] == "diverged"


def test_every_metric_is_there_once_at_its_step_and_with_the_time_of_its_record(sweep):
    client, runs, _ = sweep.runs()
    history = client.get_metric_history(runs["trial 0"].info.run_id, "validation.teacher_error")
    assert [(point.step, point.value, point.timestamp) for point in history] == [
        (30, 0.5, 1_700_000_030_000),
        (60, 0.25, 1_700_000_060_000),
    ]


def test_parameters_are_flat_under_the_keys_of_the_space_and_the_parent_has_the_winners(sweep):
    _, runs, _ = sweep.runs()
    wanted = {key: str(value) for key, value in sweep.spec.points[0].items()}
    assert runs["trial 0"].data.params == wanted
    assert runs["digits"].data.params == wanted
    assert runs["digits"].data.metrics["validation.teacher_error"] == 0.25
    assert "best: trial 0" in runs["digits"].data.tags["mlflow.note.content"]


def test_the_published_baseline_is_a_run_with_all_its_settings_as_parameters(sweep):
    _, runs, _ = sweep.runs()
    run = runs["published 0"]
    assert run.data.tags["mt.arm"] == "published"
    wanted = {"ema.decay": "0.999", "consistency.loss": "mse", "augmentation.translate": "1", "batch_size": "100"}
    assert run.data.params.items() >= wanted.items()


def stored(sweep, name):
    client, runs, _ = sweep.runs()
    return [file.path for file in client.list_artifacts(runs[name].info.run_id, "teacher")]


def test_the_teacher_of_a_completed_trial_is_kept_once_and_others_nowhere(sweep):
    assert stored(sweep, "trial 0") == [f"teacher/{BEST_MODEL}"]
    assert stored(sweep, "trial 1") == [], "it was pruned"
    for number in (0, 1):
        assert not sweep.directory.trials.has_model(TrialId("search", number))


def test_every_run_has_the_whole_configuration_of_its_trial(sweep):
    client, runs, _ = sweep.runs()
    for name, arm, number in (("trial 1", "search", 1), ("supervised 0", "supervised", 0)):
        file = client.download_artifacts(runs[name].info.run_id, "config.json")
        config = sweep.spec.config(sweep.ledger.trials(arm)[number].values, arm)
        assert json.loads(Path(file).read_text()) == json.loads(config.model_dump_json())


def test_tags_tell_state_seed_attempt_and_the_rungs_passed(sweep):
    _, runs, _ = sweep.runs()
    wanted = {"mt.state": "complete", "mt.seed": "0", "mt.attempt": "1", "mt.arm": "search", "mt.trial": "0"}
    assert runs["trial 0"].data.tags.items() >= wanted.items()
    assert runs["trial 0"].data.tags["mt.rung"] == "0", "the first rung is at step 90"


def test_a_trial_that_an_interruption_left_waits_until_it_runs_again(new_sweep):
    first = new_sweep.ledger.ask_search()
    new_sweep.train(first, 0.5)

    def shown():
        _, runs, _ = new_sweep.runs()
        return runs["trial 0"].data.tags["mt.state"]

    run_of(new_sweep).finish("KILLED", "")
    assert shown() == "waiting"
    new_sweep.train(first, 0.4)
    run_of(new_sweep).sync()
    assert shown() == "running"


def test_a_trial_that_was_ended_by_hand_is_no_failure_and_its_tags_say_so(new_sweep):
    new_sweep.ledger.add_point("id", {"ema.decay": 0.9})
    run_of(new_sweep).sync()
    trial = new_sweep.ledger.ask_search()
    new_sweep.ledger.end_by_hand(trial, [new_sweep.train(trial, 0.5)])
    run_of(new_sweep).sync()
    _, runs, _ = new_sweep.runs()
    wanted = {"mt.state": "pruned", "mt.reason": "ended_by_hand", "mt.message": "ended by hand at step 30"}
    assert runs["trial 0"].data.tags.items() >= wanted.items()
    assert runs["trial 0"].info.status == "FINISHED", "no failure"


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
    assert stored(new_sweep, "trial 1") == [], "after a resume there may be better ones"


@pytest.mark.parametrize("new_sweep", [("tracking.models=2",)], indirect=True)
def test_only_the_weights_of_the_best_two_are_kept_at_the_end(new_sweep):
    complete(new_sweep, 0.3, 0.2, 0.1)
    run_of(new_sweep).finish("FINISHED", "")
    assert stored(new_sweep, "trial 0") == []
    assert stored(new_sweep, "trial 1") == stored(new_sweep, "trial 2") == [f"teacher/{BEST_MODEL}"]
    assert not list(new_sweep.directory.path.glob(f"trials/*/*/{BEST_MODEL}"))


@pytest.mark.parametrize("new_sweep", [("tracking.models=none",)], indirect=True)
def test_no_weights_are_kept_if_none_are_wanted(new_sweep):
    complete(new_sweep, 0.3)
    run_of(new_sweep).finish("FINISHED", "")
    assert stored(new_sweep, "trial 0") == []
    assert not list(new_sweep.directory.path.glob(f"trials/*/*/{BEST_MODEL}"))


def test_a_run_that_was_created_twice_because_an_answer_was_lost_is_there_once(new_sweep):
    complete(new_sweep, 0.3)
    run = run_of(new_sweep)
    run.sync()
    client, runs, _ = new_sweep.runs()
    for name in ("digits", "trial 0"):  # created again; the tags of a sweep's state are sent later
        sent_later = ("mt.state", "mt.best") if name == "digits" else ()
        tags = {key: value for key, value in runs[name].data.tags.items() if key not in sent_later}
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
    client.delete_run(runs["trial 0"].info.run_id)
    run.finish("FINISHED", "")
    client, runs, _ = new_sweep.runs()
    assert runs["trial 0"].info.status == "FINISHED"
    assert runs["trial 0"].data.metrics["validation.teacher_error"] == 0.3


@pytest.fixture
def sent(monkeypatch):
    """The calls that change runs, as they are made: the name, the id of the run, the names of metrics and of tags."""
    calls, log_batch, update = [], SqlAlchemyStore.log_batch, SqlAlchemyStore.update_run_info

    def logged(store, run_id, metrics, params, tags):
        calls.append(("log", run_id, {metric.key for metric in metrics}, {tag.key for tag in tags}))
        log_batch(store, run_id, metrics, params, tags)

    def updated(store, run_id, *args, **kwargs):
        calls.append(("update", run_id, set(), set()))
        return update(store, run_id, *args, **kwargs)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", logged)
    monkeypatch.setattr(SqlAlchemyStore, "update_run_info", updated)
    return calls


def test_a_trial_that_mlflow_has_whole_is_not_sent_again_by_the_next_driver(new_sweep, sent):
    complete(new_sweep, 0.3)
    run_of(new_sweep).sync()
    trial_run = new_sweep.runs()[1]["trial 0"].info.run_id
    assert trial_run in {run for _, run, _, _ in sent}
    sent.clear()
    run_of(new_sweep).finish("FINISHED", "")
    assert trial_run not in {run for _, run, _, _ in sent}
    assert stored(new_sweep, "trial 0") == [f"teacher/{BEST_MODEL}"], "its weights are still wanted"


def test_a_trial_whose_end_the_driver_before_did_not_send_is_completed(new_sweep, monkeypatch):
    complete(new_sweep, 0.3)
    set_status = Client.set_status

    def killed(client, run, status, end=None):
        if status == "FINISHED":
            raise ConnectionError
        set_status(client, run, status, end)

    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(Client, "set_status", killed)
        run_of(new_sweep).sync()
    run_of(new_sweep).sync()
    client, runs, _ = new_sweep.runs()
    assert runs["trial 0"].info.status == "FINISHED"
    assert len(client.get_metric_history(runs["trial 0"].info.run_id, "validation.teacher_error")) == 1


def test_a_report_of_a_trial_at_work_is_sent_without_tags_that_mlflow_has(new_sweep, sent):
    trial = new_sweep.ledger.ask_search()
    new_sweep.train(trial, 0.5)
    run = run_of(new_sweep)
    run.sync()
    sent.clear()
    new_sweep.train(trial, 0.5, 0.4)
    run.sync()
    ((_, _, metrics, tags),) = sent
    assert "validation.teacher_error" in metrics
    assert tags == set()


def test_the_configuration_of_a_trial_is_stored_although_the_call_failed_at_first(new_sweep, monkeypatch):
    complete(new_sweep, 0.3)
    log_text = Client.log_text

    def fails(client, run, text, file):
        if file == "config.json":
            raise ConnectionError
        log_text(client, run, text, file)

    run = run_of(new_sweep)
    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(Client, "log_text", fails)
        run.sync()
    run.sync()
    client, runs, _ = new_sweep.runs()
    assert "config.json" in {file.path for file in client.list_artifacts(runs["trial 0"].info.run_id)}


def test_a_better_trial_after_the_end_is_in_the_description_though_parameters_cannot_be_changed(new_sweep):
    complete(new_sweep, 0.3)
    run_of(new_sweep).finish("FINISHED", "best: trial 0")
    complete(new_sweep, 0.1)
    run_of(new_sweep).finish("FINISHED", "best: trial 1")
    _, runs, _ = new_sweep.runs()
    assert runs["digits"].data.tags["mt.best"] == "1"
    assert "of an earlier best" in runs["digits"].data.tags["mt.params"]
    assert "best: trial 1" in runs["digits"].data.tags["mlflow.note.content"]


def test_the_view_of_the_sweep_is_kept_with_the_experiment(sweep):
    client, runs, _ = sweep.runs()
    tags = client.get_experiment_by_name("mt-sweeps").tags
    assert runs["digits"].info.run_id in json.loads(tags["mlflow.sharedViewState.abc"])["searchFilter"]
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert sweep_page(sweep.directory).endswith("runs?workflowType=machine_learning&viewStateShareKey=abc")


def test_the_parent_says_the_verdict_and_counts_the_trials(sweep):
    _, runs, _ = sweep.runs()
    data = runs["digits"].data
    assert data.tags["mt.verdict"].startswith("Trial 0 is the best of the search, 25.0 % ± 1.0")
    assert data.tags["mlflow.note.content"].startswith(
        f"**{data.tags['mt.verdict']}.**\n\n[all trials, best first](#/exp"
    )
    counts = {name: value for name, value in data.metrics.items() if name.startswith("trials.")}
    assert counts == {"trials.complete": 1, "trials.pruned": 1, "trials.failed": 1}


def test_completed_trials_alone_have_a_final_error_so_that_the_best_is_the_first(sweep):
    _, runs, _ = sweep.runs()
    final = {name: run.data.metrics.get("final.teacher_error") for name, run in runs.items() if "trial" in name}
    assert final == {"trial 0": 0.25, "trial 1": None, "trial 2": None}


def test_the_runs_of_an_arm_have_a_colour_and_the_sweep_has_its_images(sweep):
    _, runs, _ = sweep.runs()
    colours = {run.data.tags["mt.arm"]: run.data.tags["mlflow.runColor"] for run in runs.values()}
    assert len(set(colours.values())) == len(colours) == 4
    (dataset,) = runs["digits"].inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("digits", "def")
    assert json.loads(dataset.dataset.profile)["labeled"] == 50


def test_errors_have_the_digits_that_mean_something(new_sweep):
    complete(new_sweep, 17 / 300)
    run_of(new_sweep).sync()
    _, runs, _ = new_sweep.runs()
    assert runs["trial 0"].data.metrics["validation.teacher_error"] == 0.0567
    assert runs["digits"].data.metrics["validation.teacher_error"] == 0.0567


def test_what_a_person_wrote_into_the_description_or_as_a_name_stays(new_sweep):
    complete(new_sweep, 0.3)
    run_of(new_sweep).finish("FINISHED", "digits: 1 trial")
    client, runs, _ = new_sweep.runs()
    parent, child = runs["digits"].info.run_id, runs["trial 0"].info.run_id
    client.set_tag(parent, "mlflow.note.content", "Look at trial 0 again")
    client.update_run(child, name="my favourite")
    client.set_tag(child, "mlflow.runColor", "#ffffff")
    complete(new_sweep, 0.2)
    run_of(new_sweep).finish("FINISHED", "digits: 2 trials")
    client, runs, _ = new_sweep.runs()
    assert runs["digits"].data.tags["mlflow.note.content"] == "Look at trial 0 again"
    assert runs["digits"].data.tags["mt.verdict"].startswith("Trial 1 is the best")
    assert runs["my favourite"].data.tags["mlflow.runColor"] == "#ffffff"


def test_the_runs_of_an_earlier_version_get_its_names_and_states_and_no_point_twice(new_sweep):
    complete(new_sweep, 17 / 300)
    while (pruned := new_sweep.ledger.ask_search()).arm != "search":
        new_sweep.ledger.fail(pruned, "error", "", None)
    new_sweep.ledger.prune(pruned, new_sweep.train(pruned, 0.5))
    run_of(new_sweep).finish("FINISHED", "")
    client, runs, _ = new_sweep.runs()
    _make_old(client, new_sweep, runs)
    run_of(new_sweep).finish("FINISHED", "digits: a new summary")
    client, runs, _ = new_sweep.runs()
    assert {"digits", "trial 0", "trial 1"} <= runs.keys()
    assert runs["trial 1"].info.status == "FINISHED"
    assert runs["trial 0"].data.tags["mlflow.runColor"]
    assert "a new summary" in runs["digits"].data.tags["mlflow.note.content"]
    history = client.get_metric_history(runs["trial 0"].info.run_id, "validation.teacher_error")
    assert [point.value for point in history] == [17 / 300], "its points are those that it had"


def _make_old(client, sweep, runs):
    """Replace a sweep's runs by those that an earlier version would have made: names, states, numbers, description."""
    new = ("mt.rounded", "mlflow.runColor", "mt.note", "mlflow.runName")
    parents = {}
    for name, run in sorted(runs.items()):  # the parent first
        client.delete_run(run.info.run_id)
        tags = {key: value for key, value in run.data.tags.items() if key not in new} | parents
        if name == "digits":
            made = client.create_run(run.info.experiment_id, run.info.start_time, tags, name)
            client.set_tag(made.info.run_id, "mlflow.note.content", "```\ndigits: 2 trials\n```")
            parents = {"mlflow.parentRunId": made.info.run_id}
            continue
        trial = TrialId(tags["mt.arm"], int(tags["mt.trial"]))
        old_name = f"trial-{trial.slug}" if trial.arm == "search" else trial.slug
        made = client.create_run(run.info.experiment_id, run.info.start_time, tags, old_name).info.run_id
        for report in sweep.directory.trials.records(trial):
            for metric, value in report.metrics.items():
                client.log_metric(made, metric, value, int(report.time * 1000), report.step)
        client.set_terminated(made, "KILLED" if tags["mt.state"] == "pruned" else "FINISHED")
