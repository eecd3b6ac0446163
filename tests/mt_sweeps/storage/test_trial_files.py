"""The files of trials: attempts, records, models and checkpoints, in every store of files."""

import pytest

from mt_sweeps.spec.arms import TrialId
from mt_sweeps.storage import records
from mt_sweeps.storage.file_store import open_files
from mt_sweeps.storage.trial_files import PICTURES, AttemptDirectory, TrialFiles
from tests.helpers.sweeps import report
from trainers.files import BEST_MODEL, CHECKPOINT, PREVIOUS_CHECKPOINT

TRIAL = TrialId("search", 7)


@pytest.fixture
def files(location):
    return TrialFiles(location)


def train(files, attempt, *names):
    """Leave these files in the folder of an attempt, as a worker does."""
    directory = AttemptDirectory(files.address(TRIAL, attempt), None)
    for name in names:
        (directory.path / name).write_bytes(f"{name} of attempt {attempt}".encode())
        directory.upload()
    directory.close()


def test_a_trial_resumes_from_the_latest_attempt_that_left_a_checkpoint(files):
    train(files, 1, CHECKPOINT)
    train(files, 2, BEST_MODEL, CHECKPOINT)
    train(files, 3, records.FILE)
    train(files, 10, records.FILE)
    assert files.last_checkpoint(TRIAL, before=11) == files.address(TRIAL, 2)
    assert files.last_checkpoint(TRIAL, before=2) == files.address(TRIAL, 1)
    assert files.last_checkpoint(TRIAL, before=1) is None
    assert files.last_checkpoint(TrialId("supervised", 7), before=11) is None
    directory = AttemptDirectory(files.address(TRIAL, 11), files.address(TRIAL, 2))
    assert (directory.path / CHECKPOINT).read_bytes() == b"checkpoint.pt of attempt 2"
    assert (directory.path / BEST_MODEL).read_bytes() == b"best.safetensors of attempt 2"
    files.drop_checkpoints(TRIAL)
    assert files.last_checkpoint(TRIAL, before=11) is None


def test_records_are_those_of_the_latest_attempt_that_has_any(files):
    assert files.records(TRIAL) == []
    files.begin(TRIAL, 1, [report(30, 0.3)])
    files.begin(TRIAL, 2, [report(30, 0.3), report(60, 0.2)])
    train(files, 10, BEST_MODEL)
    assert files.records(TRIAL) == [report(30, 0.3), report(60, 0.2)]
    directory = AttemptDirectory(files.address(TRIAL, 2), None)
    assert records.read(directory.path) == [report(30, 0.3), report(60, 0.2)], "the worker has them, too"


def test_the_best_model_is_there_as_a_file_until_it_is_dropped(files):
    assert not files.has_model(TRIAL)
    train(files, 1, BEST_MODEL)
    train(files, 2, BEST_MODEL)
    with files.model(TRIAL) as file:
        assert file.name == BEST_MODEL
        assert file.read_bytes() == b"best.safetensors of attempt 2"
    files.drop_model(TRIAL)
    assert not files.has_model(TRIAL)


def test_the_pictures_are_those_of_the_latest_attempt_that_has_any(files):
    assert files.pictures(TRIAL) is None
    for attempt in (2, 10):
        train(files, attempt, PICTURES)
    train(files, 11, records.FILE)
    assert files.pictures(TRIAL) == b"pictures.json of attempt 10"


def test_the_traceback_of_a_failure_is_kept_beside_the_files_of_its_attempt(files, location):
    directory = AttemptDirectory(files.address(TRIAL, 1), None)
    directory.write_error("Traceback: ...")
    directory.close()
    assert open_files(location).read("0007/attempt-1/error.txt") == b"Traceback: ..."


def test_files_that_are_no_trials_are_ignored(files, location):
    train(files, 1, CHECKPOINT)
    for name in ("0007/attempt-x/checkpoint.pt", "0007/attempt-9/notes/checkpoint.pt", "0007/other/records.jsonl"):
        open_files(location).write(name, b"evil")
    assert files.last_checkpoint(TRIAL, 3) == files.address(TRIAL, 1)
    assert files.records(TRIAL) == []


def test_the_files_of_all_trials_are_deleted_together(files, location):
    train(files, 1, CHECKPOINT)
    files.begin(TrialId("finalists", 0), 1, [])
    files.delete()
    assert open_files(location).names("") == []


@pytest.mark.system
def test_an_object_store_keeps_the_checkpoint_before_the_last_and_nothing_that_is_not_needed(s3_location):
    directory = AttemptDirectory(s3_location, None)
    for content in (b"one", b"two", b"two"):
        (directory.path / CHECKPOINT).write_bytes(content)
        directory.upload()
    (directory.path / "scratch").write_bytes(b"not kept")
    directory.upload()
    kept = open_files(s3_location)
    assert kept.read(CHECKPOINT) == b"two"
    assert kept.read(PREVIOUS_CHECKPOINT) in (b"one", b"two")
    assert "scratch" not in kept.names("")
    directory.close()
    assert not directory.path.exists()
