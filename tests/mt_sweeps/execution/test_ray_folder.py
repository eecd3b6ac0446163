"""Where Ray keeps its sockets."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.execution import ray_folder
from mt_sweeps.execution.ray_folder import RayFolder

KILLED = """
import os, sys, tempfile
tempfile.tempdir = sys.argv[1]
from mt_sweeps.execution.ray_folder import RayFolder
print(RayFolder().path, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def short(monkeypatch):
    """A folder for temporary files whose path is short enough."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_the_folder_is_private_and_is_removed(short):
    made = RayFolder()
    assert made.path.parent == short
    assert made.path.stat().st_mode & 0o777 == 0o700
    (made.path / "session" / "sockets").mkdir(parents=True)
    made.remove()
    assert list(short.iterdir()) == []


@pytest.mark.parametrize("length", [50, 90, 200])
def test_where_temporary_files_have_a_long_path_the_folder_is_elsewhere_and_short(monkeypatch, tmp_path, length):
    long = tmp_path / ("x" * max(1, length - len(str(tmp_path)) - 1))
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    made = RayFolder()
    socket = f"{made.inner}/session_2026-11-27_16-22-49_123456_1234567/sockets/plasma_store"
    assert len(os.fsencode(socket)) <= 107
    assert made.path.stat().st_mode & 0o777 == 0o700
    made.remove()


def test_one_sentence_says_what_to_do_where_there_is_no_such_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 60)))
    monkeypatch.setattr(ray_folder, "_OTHERS", ("/nowhere",))
    with pytest.raises(InputError, match=r"^TMPDIR: Ray needs a folder .* set TMPDIR to one, or use --in-process$"):
        RayFolder()


def test_the_folder_of_a_process_that_was_killed_is_removed_by_the_next(short):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(short)], capture_output=True, text=True)
    abandoned = Path(killed.stdout.strip())
    assert abandoned.is_dir()
    alive = RayFolder()
    for folder in (abandoned, alive.path):
        os.utime(folder, (0, 0))  # no longer young
    other = RayFolder()
    assert not abandoned.exists()
    assert alive.path.is_dir()
    for made in (alive, other):
        made.remove()
