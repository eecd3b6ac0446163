"""Bad trials, bad machines and bad data: told in words, with the right exit status."""

import os

import numpy as np
import pytest

from tests.helpers.command_line import DIGITS, IMAGE_FOLDER, IN_PROCESS, TINY, as_json, mt_sweep
from tests.helpers.training import write_image


def test_a_trial_that_raises_is_failed_with_its_reason_and_the_sweep_goes_on(tmp_path):
    rate = "search_space.optimizer.learning_rate={type: categorical, choices: [0.1, 1.0e+30]}"
    points = "points=[{optimizer.learning_rate: 0.1}, {optimizer.learning_rate: 1.0e+30}]"
    only = "finalists.baselines=[]"
    settings = (IN_PROCESS, *TINY, *sets(rate, points, only, "pruner.name=none"))
    out = mt_sweep("run", DIGITS, "--trials", 2, *settings, folder=tmp_path)
    assert "trial 1 failed: diverged" in out.stdout
    assert "failed     1 with diverged" in out.stdout
    search = as_json("status", folder=tmp_path)["arms"]["search"]
    assert (search["complete"], search["failed"]) == (1, 1)


def test_the_first_three_failing_alike_end_the_sweep_with_exit_status_1(tmp_path):
    rate = "trainer.optimizer.learning_rate=1.0e+30"
    done = mt_sweep("run", DIGITS, IN_PROCESS, *TINY, *sets(rate), folder=tmp_path, status=1)
    assert "the first three trials all failed with diverged" in done.stderr
    assert as_json("status", folder=tmp_path)["arms"]["search"]["failed"] <= 4


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("trainer.dataset.root=nowhere", "/nowhere (nowhere is relative to "),
        ("trainer.dataset.root=few", "is more than the 40 training images of few"),
        ("trainer.steps=0", "trainer.steps"),
    ],
)
def test_what_the_machine_cannot_do_is_refused_before_anything_starts(tmp_path, override, told):
    for name in ("a", "b"):
        for i in range(20):
            write_image(tmp_path / "few" / "train" / name / f"{i}.png", np.full((8, 8, 3), i, np.uint8))
    done = mt_sweep("run", IMAGE_FOLDER, *sets(override), folder=tmp_path, status=2)
    assert told in done.stderr
    assert str(IMAGE_FOLDER) in done.stderr
    assert not (tmp_path / "sweeps" / "my-images").exists()


def test_gpus_that_are_not_there_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = mt_sweep("run", DIGITS, *sets("resources.gpus_per_trial=1.0"), folder=tmp_path, status=2)
    assert f"{DIGITS}: resources.gpus_per_trial: asks for 1" in done.stderr
    assert not (tmp_path / "sweeps" / "digits").exists()


def test_a_disk_without_room_is_refused(tmp_path):
    huge = sets("trainer.model.width=1024", "trials=100000")
    done = mt_sweep("run", DIGITS, *huge, folder=tmp_path, status=2)
    assert "MB of disk" in done.stderr
    assert "--home DIR" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="for users other than root, who may write everywhere")
def test_a_home_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot be written" in mt_sweep("run", DIGITS, folder=tmp_path, status=2).stderr


def test_a_home_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "sweeps").write_text("")
    assert "cannot be written" in mt_sweep("run", DIGITS, folder=tmp_path, status=2).stderr


def test_a_folder_without_a_test_set_is_trained_and_says_so(tmp_path):
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("bright", 190)):
        for i in range(40):
            noise = rng.integers(-30, 30, (8, 8, 3))
            write_image(tmp_path / "images" / "train" / name / f"{i}.png", (level + noise).astype(np.uint8))
    small = sets("trainer.dataset.labels=10", "trainer.dataset.validation=20", "trainer.dataset.verdict=0")
    small += sets("trainer.batch_size=16", "finalists.baselines=[]", "finalists.top=0", "trainer.model.width=4")
    mt_sweep("run", IMAGE_FOLDER, IN_PROCESS, "--trials", 1, *small, "--set", "trainer.steps=20", folder=tmp_path)
    mt_sweep("export", "my-images", "-o", "best.yaml", folder=tmp_path)
    out = mt_sweep("train", "best.yaml", folder=tmp_path).stdout
    assert "the data set has no test images" in out


def test_a_budget_ends_a_sweep_with_what_it_has_and_status_0(tmp_path):
    hours = sets("budget.hours=0.002", "pruner.name=none")  # seven seconds
    out = mt_sweep("run", DIGITS, IN_PROCESS, "--trials", 200, *TINY, *hours, folder=tmp_path).stdout
    assert "the budget is spent" in out
    assert "best       trial" in out
    status = as_json("status", folder=tmp_path)
    search = status["arms"]["search"]
    assert status["state"] == "finished"
    assert search["complete"] >= 1
    assert search["running"] == 0
    assert search["waiting"] > 100


def sets(*overrides):
    return tuple(argument for override in overrides for argument in ("--set", override))
