"""Which images `inspect` writes, and what it says where models or images are gone."""

import csv
import json
import math
import shutil

import pytest
from click.testing import CliRunner
from PIL import Image

from mt_sweeps import report
from mt_sweeps.cli import cli
from mt_sweeps.commands.inspect import inspect
from mt_sweeps.errors import InputError
from mt_sweeps.results import pictures
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.study.ledger import Ledger
from tests.helpers.sweeps import begun, digits, finish
from trainers import Trainer
from trainers.data import dataset
from trainers.data.splits import split_for
from trainers.files import BEST_MODEL

pytestmark = pytest.mark.system  # the networks are really trained

STEPS = ("trials=2", "trainer.steps=20", "trainer.evaluate_every=20", "finalists.baselines=[]", "pruner.name=none")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A home with a sweep of two trials whose teachers were trained for a few steps."""
    home = LocalHome(tmp_path_factory.mktemp("home"))
    sweep = begun(home, digits(*STEPS))
    ledger = Ledger(sweep.ledger, sweep.load_spec())
    for error in (0.3, 0.2):
        trial = ledger.ask_search()
        finish(ledger, trial, error)
        folder = home.path / "digits" / "trials" / trial.id.slug / "attempt-1"
        reports = list(Trainer(ledger.spec.config(trial.values, trial.arm), folder).run())
        sweep.trials.begin(trial.id, trial.attempt, reports)
        assert (folder / BEST_MODEL).exists()
    ledger.close()
    return home


@pytest.fixture
def home(trained, tmp_path, monkeypatch):
    """A copy that a test may change, with commands as they are called."""
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    shutil.copytree(trained.path, tmp_path / "home")
    return LocalHome(tmp_path / "home")


def rows(folder, name):
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def purposes(home):
    config = home.sweep("digits").load_spec().sample_config()
    data = dataset.load(config.dataset)
    return data, split_for(config, data.train_labels.numpy(), data.classes, None, data.groups)


def numbers(found):
    return [int(row["path"].removeprefix("training image ")) for row in found]


def test_the_least_certain_unlabeled_images_come_first_with_a_picture(home, tmp_path):
    found = inspect(home, "digits", tmp_path / "out", images=10, model=None)
    assert (found.model, found.compared, found.unlabeled) == ("trial 1", ["trial 1", "trial 0"], 788)
    shown = rows(tmp_path / "out", "least_certain")
    assert len(shown) == 10
    assert set(numbers(shown)) <= set(purposes(home)[1].unlabeled.tolist())
    entropies = [float(row["entropy"]) for row in shown]
    assert entropies == sorted(entropies, reverse=True)
    assert 0 < entropies[0] <= math.log(10) + 1e-6
    assert all(0.1 <= float(row["probability"]) < 0.9 for row in shown)
    with Image.open(tmp_path / "out" / "least_certain.png") as picture:
        assert picture.width == 2 + 8 * 130
        assert picture.height > 2 * 128


def test_what_the_teachers_disagree_on_is_a_table_of_its_own(home, tmp_path):
    inspect(home, "digits", tmp_path / "out", images=5, model=None)
    apart = [float(row["disagreement"]) for row in rows(tmp_path / "out", "disagreement")]
    assert apart == sorted(apart, reverse=True)
    assert 0 < apart[0] <= math.log(2) + 1e-6


def test_the_worst_mistakes_are_validation_images_with_their_class_and_what_they_were_taken_for(home, tmp_path):
    found = inspect(home, "digits", tmp_path / "out", images=500, model=None)
    data, split = purposes(home)
    shown = rows(tmp_path / "out", "mistakes")
    assert found.mistakes == len(shown) > 10
    assert set(numbers(shown)) <= set(split.validation.tolist())
    assert [row["true"] for row in shown] == [data.classes[data.train_labels[i]] for i in numbers(shown)]
    assert all(row["true"] != row["predicted"] for row in shown)
    of_true = [float(row["of_true"]) for row in shown]
    assert of_true == sorted(of_true)


def test_the_next_report_shows_the_images_as_small_pictures(home):
    assert "<code>mt-sweep inspect digits" in report.write(home.sweep("digits")).read_text()
    found = inspect(home, "digits", None, images=20, model=None)
    assert found.folder == str(home.path / "digits" / "inspect")
    page = report.write(home.sweep("digits")).read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 3 * pictures.MOST
    error = found.mistakes / found.validation
    weights = f"the weights that are kept, those of step 20, with an error of {100 * error:.1f} %"
    assert found.weights == weights
    assert f"The worst mistakes of trial 1 ({weights}) on the validation images" in page
    assert f"trial 1 ({weights}): 788 unlabeled images; {found.mistakes} of 300 validation images wrong" in str(found)
    assert len(page) < 400_000
    assert "pictures" not in report.build(home.sweep("digits")).as_json()


def test_damaged_pictures_cost_the_report_nothing_else(home):
    inspect(home, "digits", None, images=3, model=None)
    (home.path / "digits" / "inspect" / pictures.FILE).write_text('{"sets": [{"title": "<b>", "pictures": 3}]}')
    assert "<img" not in report.write(home.sweep("digits")).read_text()


def test_one_teacher_disagrees_with_nobody_which_is_said_and_old_tables_go(home):
    inspect(home, "digits", None, images=3, model=None)
    shutil.rmtree(home.path / "digits" / "trials" / "0000")
    found = inspect(home, "digits", None, images=3, model=None)
    assert "one trial alone" in str(found)
    assert not (home.path / "digits" / "inspect" / "disagreement.csv").exists()
    assert rows(home.path / "digits" / "inspect", "least_certain")[0]["disagreement"] == ""


def test_without_the_weights_of_the_trials_it_says_how_to_get_a_model(home, tmp_path):
    weights = home.path / "digits" / "trials" / "0001" / "attempt-1" / BEST_MODEL
    shutil.copy(weights, tmp_path / "model.safetensors")
    shutil.rmtree(home.path / "digits" / "trials")
    result = CliRunner().invoke(cli, ["inspect", "digits", "--home", str(home.path)])
    assert isinstance(result.exception, InputError)
    assert "train the final model: mt-sweep export digits -o best.yaml" in str(result.exception)
    found = inspect(home, "digits", None, images=3, model=str(tmp_path / "model.safetensors"))
    assert found.model == f"the model {tmp_path / 'model.safetensors'}"


def test_other_images_than_those_of_the_sweep_are_refused(home):
    environment = home.path / "digits" / "environment.json"
    content = json.loads(environment.read_text())
    environment.write_text(json.dumps(content | {"data_fingerprint": "another"}))
    with pytest.raises(InputError, match="images have changed"):
        inspect(home, "digits", None, images=3, model=None)


def test_the_test_images_are_never_read(home, monkeypatch):
    def refuse(config, load=dataset.load):
        data = load(config)
        object.__setattr__(data, "test", None)
        return data

    dataset.load.cache_clear()
    monkeypatch.setattr(dataset, "load", refuse)
    assert inspect(home, "digits", None, images=3, model=None).files
    monkeypatch.undo()
    dataset.load.cache_clear()


def test_scripts_get_it_as_json(home):
    done = CliRunner().invoke(cli, ["inspect", "digits", "--json", "--images", "2", "--home", str(home.path)])
    shown = json.loads(done.stdout)
    assert shown["format"] == "mt-sweeps-inspection/1"
    assert shown["files"] == [f"{n}.{s}" for n in ("least_certain", "disagreement", "mistakes") for s in ("csv", "png")]
    assert shown["validation"] == 300
