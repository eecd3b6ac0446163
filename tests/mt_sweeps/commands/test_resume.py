"""What a resume refuses or completes before Ray is started: that is what these tests are quick by."""

import shutil
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.commands.resume import resume_sweep
from mt_sweeps.errors import InputError, SweepError, Unfinished
from mt_sweeps.execution import ray_cluster
from mt_sweeps.execution.coordinator import Coordinator
from mt_sweeps.results import status
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.study.ledger import Ledger
from tests.helpers.sweeps import begun, digits, of_folder, report, supervised_report
from tests.helpers.training import write_image, write_two_classes


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch):
    def started(_meanwhile):
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray_cluster, "start", started)


@pytest.mark.system
def test_a_sweep_does_not_go_on_with_other_images(tmp_path):
    images, home = write_two_classes(tmp_path / "images"), LocalHome(tmp_path / "home")
    begun(home, of_folder(images))
    write_image(images / "train" / "a" / "new.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="the images are not those that the sweep began with"):
        resume_sweep(home, "my-images")


def test_a_sweep_does_not_go_on_with_another_split(tmp_path):
    home = LocalHome(tmp_path)
    directory = begun(home, digits())
    directory.save_environment(replace(directory.load_environment(), split_fingerprint="of an earlier version"))
    with pytest.raises(InputError, match=r"the images serve other purposes than when the sweep began .*new sweep"):
        resume_sweep(home, "digits")


def test_a_sweep_has_one_driver_at_a_time(tmp_path):
    home = LocalHome(tmp_path)
    directory = begun(home, digits())
    assert status.sweep_status(directory).state == "interrupted"
    with directory.exclusive(""):
        assert status.sweep_status(directory).state == "running"
        with pytest.raises(InputError, match="another process is driving this sweep"):
            resume_sweep(home, "digits")
    assert status.sweep_status(directory).state == "interrupted"


def test_a_resume_that_is_refused_changes_nothing(tmp_path):
    home = LocalHome(tmp_path)
    directory = begun(home, digits())
    before = directory.spec_text()
    with directory.exclusive(""), pytest.raises(InputError, match=r"another process is driving .* --home"):
        resume_sweep(home, "digits", more=4)
    assert directory.spec_text() == before


def test_a_resume_reads_the_number_of_trials_when_it_is_the_only_one(tmp_path, monkeypatch):
    home = LocalHome(tmp_path)
    directory = begun(home, digits("trials=3"))

    @contextmanager
    def late(_):  # another process has added four trials since this one began
        directory.save_spec(directory.load_spec().model_copy(update={"trials": 7}))
        yield

    monkeypatch.setattr(directory, "exclusive", late)
    monkeypatch.setattr(home, "sweep", lambda _: directory)
    with pytest.raises(AssertionError, match="Ray was started"):
        resume_sweep(home, "digits", more=4)
    assert directory.load_spec().trials == 11


def spent(tmp_path, *more):
    """A sweep of three trials whose budget of an hour was spent after the first."""
    directory = begun(LocalHome(tmp_path), digits("trials=3", *(more or ("budget.hours=1",))))
    ledger = Ledger(directory.ledger, directory.load_spec())
    ledger.complete(ledger.ask_search(), report(300, 0.1))
    ledger.record_active_seconds(3601)
    ledger.save_time()
    ledger.close()
    return directory


def test_a_sweep_whose_budget_is_spent_says_so_and_takes_more_trials_only_with_more_hours(tmp_path, capsys):
    directory = spent(tmp_path)
    with pytest.raises(InputError, match=r"its budget is spent, so none of 2 more .*`.*resume digits.* --hours \+1`"):
        resume_sweep(directory.home, "digits", more=2)
    assert directory.load_spec().trials == 3, "nothing has changed"
    with pytest.raises(AssertionError, match="Ray was started"):
        resume_sweep(directory.home, "digits")
    assert "note: the budget of digits is spent, so no trial starts; give it more hours" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="Ray was started"):
        resume_sweep(directory.home, "digits", more=2, hours=0.5)
    assert "is spent" not in capsys.readouterr().out
    assert (directory.load_spec().trials, directory.load_spec().budget.hours) == (5, 1.5)


def test_hours_are_added_only_to_hours(tmp_path):
    directory = spent(tmp_path, "budget.gpu_hours=1")
    with pytest.raises(InputError, match=r"--hours: digits has no budget\.hours that could grow"):
        resume_sweep(directory.home, "digits", hours=1)


@pytest.mark.parametrize("text", ["1", "+0", "+x", "+inf", "+nan"])
def test_hours_that_are_no_addition_are_refused(text):
    refused = CliRunner().invoke(cli, ["resume", "digits", "--hours", text])
    assert refused.exit_code == 2
    assert "is no addition; write +H: +0.5 adds half an hour to the budget" in refused.output


@pytest.mark.parametrize("is_told", [True, False], ids=["edited", "as it was"])
def test_an_edit_of_the_file_since_the_sweep_began_is_reported_with_what_to_do(is_told, tmp_path, capsys):
    home = LocalHome(tmp_path / "home")
    directory, file = begun(home, digits()), tmp_path / "my space.yaml"
    file.write_text("edited")
    digest = "of what was run" if is_told else sha256(b"edited").hexdigest()
    directory.save_environment(replace(directory.load_environment(), file=str(file), file_digest=digest))
    with pytest.raises(AssertionError, match="Ray was started"):
        resume_sweep(home, "digits")
    out = capsys.readouterr().out
    assert ("has changed since the sweep began, and the change is not used" in out) == is_told
    assert (f"mt-sweep run '{file}' --home {home.path}" in out) == is_told


def test_a_home_that_is_deleted_under_a_sweep_ends_it_with_one_sentence_and_stays_deleted(
    tmp_path, monkeypatch, capsys
):
    home = LocalHome(tmp_path / "home")
    directory = begun(home, digits("trials=2", "finalists.baselines=[]"))
    monkeypatch.setenv("MT_SWEEP_SCRIPT", "{}")
    monkeypatch.setattr(Coordinator, "reported", lambda *_: shutil.rmtree(home.path))
    with pytest.raises(Unfinished) as error:
        resume_sweep(home, "digits", in_process=True)
    assert str(error.value).startswith(
        f"{directory.path}: was removed or moved while the sweep ran, so the sweep has ended"
    )
    assert not home.path.exists()
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.system
def test_resuming_a_finished_sweep_completes_mlflow_and_starts_nothing(tmp_path, capsys):
    home = LocalHome(tmp_path)
    directory = begun(home, digits("trials=1"))
    ledger = Ledger(directory.ledger, directory.load_spec())
    while trial := ledger.ask_search():
        errors = {
            "search": report(300, 0.25),
            "supervised": supervised_report(300, 0.5),
            "published": report(300, 0.375),
        }
        ledger.complete(trial, errors[trial.arm])
    resume_sweep(home, "digits")
    out = capsys.readouterr().out
    assert "digits is finished" in out
    assert "25.0 % ± 1.0" in out
    assert "supervised 50.0 % ± 1.0: the same network and steps without the unlabeled images" in out
    assert "published  37.5 % ± 1.0: the authors' values, as many steps, nothing searched" in out
    assert home.mlflow_db.exists()
    assert directory.best.exists(), "also where the driver died before it wrote the file"


@pytest.mark.system
def test_resuming_a_sweep_whose_trials_all_failed_says_that_it_failed(tmp_path):
    home = LocalHome(tmp_path)
    directory = begun(home, digits("trials=1", "finalists.baselines=[]"))
    ledger = Ledger(directory.ledger, directory.load_spec())
    ledger.fail(ledger.ask_search(), "diverged", "Diverged: nan", None)
    with pytest.raises(SweepError, match="no trial completed"):
        resume_sweep(home, "digits")
