import os
import stat
from pathlib import Path

import pytest

from trainers.files import write_atomically


def test_bytes_are_written_as_they_are_and_text_as_utf8(tmp_path):
    write_atomically(tmp_path / "bytes", b"\x00\xff\r\n")
    write_atomically(tmp_path / "text", "é\n")
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff\r\n"
    assert (tmp_path / "text").read_bytes() == b"\xc3\xa9\n"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fails(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, call, fails)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_complete_before_it_takes_its_name(tmp_path, monkeypatch):
    path = tmp_path / "file"
    seen = []
    replace = os.replace

    def spy(source, target, **kw):
        seen.append((path.exists(), os.fspath(target) == str(path), Path(source).read_bytes()))
        return replace(source, target, **kw)

    monkeypatch.setattr(os, "replace", spy)
    write_atomically(path, "whole")
    assert seen == [(False, True, b"whole")]


def test_the_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", "x")
        assert os.umask(0o027) == 0o027  # and the umask is left as it is
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
