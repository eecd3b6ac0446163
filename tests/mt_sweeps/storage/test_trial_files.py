"""The files of trials, in a folder and in an object store: the same answers."""

import threading
import time

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.storage import file_store, records
from mt_sweeps.storage.file_store import S3Files, StorageUnavailable, open_files
from mt_sweeps.storage.trial_files import AttemptDirectory, TrialFiles
from tests.helpers.servers.proxy import Proxy
from tests.helpers.servers.store import ObjectStore
from tests.helpers.sweeps import report
from trainers.files import BEST_MODEL, CHECKPOINT, PREVIOUS_CHECKPOINT


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with ObjectStore(tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture(params=["folder", "object store"])
def place(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return str(tmp_path / "trials")
    made = request.getfixturevalue("store")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return f"{made.place}/{tmp_path.name}"


def left(files, attempt, *names):
    """As a worker that trained leaves its place."""
    workplace = AttemptDirectory(files.address(TrialId("search", 7), attempt), None)
    for name in names:
        (workplace.path / name).write_bytes(f"{name} of attempt {attempt}".encode())
        workplace.upload()
    workplace.close()


def test_what_is_written_is_read_again_and_what_is_not_there_is_nothing(place):
    kept = open_files(place)
    assert kept.read("a/b") is None
    assert kept.names("a") == []
    kept.write("a/b", b"one")
    kept.write("a/b", b"two")
    kept.write("a/c/d", b"three")
    assert kept.read("a/b") == b"two"
    assert sorted(kept.names("a")) == ["b", "c/d"]
    kept.delete("a/b")
    kept.delete("a/b")
    assert kept.names("a") == ["c/d"]
    kept.delete_all()
    assert kept.names("") == []


def test_a_trial_goes_on_from_the_latest_attempt_that_left_a_checkpoint(place):
    files = TrialFiles(place)
    left(files, 1, CHECKPOINT)
    left(files, 2, BEST_MODEL, CHECKPOINT)
    left(files, 3, records.FILE)
    left(files, 10, records.FILE)
    assert files.last_checkpoint(TrialId("search", 7), before=11) == files.address(TrialId("search", 7), 2)
    assert files.last_checkpoint(TrialId("search", 7), before=2) == files.address(TrialId("search", 7), 1)
    assert files.last_checkpoint(TrialId("search", 7), before=1) is None
    assert files.last_checkpoint(TrialId("supervised", 7), before=11) is None
    taken = AttemptDirectory(files.address(TrialId("search", 7), 11), files.address(TrialId("search", 7), 2))
    assert (taken.path / CHECKPOINT).read_bytes() == b"checkpoint.pt of attempt 2"
    assert (taken.path / BEST_MODEL).read_bytes() == b"best.safetensors of attempt 2"
    files.drop_checkpoints(TrialId("search", 7))
    assert files.last_checkpoint(TrialId("search", 7), before=11) is None


def test_records_are_those_of_the_latest_attempt_that_has_any(place):
    files = TrialFiles(place)
    assert files.records(TrialId("search", 7)) == []
    files.begin(TrialId("search", 7), 1, [report(30, 0.3)])
    files.begin(TrialId("search", 7), 2, [report(30, 0.3), report(60, 0.2)])
    left(files, 10, BEST_MODEL)
    assert files.records(TrialId("search", 7)) == [report(30, 0.3), report(60, 0.2)]
    assert (AttemptDirectory(files.address(TrialId("search", 7), 2), None).path / records.FILE).exists(), (
        "the worker knows them, too"
    )


def test_the_best_model_is_there_as_a_file_until_it_is_dropped(place):
    files = TrialFiles(place)
    assert not files.has_model(TrialId("search", 7))
    left(files, 1, BEST_MODEL)
    left(files, 2, BEST_MODEL)
    with files.model(TrialId("search", 7)) as file:
        assert file.name == BEST_MODEL
        assert file.read_bytes() == b"best.safetensors of attempt 2"
    files.drop_model(TrialId("search", 7))
    assert not files.has_model(TrialId("search", 7))


def test_the_checkpoint_before_the_last_is_kept_where_the_worker_dies(store, monkeypatch):
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    workplace = AttemptDirectory(f"{store.place}/previous", None)
    for content in (b"one", b"two", b"two"):
        (workplace.path / CHECKPOINT).write_bytes(content)
        workplace.upload()
    (workplace.path / "scratch").write_bytes(b"not kept")
    workplace.upload()
    kept = open_files(f"{store.place}/previous")
    assert kept.read(CHECKPOINT) == b"two"
    assert kept.read(PREVIOUS_CHECKPOINT) in (b"one", b"two")
    assert "scratch" not in kept.names("")
    workplace.close()
    assert not workplace.path.exists()


def test_a_store_that_was_away_is_asked_again_and_one_that_stays_away_is_told(store, monkeypatch):
    proxy = Proxy(store.port)
    for name, value in {**store.environment, "AWS_ENDPOINT_URL": proxy.uri}.items():
        monkeypatch.setenv(name, value)
    kept = S3Files(f"{store.place}/outage", retry_seconds=60)
    kept.write("before", b"1")
    proxy.mode = "refuse"
    with pytest.raises(StorageUnavailable):
        S3Files(f"{store.place}/outage", retry_seconds=0.5).write("lost", b"2")
    threading.Timer(2, lambda: setattr(proxy, "mode", "pass")).start()
    began = time.monotonic()
    kept.write("during", b"3")
    assert time.monotonic() - began > 1
    assert sorted(kept.names("")) == ["before", "during"]
    proxy.close()


def test_what_somebody_else_put_there_is_passed_over(place):
    files = TrialFiles(place)
    left(files, 1, CHECKPOINT)
    for name in ("0007/attempt-x/checkpoint.pt", "0007/attempt-9/notes/checkpoint.pt", "0007/other/records.jsonl"):
        open_files(place).write(name, b"evil")
    assert files.last_checkpoint(TrialId("search", 7), 3) == files.address(TrialId("search", 7), 1)
    assert files.records(TrialId("search", 7)) == []


def test_a_place_that_cannot_be_used_is_told_with_what_to_do(store, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="name a folder that every node can reach"):
        file_store.check_file_store(str(tmp_path / "file"))
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    file_store.check_file_store(store.place)
    assert ".check" not in str(open_files(store.place).names(""))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(InputError, match="set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        file_store.check_file_store(store.place)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL"):
        file_store.check_file_store(store.place)
