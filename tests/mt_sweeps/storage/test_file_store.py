"""What only an object store does: it may be away, and it may refuse."""

import threading
import time

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.storage import file_store
from mt_sweeps.storage.file_store import S3Files, StorageUnavailable, open_files
from tests.helpers.servers.proxy import Proxy


@pytest.mark.system
def test_a_store_that_comes_back_is_used_again_and_one_that_stays_away_is_an_error(
    object_store, s3_location, monkeypatch
):
    proxy = Proxy(object_store.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.uri)
    files = S3Files(s3_location, retry_seconds=60)
    files.write("before", b"1")
    proxy.mode = "refuse"
    with pytest.raises(StorageUnavailable):
        S3Files(s3_location, retry_seconds=0.5).write("lost", b"2")
    threading.Timer(2, lambda: setattr(proxy, "mode", "pass")).start()
    started = time.monotonic()
    files.write("during", b"3")
    assert time.monotonic() - started > 1
    assert sorted(files.names("")) == ["before", "during"]
    proxy.close()


def test_a_folder_that_cannot_be_used_is_an_error_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="name a folder that every node can reach"):
        file_store.check_file_store(str(tmp_path / "file"))


def test_the_check_of_a_folder_leaves_nothing_in_it(tmp_path):
    file_store.check_file_store(str(tmp_path / "trials"))
    assert list((tmp_path / "trials").iterdir()) == []


@pytest.mark.system
def test_an_object_store_that_cannot_be_used_is_an_error_with_what_to_do(s3_location, monkeypatch):
    file_store.check_file_store(s3_location)
    assert open_files(s3_location).names("") == []
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(InputError, match="set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        file_store.check_file_store(s3_location)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL"):
        file_store.check_file_store(s3_location)
