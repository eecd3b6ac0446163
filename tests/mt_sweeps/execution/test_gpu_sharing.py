import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.execution import gpu_sharing
from mt_sweeps.spec.sections import Resources

# NVIDIA's program as far as it is used: a daemon per folder, which is there or not, and ends at `quit`.
SERVICE = """#!/bin/sh
folder=$CUDA_MPS_PIPE_DIRECTORY
process=$folder/nvidia-cuda-mps-control.pid
if [ "$1" = -d ]; then
    [ -z "$CUDA_VISIBLE_DEVICES$SECRET" ] || exit 3
    sleep 1000 &
    echo $! > "$process"
    exit 0
fi
[ -e "$process" ] || exit 1
read -r command
case "$command" in
    "quit -t 20") if [ -e "$folder/hangs" ]; then sleep 1000; fi; kill "$(cat "$process")" ;;
    get_server_list) if [ -e "$folder/used" ]; then echo 4242; fi ;;
esac
"""
# What tries a GPU, where nothing fails: the service then has a server.
USED = "import os, pathlib; pathlib.Path(os.environ['CUDA_MPS_PIPE_DIRECTORY'], 'used').touch()"
PID = "nvidia-cuda-mps-control.pid"
QUARTER = Resources(gpus_per_trial=0.25)
KILLED = """
import os, signal
from mt_sweeps.execution import gpu_sharing
from mt_sweeps.spec.sections import Resources
gpu_sharing.PROGRAM, gpu_sharing._TRIAL = {program!r}, {used!r}
gpu_sharing.local_resources = lambda: {{"GPU": 1.0}}
with gpu_sharing.shared_gpus(Resources(gpus_per_trial=0.25)) as problem:
    assert not problem
    print(os.environ["CUDA_MPS_PIPE_DIRECTORY"], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A machine with a GPU and NVIDIA's service, which is not started."""
    file = tmp_path / "nvidia-cuda-mps-control"
    file.write_text(SERVICE)
    file.chmod(0o755)
    monkeypatch.setattr(gpu_sharing, "PROGRAM", str(file))
    monkeypatch.setattr(gpu_sharing, "_TRIAL", USED)
    monkeypatch.setattr(gpu_sharing, "local_resources", lambda: {"GPU": 2.0})
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "nobody"))
    monkeypatch.delenv("CUDA_MPS_LOG_DIRECTORY", raising=False)
    return file


def folder():
    return Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"])


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def wait_for_the_end(of, process):
    end = time.monotonic() + 20
    while (of.exists() or is_alive(process)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not of.exists()
    assert not is_alive(process)


@pytest.mark.usefixtures("program")
def test_the_service_runs_in_the_block_and_processes_find_it(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setenv("SECRET", "hush")
    with gpu_sharing.shared_gpus(QUARTER) as problem:
        assert not problem
        assert gpu_sharing.runs()
        assert os.environ["CUDA_MPS_LOG_DIRECTORY"] == str(folder())
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"
        assert (folder() / "used").exists()
        its_folder, process = folder(), int((folder() / PID).read_text())
        assert is_alive(process)
        assert its_folder.stat().st_mode & 0o777 == 0o700
    wait_for_the_end(its_folder, process)
    assert folder() == tmp_path / "nobody"
    assert "CUDA_MPS_LOG_DIRECTORY" not in os.environ


def test_a_service_that_runs_is_used_and_stays(program, tmp_path):
    (tmp_path / "nobody").mkdir()
    subprocess.run([program, "-d"], check=True)
    process = int((tmp_path / "nobody" / PID).read_text())
    try:
        with gpu_sharing.shared_gpus(QUARTER) as problem:
            assert not problem
            assert folder() == tmp_path / "nobody"
        assert is_alive(process)
    finally:
        os.kill(process, signal.SIGTERM)


def test_the_service_ends_with_a_sweep_that_is_killed(program):
    script = textwrap.dedent(KILLED.format(program=str(program), used=USED))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    its_folder = Path(ended.stdout.strip())
    end = time.monotonic() + 20
    while its_folder.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not its_folder.exists()  # which goes after the service


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"PROGRAM": "no-such-program"}, "there is no no-such-program here"),
        ({"PROGRAM": "/bin/false"}, "it is refused"),
        ({"_TRIAL": "import sys; sys.exit('CUDA fails with error 805')"}, "CUDA fails with error 805"),
        ({"_TRIAL": "import ctypes; ctypes.CDLL('libnothing.so.1')"}, "libnothing.so.1"),
        ({"_TRIAL": "import os; os.abort()"}, "what uses a GPU through it ends with -6"),
        ({"_TRIAL": "import time; time.sleep(60)", "_SECONDS": 1}, "it does not answer"),
        ({"_TRIAL": ""}, "it runs, and processes do not reach it"),
    ],
)
def test_without_it_trials_take_turns_and_nothing_is_left(monkeypatch, tmp_path, change, words):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    for name, value in change.items():
        monkeypatch.setattr(gpu_sharing, name, value)
    with gpu_sharing.shared_gpus(QUARTER) as problem:
        assert words in problem
        assert folder() == tmp_path / "nobody"
        assert not list(tmp_path.glob("mt-sweeps-mps-*"))
    assert "the 4 trials of a GPU take turns" in gpu_sharing.in_turns(QUARTER, problem)


@pytest.mark.usefixtures("program")
def test_a_gpu_is_tried_as_trials_see_it(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    see = "import os, sys; sys.exit(os.environ['CUDA_VISIBLE_DEVICES'])"
    monkeypatch.setattr(gpu_sharing, "_TRIAL", see)
    with gpu_sharing.shared_gpus(QUARTER) as problem:
        assert problem == "2,3"


@pytest.mark.usefixtures("program")
def test_a_service_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(gpu_sharing, "_ATTENDANT", gpu_sharing._ATTENDANT.replace("timeout 40", "timeout 1"))
    monkeypatch.setattr(gpu_sharing, "_TRIAL", USED.replace("'used'", "'hangs'"))
    monkeypatch.setattr(gpu_sharing, "runs", lambda: False)
    monkeypatch.setattr(gpu_sharing, "_servers", lambda _: "1")  # the service itself names none, so none is killed
    with gpu_sharing.shared_gpus(QUARTER) as problem:
        assert not problem
        its_folder, process = folder(), int((folder() / PID).read_text())
    wait_for_the_end(its_folder, process)


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        ("import sys; sys.exit('CUDA fails with error 805')", "CUDA fails with error 805"),
        ("import time; time.sleep(60)", "it does not answer"),
    ],
)
def test_a_service_that_runs_and_fails_is_refused(program, tmp_path, monkeypatch, trial, words):
    (tmp_path / "nobody").mkdir()
    subprocess.run([program, "-d"], check=True)
    monkeypatch.setattr(gpu_sharing, "_TRIAL", trial)
    monkeypatch.setattr(gpu_sharing, "_SECONDS", 2)
    try:
        refused = pytest.raises(InputError, match=rf"cannot be used through it \({words}\); end it with `echo quit")
        with refused, gpu_sharing.shared_gpus(QUARTER):
            pytest.fail("it is used")
    finally:
        os.kill(int((tmp_path / "nobody" / PID).read_text()), signal.SIGTERM)


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("gpus", ["auto", 0, 0.6, 1])
def test_it_is_not_started_where_no_trials_share_a_gpu(monkeypatch, gpus):
    monkeypatch.setattr(gpu_sharing, "_start", lambda *_: pytest.fail("it was started"))
    with gpu_sharing.shared_gpus(Resources(gpus_per_trial=gpus)) as problem:
        assert not problem
    monkeypatch.setattr(gpu_sharing, "local_resources", lambda: {"GPU": 0.0})
    with gpu_sharing.shared_gpus(QUARTER) as problem:
        assert not problem


def test_a_gpu_is_tried_by_the_library_of_its_driver():
    tried = subprocess.run([sys.executable, "-c", gpu_sharing._TRIAL], capture_output=True, text=True, check=False)
    assert tried.returncode == 0 or "libcuda.so.1" in tried.stderr or "CUDA fails with error" in tried.stderr
