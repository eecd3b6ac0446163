"""A small sweep through the real commands, from the file to the final model."""

import csv
import json
import signal

import mlflow
import pytest
import yaml

from tests.helpers.command_line import DIGITS, TINY, as_json, interrupted, mt_sweep
from tests.helpers.training import write_image
from trainers import TrainerConfig
from trainers.checkpoint import load_model
from trainers.data import dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def printed(folder):
    return mt_sweep("run", DIGITS, "--trials", 4, *TINY, folder=folder).stdout


@pytest.fixture(scope="module")
def runs(folder, printed):  # noqa: ARG001 (the sweep must have run)
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'sweeps' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mt-sweeps")
    return client, {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def test_the_user_sees_a_forecast_progress_and_a_summary(printed):
    forecast, _, rest = printed.partition("trial 0 starts")
    assert "4 search, 1 supervised, 1 published; " in forecast
    assert "at once" in forecast
    assert "ranked and ended at step 6" in forecast
    assert "trial 0 complete: teacher" in rest
    assert " left" in rest
    assert "best       trial" in rest
    assert "\nsupervised " in rest
    assert "\npublished  " in rest
    assert "mt-sweep dashboard" in rest
    assert "mt-sweep export digits -o best.yaml" in rest
    assert "mt-sweep train best.yaml" in rest
    assert "\x1b" not in printed, "piped output is plain"


def test_status_list_and_best_agree(folder, printed):
    status = as_json("status", "digits", folder=folder)
    assert status["state"] == "finished"
    search = status["arms"]["search"]
    assert search["total"] == 4
    assert search["complete"] + search["pruned"] == 4
    assert status["arms"]["supervised"]["complete"] == status["arms"]["published"]["complete"] == 1
    assert as_json("list", folder=folder) == [status]
    best = as_json("best", "digits", folder=folder)
    assert best["trial"] == status["best"]["trial"]
    assert f"best       trial {best['trial']}: " in printed


def test_mlflow_has_a_parent_run_and_four_search_runs_the_complete_ones_with_their_teachers_weights(runs):
    client, found = runs
    parent = found["digits"]
    children = [found[f"trial {number}"] for number in range(4)]
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in children)
    assert all(run.data.params.keys() >= {"ema.decay", "consistency.loss", "consistency.weight"} for run in children)
    assert parent.info.status == "FINISHED"
    stored = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert stored == {"spec.yaml", "environment.json", "best.yaml", "report.html"}
    assert {run.info.status for run in children} == {"FINISHED"}, "a pruned one is no failure"
    complete = [run for run in children if run.data.tags["mt.state"] == "complete"]
    assert complete
    for run in complete:
        local = client.download_artifacts(run.info.run_id, "teacher/best.safetensors")
        assert load_model(local).config.ema.decay == pytest.approx(float(run.data.params["ema.decay"]), rel=1e-3)


def test_the_published_baseline_trained_the_authors_values_as_long_as_the_others(runs):
    client, found = runs
    run = found["published 0"]
    assert (run.info.status, run.data.tags["mt.arm"]) == ("FINISHED", "published")
    model = load_model(client.download_artifacts(run.info.run_id, "teacher/best.safetensors"))
    assert (model.config.ema.decay, model.config.consistency.weight, model.config.steps) == (0.999, 10**1.5, 20)


def test_the_final_model_is_trained_with_exactly_the_exported_values(folder, printed):  # noqa: ARG001
    mt_sweep("export", "digits", "-o", "best.yaml", folder=folder)
    exported = yaml.safe_load((folder / "best.yaml").read_text())
    assert exported["searched"] == as_json("best", "digits", folder=folder)["searched"]
    out = mt_sweep("train", "best.yaml", folder=folder).stdout
    assert "test error of the teacher: " in out
    assert "test error of the student: " in out
    (trained,) = (folder / "sweeps" / "trained").iterdir()
    model = load_model(trained / "model.safetensors")
    assert model.config == TrainerConfig.model_validate(exported["trainer"])
    environment = json.loads((folder / "sweeps" / "digits" / "environment.json").read_text())
    result = json.loads((trained / "result.json").read_text())
    for fingerprint in ("data_fingerprint", "split_fingerprint"):
        assert result[fingerprint] == exported[fingerprint] == environment[fingerprint]
    assert "note:" not in out, "same images, same split, same versions, nothing changed"

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'sweeps' / 'mlflow.db'}")
    (run,) = client.search_runs(["1"], "tags.`mt.arm` = 'train'")
    assert run.info.status == "FINISHED"
    assert f"{100 * run.data.metrics['test.teacher_error']:.1f} %" in out
    assert run.data.metrics["validation.teacher_error"] >= 0
    assert "registered in MLflow: models:/digits/1" in out
    assert client.get_model_version("digits", "1").run_id == run.info.run_id

    again = mt_sweep("train", "best.yaml", folder=folder).stdout
    assert "the test set is read once" in again
    assert out.splitlines()[-4:] == again.splitlines()[-4:]

    data = dataset.load(model.config.dataset)
    for i, image in enumerate(data.test[:20].numpy()):
        write_image(folder / f"images/{i:02}.png", image[..., 0])
    (folder / "images/torn.png").write_bytes(b"no image")
    done = mt_sweep("predict", trained.name, "images", "-o", "out.csv", folder=folder)
    assert "20 images classified, 1 left out, in out.csv" in done.stderr
    rows = list(csv.DictReader((folder / "out.csv").open()))
    assert [row["path"] for row in rows] == [f"images/{i:02}.png" for i in range(20)]
    expected = model.logits(data.test[:20]).argmax(1)
    assert [row["class"] for row in rows] == [model.classes[number] for number in expected]
    assert mt_sweep("predict", trained, "images", folder=folder).stdout == (folder / "out.csv").read_text()
    (folder / "bad").mkdir()
    (folder / "images/torn.png").rename(folder / "bad/torn.png")
    assert "not one of its images" in mt_sweep("predict", trained, "bad", folder=folder, status=1).stderr


def test_a_final_training_of_several_seeds_is_interrupted_and_goes_on(folder, printed):  # noqa: ARG001
    mt_sweep("export", "digits", "-o", "long.yaml", folder=folder)
    command = ("train", "long.yaml", "--seeds", 2, "--set", "trainer.steps=400", "--set", "trainer.evaluate_every=20")
    status, out = interrupted(*command, folder=folder, after="step 40/400", how=signal.SIGINT)
    assert status == 130, out
    assert "interrupted; the same command goes on from the last checkpoint" in out
    assert "note: not as exported, which result.json and MLflow say, too: steps" in out
    out = mt_sweep(*command, folder=folder).stdout
    assert "step 20/400" not in out.partition(", seed 1")[0], "it went on from its checkpoint"
    assert "step 400/400" in out
    assert "over 2 seeds, mean test error [95 %]" in out


def test_an_export_of_what_is_not_there_is_told(folder, printed):  # noqa: ARG001
    assert "did you mean 'digits'" in mt_sweep("export", "digit", folder=folder, status=2).stderr
    assert "cannot be written" in mt_sweep("export", "digits", "-o", "no/such/f", folder=folder, status=2).stderr
