"""A network and a data set of one's own, through the whole service."""

import csv
import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from tests.helpers.command_line import IN_PROCESS, REPOSITORY, as_json, interrupted, mt_sweep

OPTION = ("--plugin", "own_things")
SMALL = ("--trials", "2", "--set", "trainer.steps=30", "--set", "finalists={top: 0, baselines: []}")

SERVED = """
import json, sys, mlflow, numpy
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/stripes/1")
print(json.dumps([model.predict(numpy.load(sys.argv[2])).argmax(1).tolist(), sys.modules["own_things"].__file__]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the example under another name, which is nowhere else, and a finished sweep of it.

    Its driver was killed once, and resumed.
    """
    path = tmp_path_factory.mktemp("plugins")
    shutil.copy(REPOSITORY / "examples" / "my_plugin.py", path / "own_things.py")
    shutil.copy(REPOSITORY / "examples" / "my_plugin.yaml", path / "space.yaml")
    run = ("run", "space.yaml", *OPTION, *SMALL)
    status, out = interrupted(*run, folder=path, after="step 10", how=signal.SIGKILL)
    assert status == -signal.SIGKILL, out
    return path


@pytest.fixture(scope="module")
def finished(folder):
    refused = mt_sweep("resume", "stripes", folder=folder, status=2).stderr
    assert (
        "stripes: needs own_things, and no file can make that be imported; name it yourself: --plugin own_things"
        in refused
    )
    out = mt_sweep("resume", "stripes", IN_PROCESS, *OPTION, folder=folder).stdout
    assert "mt-sweep export stripes -o best.yaml --plugin=own_things" in out
    mt_sweep("export", "stripes", "-o", "best.yaml", *OPTION, folder=folder)
    mt_sweep("train", "best.yaml", *OPTION, folder=folder)
    return folder


def test_a_killed_sweep_of_a_plugin_is_resumed_where_the_user_names_it_again(finished):
    status = as_json("status", "stripes", *OPTION, folder=finished)
    assert (status["state"], status["arms"]["search"]["complete"]) == ("finished", 2)
    versions = json.loads((finished / "sweeps" / "stripes" / "environment.json").read_text())["versions"]
    assert [name for name in versions if name.startswith("plugin ")] == ["plugin own_things"]


def test_commands_that_lack_the_plugin_say_which(finished):
    for command in (("best", "stripes"), ("status",), ("report", "stripes"), ("train", "best.yaml")):
        assert "needs own_things" in mt_sweep(*command, folder=finished, status=2).stderr
    (model,) = (finished / "sweeps" / "trained").iterdir()
    (finished / "images").mkdir(exist_ok=True)
    Image.fromarray(np.zeros((12, 12), np.uint8)).save(finished / "images" / "black.png")
    without = mt_sweep("predict", model.name, "images", folder=finished, status=2).stderr
    assert "a plugin that was not imported: own_things; name it (--plugin own_things)" in without
    rows = list(csv.DictReader(mt_sweep("predict", model.name, "images", *OPTION, folder=finished).stdout.splitlines()))
    assert rows[0]["class"] in ("horizontal", "falling", "vertical", "rising")


def test_the_model_in_mlflow_brings_the_code_of_its_plugin(finished, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 1), np.uint8)
    np.save(tmp_path / "images.npy", images)
    uri = f"sqlite:///{finished / 'sweeps' / 'mlflow.db'}"
    command = [sys.executable, "-c", SERVED, uri, tmp_path / "images.npy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    classes, file = json.loads(done.stdout.splitlines()[-1])
    assert len(classes) == 5
    assert str(finished / "sweeps" / "artifacts") in file, "the plugin is installed nowhere"
    (model,) = (finished / "sweeps" / "trained").iterdir()
    with safe_open(model / "model.safetensors", framework="np") as stored:
        assert json.loads(stored.metadata()["plugins"]) == ["own_things"]


def test_a_sweep_of_a_plugin_that_cannot_be_imported_does_not_start(folder):
    refused = mt_sweep("run", "space.yaml", "--plugin", "nowhere", "--name", "other", folder=folder, status=2).stderr
    assert "--plugin nowhere: cannot be imported on this machine" in refused
    assert not (folder / "sweeps" / "other").exists()
