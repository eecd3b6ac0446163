"""A sweep over images of which one class is rare, chosen by the balanced error, from the search to a prediction."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.spec.yaml_file import dump
from mt_sweeps.storage import records
from mt_sweeps.storage.open import open_home
from mt_sweeps.study.ledger import Ledger
from tests.helpers.training import write_image
from trainers.confusion import Confusion

COUNTS = {"common": 60, "other": 30, "rare": 10}
BALANCED = "validation.teacher_balanced_error"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of three classes, which differ in brightness, and a sweep over them that has run to its end."""
    made = tmp_path_factory.mktemp("rare")
    rng = np.random.default_rng(0)
    for part, share in (("train", 1.0), ("test", 0.5)):
        for c, (name, count) in enumerate(COUNTS.items()):
            for i in range(round(share * count)):
                pixels = rng.integers(70 * c, 70 * c + 110, (8, 8, 3)).astype(np.uint8)
                write_image(made / "images" / part / name / f"{i}.png", pixels)
    images = {"name": "image_folder", "root": str(made / "images"), "draw": "random"}
    content = {
        "name": "rare",
        "trainer": {
            "dataset": images | {"labels": 30, "validation": 30, "verdict": 20},
            "model": {"name": "small_cnn", "width": 4},
            "batch_size": 10,
            "labeled_batch_fraction": 0.5,
            "steps": 12,
            "evaluate_every": 4,
            "device": "cpu",
        },
        "search_space": {
            "sampling": {"type": "categorical", "choices": ["uniform", "class_balanced"]},
            "class_weights": {"type": "categorical", "choices": ["none", "balanced"]},
        },
        "sampler": {"name": "grid"},
        "objective": {"metric": BALANCED},
        "finalists": {"top": 1, "seeds": 2, "baselines": ["supervised"]},
    }
    (made / "rare.yaml").write_text(dump(content))
    return made


def command(folder, *arguments):
    done = CliRunner().invoke(cli, [*arguments, "--home", str(folder / "sweeps")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def test_it_is_run_by_the_balanced_error_and_its_model_is_tested_by_class(folder):
    summary = command(folder, "run", str(folder / "rare.yaml"), "--in-process").output
    assert "validation balanced error of the teacher" in summary
    assert "mean balanced error [95 %]" in summary
    assert "classes    balanced error" in summary

    home = open_home(str(folder / "sweeps"))
    sweep = home.sweep("rare")
    ledger = Ledger(sweep.ledger, sweep.load_spec())
    searched = ledger.trials("search")
    assert len({tuple(trial.values.values()) for trial in searched}) == 4
    ended = {trial.number: trial.last.metrics[BALANCED] for trial in searched if trial.state == "complete"}
    best = ledger.best()
    assert ended[best.number] == min(ended.values())
    for trial in ledger.all_trials():
        last = sweep.trials.records(trial.id)[-1]
        for name, content in last.confusion.items():
            matrix = Confusion.from_json(content)
            assert last.metrics[f"{name}_balanced_error"] == pytest.approx(matrix.balanced_error)
        assert trial.last.confusion == {}
    assert set(sweep.trials.records(TrialId("finalists", 0))[-1].confusion) >= {"validation.student", "verdict.student"}

    status = json.loads(command(folder, "status", "rare", "--json").output)["best"]
    assert (status["metric"], status["error"]) == (BALANCED, ended[best.number])
    assert "balanced error" in command(folder, "status", "rare").output

    command(folder, "export", "rare", "-o", str(folder / "best.yaml"))
    trained = command(folder, "train", str(folder / "best.yaml")).output
    assert "confusion matrix:" in trained
    (directory,) = home.trained.iterdir()
    result = json.loads((directory / "result.json").read_text())
    test = result["test"]["teacher"]
    assert result["classes"] == list(COUNTS)
    assert test["balanced_error"] == pytest.approx(np.mean(list(test["class_errors"].values())))
    assert sum(cell[2] for cell in test["confusion"]["cells"]) == 50
    assert records.read(directory)[-1].confusion

    predicted = json.loads(command(folder, "predict", directory.name, str(folder / "images" / "test"), "--json").stdout)
    assert predicted["confusion"] == test["confusion"]

    report = json.loads(command(folder, "report", "rare", "--json").output)
    assert report["sweep"]["error_name"] == "balanced error"
    assert [one["classes"] for one in report["classes"]] == [list(COUNTS)] * 2
    assert report["classes"][1]["confusion"] == test["confusion"]
    command(folder, "report", "rare")
    assert "Errors by class" in sweep.report.read_text()


def test_a_weight_for_no_class_is_refused_before_the_first_trial(folder):
    arguments = ["run", str(folder / "rare.yaml"), "--in-process", "--home", str(folder / "refused")]
    weights = [
        "--set",
        "trainer.class_weights={rarely: 2.0}",
        "--set",
        "search_space={sampling: {type: categorical, choices: [uniform]}}",
    ]
    refused = CliRunner().invoke(cli, [*arguments, *weights])
    message = "class_weights: rarely: there is no such class; the 3 classes are common, other, rare"
    assert message in str(refused.exception)
