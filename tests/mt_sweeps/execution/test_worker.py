"""The worker without Ray around it: what Ray calls, called by hand."""

import errno
import hashlib
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from mt_sweeps.execution.attempt import DISK_FULL, Assignment, GpuLost, make_trainer
from mt_sweeps.execution.simulated_trainer import VARIABLE, Script
from mt_sweeps.execution.worker import TrialWorker
from mt_sweeps.plugins import import_plugins, plugin_code
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.storage import records
from mt_sweeps.storage.file_store import open_files
from tests.helpers.plugins import plugins, write_plugin  # noqa: F401 (a fixture)
from tests.helpers.training import config, in_fresh_process
from trainers import CrossValidation, Trainer
from trainers.errors import DataError
from trainers.files import BEST_MODEL, CHECKPOINT
from trainers.models import build


def assigned(settings, address="", previous=None, gpus=0.0):
    return Assignment(TrialId("search", 0), 1, settings.model_dump_json(), {}, address, previous, 1, gpus)


def assignment(directory, previous=None, **changes):
    if previous is not None:  # as the driver does
        open_files(str(directory)).write(records.FILE, records.text(records.read(previous)).encode())
    previous = str(previous) if previous else None
    return {"assignment": assigned(config(**changes), str(directory), previous)}


@pytest.fixture
def worker(tmp_path):
    made = TrialWorker.__new__(TrialWorker)  # Ray's own constructor wants a cluster
    made.setup(assignment(tmp_path / "unused"))
    return made


def to_its_end(worker):
    outcomes = [worker.step()["outcome"]]
    while not outcomes[-1].done:
        outcomes.append(worker.step()["outcome"])
    return outcomes


def result(directory):
    metrics = [
        {name: value for name, value in one.metrics.items() if not name.startswith(("time.", "memory."))}
        for one in records.read(directory)
    ]
    return metrics, load_file(directory / BEST_MODEL)


def assert_same(one, other):
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(one[1][name], other[1][name]) for name in one[1])


ONE_PROCESS = """
import sys
from mt_sweeps.execution.attempt import Assignment, Attempt
from mt_sweeps.spec.arms import TrialId
attempt = Attempt(Assignment(TrialId("search", 0), 1, sys.argv[1], {}, sys.argv[2], None, 1, 0.0))
while not attempt.advance().done:
    pass
"""


@pytest.mark.system
def test_a_trial_in_a_reused_worker_equals_the_same_trial_in_a_fresh_process(worker, tmp_path):
    for directory, seed in ((tmp_path / "other", 5), (tmp_path / "reused", 1)):
        worker.reset_config(assignment(directory, seed=seed, model={"name": "small_cnn", "width": 4, "dropout": 0.3}))
        to_its_end(worker)
    same = config(seed=1, model={"name": "small_cnn", "width": 4, "dropout": 0.3})
    in_fresh_process(ONE_PROCESS, same.model_dump_json(), tmp_path / "fresh")
    assert_same(result(tmp_path / "reused"), result(tmp_path / "fresh"))


def test_an_attempt_goes_on_from_the_one_before_it_and_leaves_that_one_alone(worker, tmp_path):
    worker.reset_config(assignment(tmp_path / "whole"))
    to_its_end(worker)
    worker.reset_config(assignment(tmp_path / "attempt-1"))
    worker.step()
    before = records.read(tmp_path / "attempt-1")
    worker.reset_config(assignment(tmp_path / "attempt-2", previous=tmp_path / "attempt-1"))
    steps = [outcome.report.step for outcome in to_its_end(worker)]
    assert steps == [2, 4, 6], "the last report of the attempt before is told again, then training goes on"
    assert_same(result(tmp_path / "attempt-2"), result(tmp_path / "whole"))
    assert records.read(tmp_path / "attempt-1") == before


def test_a_cross_validated_trial_goes_on_in_the_fold_where_it_was(worker, tmp_path):
    folds = {"dataset": {"name": "digits", "labels": 20, "validation": 0, "folds": 2}}
    worker.reset_config(assignment(tmp_path / "whole", **folds))
    assert [outcome.report.step for outcome in to_its_end(worker)] == [2, 4, 6, 8, 10, 12]
    worker.reset_config(assignment(tmp_path / "attempt-1", **folds))
    for _ in range(4):
        worker.step()
    worker.reset_config(assignment(tmp_path / "attempt-2", previous=tmp_path / "attempt-1", **folds))
    assert [outcome.report.step for outcome in to_its_end(worker)] == [8, 10, 12]
    first, second = ([report.confusion for report in records.read(tmp_path / name)] for name in ("whole", "attempt-2"))
    assert second == first


def test_an_attempt_after_a_finished_one_only_tells_its_end(worker, tmp_path):
    worker.reset_config(assignment(tmp_path / "attempt-1"))
    to_its_end(worker)
    worker.reset_config(assignment(tmp_path / "attempt-2", previous=tmp_path / "attempt-1"))
    results = to_its_end(worker)
    assert [outcome.report.step for outcome in results] == [6]


def test_a_trial_that_raises_is_a_failure_with_its_reason_and_the_worker_lives_on(worker, tmp_path):
    worker.reset_config(assignment(tmp_path / "bad", optimizer={"name": "sgd", "learning_rate": 1e30}))
    assert to_its_end(worker)[-1].failure.reason == "diverged"
    assert "Diverged" in (tmp_path / "bad" / "error.txt").read_text()
    worker.reset_config(assignment(tmp_path / "good"))
    assert to_its_end(worker)[-1].failure is None


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_worker_whose_gpu_is_lost_takes_no_other_trial(worker, tmp_path, monkeypatch, is_lost):
    def synchronize():
        if is_lost:
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    worker.reset_config(assignment(tmp_path / "bad", optimizer={"name": "sgd", "learning_rate": 1e30}))
    if is_lost:
        with pytest.raises(GpuLost, match=r"CUDA fails in this process since an error: .*is nan by step"):
            to_its_end(worker)
    else:
        assert to_its_end(worker)[-1].failure.reason == "diverged"
    assert "Diverged" in (tmp_path / "bad" / "error.txt").read_text()


def test_a_trial_whose_last_checkpoint_is_torn_goes_on_from_the_one_before_it(worker, tmp_path):
    worker.reset_config(assignment(tmp_path / "whole"))
    to_its_end(worker)
    worker.reset_config(assignment(tmp_path / "attempt-1"))
    worker.step()
    worker.step()
    torn = tmp_path / "attempt-1" / CHECKPOINT
    torn.write_bytes(torn.read_bytes()[:1000])
    worker.reset_config(assignment(tmp_path / "attempt-2", previous=tmp_path / "attempt-1"))
    with pytest.warns(UserWarning, match=r"checkpoint\.pt cannot be read .* going on from .*checkpoint\.previous\.pt"):
        steps = [outcome.report.step for outcome in to_its_end(worker)]
    assert steps == [2, 4, 6]
    assert_same(result(tmp_path / "attempt-2"), result(tmp_path / "whole"))


def test_a_trial_without_a_checkpoint_that_can_be_read_begins_anew_and_keeps_the_torn_file(worker, tmp_path):
    worker.reset_config(assignment(tmp_path / "whole"))
    to_its_end(worker)
    worker.reset_config(assignment(tmp_path / "attempt-1"))
    worker.step()
    torn = tmp_path / "attempt-1" / CHECKPOINT
    torn.write_bytes(torn.read_bytes()[:1000])
    worker.reset_config(assignment(tmp_path / "attempt-2", previous=tmp_path / "attempt-1"))
    with pytest.warns(UserWarning, match=r"checkpoint\.pt cannot be read .* begins anew"):
        steps = [outcome.report.step for outcome in to_its_end(worker)]
    assert steps == [2, 4, 6]
    assert_same(result(tmp_path / "attempt-2"), result(tmp_path / "whole"))
    assert (tmp_path / "attempt-2" / f"{CHECKPOINT}.unreadable").exists()


def test_a_full_disk_is_told_apart_from_a_trials_own_failures(worker, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(records, "append", full)
    worker.reset_config(assignment(tmp_path / "attempt-1"))
    assert worker.step()["outcome"].failure.reason == DISK_FULL


def test_a_scripted_trial_reports_fails_and_resumes_as_its_script_says(worker, tmp_path, monkeypatch):
    script = Script(fails={"0001": "diverged", "0002": "out_of_memory", "0003": "error"})
    monkeypatch.setenv(VARIABLE, script.model_dump_json())
    for name, reason in script.fails.items():
        worker.reset_config(assignment(tmp_path / name / "attempt-1"))
        assert to_its_end(worker)[-1].failure.reason == reason
    worker.reset_config(assignment(tmp_path / "0000" / "attempt-1"))
    whole = [outcome.report.metrics for outcome in to_its_end(worker)]
    worker.reset_config(assignment(tmp_path / "0004" / "attempt-1"))
    worker.step()
    worker.reset_config(assignment(tmp_path / "0004" / "attempt-2", previous=tmp_path / "0004" / "attempt-1"))
    assert [outcome.report.metrics for outcome in to_its_end(worker)] == whole


def test_a_share_of_a_gpu_is_a_cap_on_its_memory_with_room_for_cuda(monkeypatch, tmp_path):
    caps = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", caps.append)
    monkeypatch.setattr("trainers.trainer.Trainer", lambda *_: None)
    for gpus in (0.0, 0.25, 1.0, 2.0):
        make_trainer(assigned(config(device="auto"), gpus=gpus), tmp_path)
    assert caps == [0.225]


def test_a_trial_refuses_first_weights_that_the_sweep_did_not_begin_with(tmp_path):
    model = {"name": "timm", "architecture": "test_resnet"}
    torch.save(build(config(model=model).model, 1, 10).features.state_dict(), tmp_path / "weights.pth")
    digest = hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()
    settings = config(model={**model, "weights": str(tmp_path / "weights.pth")})
    make_trainer(replace(assigned(settings), first_weights=digest), tmp_path / "same")
    with pytest.raises(DataError, match=r"model\.weights: the file is not the one that the sweep began with"):
        make_trainer(replace(assigned(settings), first_weights="0" * 64), tmp_path / "other")


@pytest.mark.parametrize("split", [{"validation": 50}, {"validation": 0, "folds": 2}], ids=["one split", "folds"])
def test_a_trial_refuses_images_that_the_sweep_did_not_begin_with(split, tmp_path):
    settings = config(dataset={"name": "digits", "labels": 50} | split)
    same = Trainer(config()).data_fingerprint
    made = make_trainer(replace(assigned(settings), data_fingerprint=same), tmp_path / "same")
    assert isinstance(made, CrossValidation) == ("folds" in split)
    with pytest.raises(DataError, match="dataset: the images are not those that the sweep began with; bring them back"):
        make_trainer(replace(assigned(settings), data_fingerprint="0" * 64), tmp_path / "other")


def test_a_trial_whose_plugin_cannot_be_imported_fails_with_the_reason(worker, tmp_path):
    lacking = replace(assigned(config(), str(tmp_path)), plugins={"nowhere_to_be_found": ""})
    worker.reset_config({"assignment": lacking})
    (outcome,) = to_its_end(worker)
    assert outcome.failure.reason == "error"
    assert "plugin nowhere_to_be_found: cannot be imported on this machine" in outcome.failure.message


def test_a_trial_whose_plugin_is_not_the_drivers_fails_with_the_reason(worker, tmp_path, plugins, monkeypatch):  # noqa: ARG001, F811
    monkeypatch.chdir(tmp_path)
    write_plugin(tmp_path, "edited_since")
    import_plugins(["edited_since"], "--plugin")
    settings = config(model={"name": "written"})
    worker.reset_config({"assignment": replace(assigned(settings, str(tmp_path)), plugins={"edited_since": "before"})})
    (outcome,) = to_its_end(worker)
    assert "plugin edited_since: its file has changed since the driver started" in outcome.failure.message
    assert replace(assigned(settings), plugins=plugin_code(settings)).config == settings
