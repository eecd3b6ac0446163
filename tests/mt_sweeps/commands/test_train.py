import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

import trainers.trainer
from mt_sweeps.commands import train, training_progress
from mt_sweeps.commands.train import train_best
from mt_sweeps.errors import InputError, SweepError
from mt_sweeps.formatting import percent
from mt_sweeps.results import best_file, training_result
from mt_sweeps.results.statistics import interval
from mt_sweeps.results.status import status_text, sweep_status
from mt_sweeps.storage import records
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.tracking.embedded_store import embedded_uri
from tests.helpers.servers.mlflow import MLflowServer
from tests.helpers.sweeps import ENVIRONMENT, Sweep, digits, finish, new_ledger, report
from tests.helpers.training import in_fresh_process
from trainers import Trainer
from trainers.checkpoint import load_model
from trainers.data import dataset
from trainers.data.splits import split

pytestmark = pytest.mark.system  # whole runs, in MLflow's own store

TINY = ("trainer.steps=6", "trainer.evaluate_every=2", "trainer.model.width=4")


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """An embedded store with nothing in it: to make one takes seconds."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{file}").search_experiments(max_results=1)
    return file


@pytest.fixture
def home(tmp_path, empty_store):
    home = LocalHome(tmp_path / "home")
    home.path.mkdir()
    shutil.copy(empty_store, home.mlflow_db)
    return home


def exported(folder, *overrides):
    ledger = new_ledger(folder / "ledger.db", digits(*TINY, *overrides))
    best = ledger.complete(ledger.ask_search(), report(6, 0.1))
    file = folder / "best.yaml"
    file.write_text(best_file.to_yaml(best_file.from_trial(ledger, best, ENVIRONMENT)))
    return file, best_file.load_request(file).best.trainer


def client_of(home):
    return mlflow.MlflowClient(embedded_uri(home))


def versions_of(home):
    return sorted(client_of(home).search_model_versions("name = 'digits'"), key=lambda version: int(version.version))


def interrupted_after(first):
    yield first
    raise KeyboardInterrupt


def test_a_training_goes_on_from_its_checkpoint_and_is_never_repeated(tmp_path, home, capsys, monkeypatch):
    file, config = exported(tmp_path)
    with pytest.MonkeyPatch.context() as patch:  # interrupted after its first evaluation
        patch.setattr(records, "record_run", lambda trainer, _: interrupted_after(next(trainer.run())))
        with pytest.raises(KeyboardInterrupt):
            train_best(file, home)
    assert "the same command goes on" in capsys.readouterr().out

    train_best(file, home)
    out = capsys.readouterr().out
    assert "these are not the images of the sweep" in out
    assert "trained on 50 images with labels and 788 without" in out
    assert "registered in MLflow: models:/digits/1" in out
    (directory,) = home.trained.iterdir()
    assert [one.step for one in records.read(directory)] == [2, 4, 6]
    result = training_result.load(directory)
    whole = Trainer(config)
    list(whole.run())
    assert {name: error.error for name, error in result.test.items()} == {n: e.rate for n, e in whole.test().items()}
    assert (result.network, result.changed, result.split_fingerprint) == ("teacher", [], whole.split.fingerprint)
    left = {file.name for file in directory.iterdir()}
    shown = {f"test_{name}.{kind}" for name in ("mistakes", "least_certain") for kind in ("csv", "png")}
    shown.add("test_confusion.svg")
    assert left == {"model.safetensors", "records.jsonl", "result.json", "train.lock", "pictures.json", *shown}
    table = (directory / "test_mistakes.csv").read_text().splitlines()
    assert table[0] == "path,true,predicted,probability,of_true"
    assert len(table) - 1 == min(64, round(result.test["teacher"].error * result.test["teacher"].images))
    assert table[1].startswith("test image ")
    assert len((directory / "test_least_certain.csv").read_text().splitlines()) - 1 == 64
    (run,) = client_of(home).search_runs(["1"])
    assert shown <= {file.path for file in client_of(home).list_artifacts(run.info.run_id)}

    monkeypatch.setattr(trainers.trainer, "Trainer", None)  # whoever trains again fails
    train_best(file, home)
    out = capsys.readouterr().out
    assert "the test set is read once" in out
    assert "registered in MLflow: models:/digits/1" in out
    assert [run.info.status for run in client_of(home).search_runs(["1"])] == ["FINISHED"]
    assert len(versions_of(home)) == 1


def test_whatever_takes_long_before_and_after_the_steps_is_named(tmp_path, home, capsys, monkeypatch):
    file, _ = exported(tmp_path)
    monkeypatch.setattr(training_progress, "_SECONDS_OF_A_PHASE", 0)
    monkeypatch.setattr(training_progress, "_POLL_SECONDS", 0.001)
    train_best(file, home)
    lines = capsys.readouterr().out.splitlines()
    phases = [
        "preparing the network",
        "step 6/6: teacher",
        "reading the test images",
        "registering the model in MLflow",
    ]
    named = [next(i for i, line in enumerate(lines) if line.startswith(phase)) for phase in phases]
    assert named == sorted(named)


def test_several_seeds_are_trained_one_after_the_other_and_only_those_that_are_not_done(tmp_path, home, capsys):
    file, config = exported(tmp_path)
    train_best(file, home)
    assert "over" not in capsys.readouterr().out, "one seed has no interval"
    train_best(file, home, seeds=3)
    out = capsys.readouterr().out
    assert out.count("has been trained") == 1
    results = [training_result.load(directory) for directory in sorted(home.trained.iterdir())]
    assert [result.trainer for result in results] == [config.model_copy(update={"seed": seed}) for seed in range(3)]
    errors = [result.test["teacher"].error for result in results]
    assert len(set(errors)) > 1
    assert f"teacher {interval(errors, images=359)}" in out.split("over 3 seeds, mean test error [95 %]")[1]
    versions = versions_of(home)
    assert [version.tags["mt.seed"] for version in versions] == ["0", "1", "2"]
    assert [version.tags["mt.test_error"] for version in versions] == [f"{error:.4f}" for error in errors]
    assert {(version.tags["mt.sweep"], version.tags["mt.trial"]) for version in versions} == {("abc", "0")}
    best = client_of(home).get_model_version_by_alias("digits", "best")
    assert best.tags["mt.seed"] == "2", "the one that was trained last"


def test_the_version_of_a_model_says_what_it_is_and_keeps_what_a_person_writes(tmp_path, home):
    file, config = exported(tmp_path)
    train_best(file, home)
    (directory,) = home.trained.iterdir()
    error = training_result.load(directory).test["teacher"]
    (version,) = versions_of(home)
    card = version.description
    assert card.startswith(f"**Test error of the teacher: {percent(error.error)}, 95 % interval ")
    assert "Trial 0 of the sweep `digits` was the best of its search" in card, "no view of it is in this MLflow"
    assert f"| `ema.decay` | `{config.ema.decay}` |" in card
    assert f"{config.dataset.labels} images with labels of 10 classes" in card
    run = client_of(home).get_run(version.run_id)
    assert run.info.run_name == "digits: final training, seed 0"
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"
    client_of(home).update_model_version("digits", version.version, "Mine")
    train_best(file, home)
    (version,) = versions_of(home)
    assert version.description == "Mine"


def test_a_changed_configuration_has_a_directory_of_its_own_and_says_that_it_is_changed(tmp_path, home, capsys):
    file, _ = exported(tmp_path)
    train_best(file, home)
    capsys.readouterr()
    train_best(file, home, ("trainer.ema.decay=0.9", "trainer.evaluate_every=3"))
    out = capsys.readouterr().out
    assert "note: not as exported, which result.json and MLflow say, too: " in out
    changed = {"ema.decay", "evaluate_every"}
    first, second = sorted((training_result.load(one) for one in home.trained.iterdir()), key=lambda one: one.time)
    assert (first.changed, set(second.changed), second.trainer.ema.decay) == ([], changed, 0.9)
    versions = versions_of(home)
    assert "mt.changed" not in versions[0].tags
    assert set(versions[1].tags["mt.changed"].split(", ")) == changed
    run = client_of(home).get_run(versions[1].run_id)
    assert set(run.data.tags["mt.changed"].split(", ")) == changed
    assert run.data.params["ema.decay"] == "0.9", "what was trained, not what was exported"


def test_a_model_of_a_file_that_contradicts_itself_says_so(tmp_path, home, capsys):
    file, _ = exported(tmp_path)
    text = file.read_text()
    file.write_text(text.replace("decay: 0.95\n    ramp", "decay: 0.5\n    ramp"))
    train_best(file, home)
    out = capsys.readouterr().out
    assert "caution: searched says ema.decay 0.95, and trainer.ema.decay is 0.5: " in out
    (directory,) = home.trained.iterdir()
    cautions = training_result.load(directory).cautions
    assert len(cautions) == 2
    (version,) = versions_of(home)
    assert version.tags["mt.cautions"] == client_of(home).get_run(version.run_id).data.tags["mt.cautions"]
    assert version.tags["mt.cautions"] == "; ".join(cautions)


def test_images_that_look_like_scored_ones_are_a_caution_of_the_model(tmp_path, home, capsys, monkeypatch):
    monkeypatch.setattr(train, "look_alike_caution", lambda *_: "2 training images look almost like test images")
    file, _ = exported(tmp_path)
    train_best(file, home)
    assert "caution: 2 training images look almost like test images" in capsys.readouterr().out
    (directory,) = home.trained.iterdir()
    assert training_result.load(directory).cautions == ["2 training images look almost like test images"]
    (version,) = versions_of(home)
    assert version.description.endswith("**Caution:** 2 training images look almost like test images.")
    assert version.tags["mt.cautions"] == client_of(home).get_run(version.run_id).data.tags["mt.cautions"]


def test_a_baseline_is_trained_as_such_and_takes_no_name_of_the_best(tmp_path, home, capsys):
    file, _ = exported(tmp_path)
    train_best(file, home)
    sweep = Sweep(tmp_path / "other", *TINY, "trials=1")
    while trial := sweep.ledger.ask_search():
        finish(sweep.ledger, trial)
    file.write_text(best_file.to_yaml(best_file.from_sweep(sweep.directory, "supervised")))
    capsys.readouterr()
    train_best(file, home)
    out = capsys.readouterr().out
    assert "training the supervised baseline of digits (supervised 0), seed 0" in out
    assert "trained on 50 images with labels and no others" in out
    assert "models:/digits-supervised/1" in out
    _, directory = sorted(home.trained.iterdir(), key=lambda one: training_result.load(one).time)
    result = training_result.load(directory)
    assert (result.arm, result.network, result.trial_id.label) == ("supervised", "student", "supervised 0")
    assert directory.name.startswith("digits-supervised-")
    (best,) = versions_of(home)
    assert client_of(home).get_model_version_by_alias("digits", "best").version == best.version
    baseline = client_of(home).get_model_version_by_alias("digits-supervised", "best")
    assert "**A baseline, not the best of the search.**" in baseline.description
    assert "50 images with labels of 10 classes, no others" in baseline.description
    assert ("mt.baseline" in best.tags, baseline.tags["mt.baseline"]) == (False, "supervised")
    run = client_of(home).get_run(baseline.run_id)
    assert run.info.run_name == "digits: final training of supervised 0, seed 0"


def test_report_and_status_of_the_sweep_show_the_test_errors_of_all_its_final_models(tmp_path, home, capsys):
    sweep = Sweep(home.path, *TINY, "trials=1", "finalists.baselines=[supervised]")
    while trial := sweep.ledger.ask_search():
        finish(sweep.ledger, trial)
    for arm in ("search", "supervised"):
        file = tmp_path / f"{arm}.yaml"
        file.write_text(best_file.to_yaml(best_file.from_sweep(sweep.directory, arm)))
        train_best(file, home)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("model: "), "scripts read it there"
    page, status = sweep.directory.report.read_text(), sweep_status(sweep.directory)
    shown = status_text(status, "")
    assert [(one.arm, one.trial) for one in status.trained] == [("search", 0), ("supervised", 0)]
    for one in status.trained:
        low, high = training_result.load(Path(one.folder)).test[one.network].interval
        assert (one.low, one.high) == (low, high)
        for text in (page, shown):
            assert f"{percent(one.error)} [{100 * low:.1f}, {100 * high:.1f}] on 359 images" in text
        assert f"trained/{Path(one.folder).name}" in page
        assert f"in {one.folder}" in shown


def test_a_final_model_of_a_sweep_that_is_not_here_touches_no_other_s_report(tmp_path, home):
    sweep = Sweep(home.path, "trials=1")
    file, _ = exported(tmp_path)
    sweep.directory.save_environment(replace(ENVIRONMENT, id="123"))  # another of the same name
    train_best(file, home)
    assert not sweep.directory.report.exists()


def test_with_validation_its_images_and_those_of_the_verdict_are_trained_on(tmp_path, home, capsys):
    file, config = exported(tmp_path)
    train_best(file, home, with_validation=True)
    out = capsys.readouterr().out
    assert "trained on 650 images with labels and 788 without" in out
    assert "step 6/6: loss " in out, "nothing is left to validate on"
    (directory,) = home.trained.iterdir()
    result = training_result.load(directory)
    assert result.images == {"labeled": 650, "unlabeled": 788, "validation": 0, "verdict": 0}
    assert result.changed == ["dataset.with_validation"]
    assert result.test["teacher"].images == 359
    data = dataset.load(config.dataset)
    assert not any("validation.teacher_error" in one.metrics for one in records.read(directory))
    labels = split(data.train_labels.numpy(), data.classes, result.trainer.dataset).labeled
    assert len(labels) == 650


def test_the_registered_model_gives_the_probabilities_of_the_network_without_pickle_in_a_fresh_process(tmp_path, home):
    file, config = exported(tmp_path)
    train_best(file, home)
    (version,) = versions_of(home)
    images = dataset.load(config.dataset).test
    np.save(tmp_path / "images.npy", images.numpy())
    said = in_fresh_process(
        "import json, sys, mlflow, numpy\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/digits/1')\n"
        "example = model.predict(model.input_example)\n"
        "print(json.dumps([model.predict(numpy.load(sys.argv[2])).tolist(), example.shape, model.metadata.metadata]))",
        embedded_uri(home),
        tmp_path / "images.npy",
    )
    probabilities, of_example, metadata = json.loads(said.splitlines()[-1])
    (directory,) = home.trained.iterdir()
    expected = load_model(directory / "model.safetensors").logits(images).softmax(1)
    torch.testing.assert_close(torch.tensor(probabilities), expected)
    assert of_example == [1, 10]
    assert metadata == {"classes": list("0123456789")}
    stored = home.artifacts / "models" / version.source.split("/")[-2] / "artifacts"
    assert (stored / "data" / "model.safetensors").read_bytes() == (directory / "model.safetensors").read_bytes()
    assert not [file for file in stored.rglob("*") if file.suffix in (".pkl", ".pickle", ".pt", ".pth")]
    signature = mlflow.models.Model.load(str(stored)).signature.to_dict()
    assert json.loads(signature["inputs"])[0]["tensor-spec"] == {"dtype": "uint8", "shape": [-1, 8, 8, 1]}


def test_a_server_that_does_not_answer_is_told_later(tmp_path, home, capsys, monkeypatch):
    file, _ = exported(tmp_path)
    server = MLflowServer(tmp_path)
    override = (f"tracking.uri={server.uri}",)
    with monkeypatch.context() as patch:
        patch.setattr(train, "TRACKING_SECONDS", 2)
        train_best(file, home, override)
    out = capsys.readouterr().out
    assert f"MLflow at {server.uri} does not answer" in out
    assert re.search(r"MLflow is not up to date \(.*\); the same command completes it", out)
    assert (next(home.trained.iterdir()) / "model.safetensors").exists()
    with server:
        for _ in range(2):
            train_best(file, home, override)
            assert "registered in MLflow: models:/digits/1" in capsys.readouterr().out
        client = mlflow.MlflowClient(server.uri)
        (run,) = client.search_runs(["1"])
        (version,) = client.search_model_versions("name = 'digits'")
        assert (run.info.status, version.run_id) == ("FINISHED", run.info.run_id)
        history = client.get_metric_history(run.info.run_id, "validation.teacher_error")
        assert [metric.step for metric in history] == [2, 4, 6]
        said = in_fresh_process(
            "import sys, mlflow, numpy\n"
            "mlflow.set_tracking_uri(sys.argv[1])\n"
            "model = mlflow.pyfunc.load_model('models:/digits/1')\n"
            "print(model.predict(numpy.zeros((3, 8, 8, 1), numpy.uint8)).shape)",
            server.uri,
        )
        assert said.splitlines()[-1] == "(3, 10)"


def test_a_registration_that_broke_off_anywhere_is_completed_and_never_doubled(tmp_path, home, monkeypatch):
    file, _ = exported(tmp_path)
    calls = ("create_logged_model", "log_model_artifacts", "finalize_logged_model", "create_registered_model")
    for name in (*calls, "create_model_version"):
        whole = getattr(mlflow.MlflowClient, name)

        def lost(*arguments, whole=whole, **more):
            whole(*arguments, **more)
            raise ConnectionError("the answer is lost")

        with monkeypatch.context() as patch:
            patch.setattr(mlflow.MlflowClient, name, lost)
            train_best(file, home)
    train_best(file, home)
    assert len(versions_of(home)) == 1
    client = client_of(home)
    assert len(client.search_runs(["1"])) == 1
    assert [str(model.status) for model in client.search_logged_models(["1"])] == ["READY"]


def test_a_training_that_diverges_is_told_with_its_reason(tmp_path, home):
    file, _ = exported(tmp_path, "trainer.optimizer.learning_rate=1.0e+30")
    with pytest.raises(SweepError, match="diverged"):
        train_best(file, home)


def test_a_checkpoint_of_other_images_is_refused(tmp_path, home, monkeypatch):
    file, _ = exported(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(records, "record_run", lambda trainer, _: interrupted_after(next(trainer.run())))
        with pytest.raises(KeyboardInterrupt):
            train_best(file, home)
    whole = dataset.load
    monkeypatch.setattr(dataset, "load", lambda config: replace(whole(config), fingerprint="another"))
    with pytest.raises(InputError, match="other images"):
        train_best(file, home)


def test_a_result_of_another_version_is_not_taken_for_one_of_this(tmp_path, home):
    file, _ = exported(tmp_path)
    train_best(file, home)
    (directory,) = home.trained.iterdir()
    result = directory / training_result.RESULT
    result.write_text(result.read_text().replace("mt-sweeps-trained/2", "mt-sweeps-trained/3"))
    with pytest.raises(InputError, match="result of this version"):
        train_best(file, home)
