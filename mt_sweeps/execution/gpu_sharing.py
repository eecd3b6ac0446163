"""NVIDIA's Multi-Process Service (MPS): with it, trials that share a GPU compute at the same time, else in turns.

NVIDIA, "Multi-Process Service": a process uses the service whose folder is in CUDA_MPS_PIPE_DIRECTORY, and goes without
if there is none. If the service runs and cannot use the GPU, every process that should use it fails; so it is tried.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mt_sweeps.execution.resources import local_resources
from mt_sweeps.execution.variables import restore_variables, set_variables
from mt_sweeps.spec.sections import Resources

PROGRAM = "nvidia-cuda-mps-control"  # starts the service, and sends it commands
_SECONDS = 30  # that the service may take to answer, or a process to use a GPU through it
_END_SECONDS = 5  # that its end is waited for
# Variables that it gets: no secrets. With CUDA_VISIBLE_DEVICES it would number the GPUs anew, and each of its processes
# once more.
_PASSED = ("PATH", "HOME", "LD_LIBRARY_PATH", "CUDA_DEVICE_ORDER")
# Waits for the end of the process that started it, whatever ends that. Then it ends the service.
_ATTENDANT = 'cat; echo quit | timeout 60 "$0"; rm -rf "$1"'
# Uses the first GPU as torch does, without the seconds that torch takes to load.
_TRIAL = """
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
error = cuda.cuInit(0) or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(ctypes.c_void_p()), 0)
sys.exit(f"CUDA fails with error {error}" if error else 0)
"""


def trials_per_gpu(resources: Resources) -> int:
    """Return how many trials a file puts on one GPU; 1 if they share none."""
    gpus = resources.gpus_per_trial
    return 1 if gpus == "auto" or not gpus else int(1 / gpus)


def in_turns(resources: Resources, problem: str) -> str:
    """Return what a problem with the service means, in words."""
    trials = trials_per_gpu(resources)
    return f"NVIDIA's Multi-Process Service cannot be used ({problem}): the {trials} trials of a GPU take turns"


def runs() -> bool:
    """Return True if the service runs, for this user's processes."""
    with suppress(OSError, subprocess.TimeoutExpired):
        command = "get_server_list\n"
        answer = subprocess.run([PROGRAM], input=command, capture_output=True, text=True, timeout=_SECONDS)  # noqa: S603
        return answer.returncode == 0
    return False


@contextmanager
def shared_gpus(resources: Resources) -> Iterator[str]:
    """Start the service, if trials on this machine share a GPU and it does not run yet; end it after the block.

    Processes that start in the block use it: its folder is in the environment. It also ends if this process is killed.

    Yields:
        Why trials take turns on a GPU, in words; empty if they do not, or share none.
    """
    if trials_per_gpu(resources) == 1 or not local_resources()["GPU"] or runs():
        yield ""
        return
    folder = Path(tempfile.mkdtemp(prefix="mt-sweeps-mps-"))  # private, and short: a path to a socket has 107 bytes
    ours = {"CUDA_MPS_PIPE_DIRECTORY": str(folder), "CUDA_MPS_LOG_DIRECTORY": str(folder)}
    variables = {name: os.environ[name] for name in _PASSED if name in os.environ} | ours
    attendant = subprocess.Popen(  # noqa: S603 (constants, and a folder of ours)
        ["/bin/sh", "-c", _ATTENDANT, PROGRAM, str(folder)],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # a pipe that the sweep writes to would stay open
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # an interrupt is for the sweep alone: the last trials still use the service
    )
    try:
        problem = _start(folder, variables)
        if problem:
            _end(attendant)
            ours = {}
        before = set_variables(ours)
        try:
            yield problem
        finally:
            restore_variables(before)
    finally:
        _end(attendant)


def _end(attendant: subprocess.Popen[bytes]) -> None:
    """Let the service end; it is waited for, but not for long."""
    assert attendant.stdin is not None
    attendant.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        attendant.wait(_END_SECONDS)


def _start(folder: Path, variables: Mapping[str, str]) -> str:
    """Start the service, and try a GPU through it; return why it cannot be used, or nothing."""
    if shutil.which(PROGRAM) is None:
        return f"there is no {PROGRAM} here"
    try:
        with (folder / "start.log").open("w+") as log:  # a pipe would stay open as long as the service runs
            started = subprocess.run(  # noqa: S603 (a constant)
                [PROGRAM, "-d"], env=variables, stdout=log, stderr=log, timeout=_SECONDS
            )
            log.seek(0)
            if started.returncode:
                return " ".join(log.read().split())[:300] or "it is refused"
        used = subprocess.run(  # noqa: S603 (our own lines)
            [sys.executable, "-c", _TRIAL], env=variables, capture_output=True, text=True, timeout=_SECONDS
        )
    except OSError as error:
        return str(error)
    except subprocess.TimeoutExpired:
        return f"it does not answer within {_SECONDS} s"
    if not used.returncode:
        return ""
    return (used.stderr.strip().splitlines() or [f"what uses the GPU through it ends with {used.returncode}"])[-1]
