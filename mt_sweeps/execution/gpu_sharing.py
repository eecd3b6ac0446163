"""NVIDIA's Multi-Process Service (MPS): with it, trials that share a GPU compute at the same time, else in turns.

NVIDIA, "Multi-Process Service": a process uses the service whose folder is in CUDA_MPS_PIPE_DIRECTORY, and goes without
if there is none. If the service runs and cannot use a GPU, every process that should use it fails; so it is tried. It
starts a server when the first process uses it, so that having none shows that a process went without.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mt_sweeps.errors import InputError
from mt_sweeps.execution.resources import local_resources
from mt_sweeps.execution.variables import restore_variables, set_variables
from mt_sweeps.spec.sections import Resources

PROGRAM = "nvidia-cuda-mps-control"  # starts the service, and sends it commands
_SECONDS = 30  # that the service may take to answer, or a process to use a GPU through it
_END_SECONDS = 5  # that its end is waited for
_NO_ANSWER, _NOT_REACHED = "it does not answer", "it runs, and processes do not reach it"
# Variables that it gets: no secrets. With CUDA_VISIBLE_DEVICES it would number the GPUs anew, and each of its processes
# once more.
_PASSED = ("PATH", "HOME", "LD_LIBRARY_PATH", "CUDA_DEVICE_ORDER")
# Waits for the end of the process that started it, whatever ends that. Then it ends the service, which waits for
# processes that use it, and may wait for ever for one that was killed in the middle of a computation.
_ATTENDANT = """
cat
service=$(cat "$1/nvidia-cuda-mps-control.pid") servers=$(echo get_server_list | timeout 10 "$0")
echo "quit -t 20" | timeout 40 "$0" || kill -9 $servers $service
rm -rf "$1"
"""
# Uses each GPU that this process sees, as torch does, without the seconds that torch takes to load. 807: the service
# has not started its server yet.
_TRIAL = """
import ctypes, sys, time
cuda, count, end = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), time.monotonic() + 20
def use(*call):
    while (error := call[0](*call[1:])) == 807 and time.monotonic() < end:
        time.sleep(0.5)
    if error:
        sys.exit(f"CUDA fails with error {error}")
use(cuda.cuInit, 0)
use(cuda.cuDeviceGetCount, ctypes.byref(count))
for number in range(count.value):
    use(cuda.cuDevicePrimaryCtxRetain, ctypes.byref(ctypes.c_void_p()), number)
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
    return _servers(os.environ) is not None


def _servers(variables: Mapping[str, str]) -> str | None:
    """Return the process ids of the service's servers; None if it does not run."""
    with suppress(OSError, subprocess.TimeoutExpired):
        command = "get_server_list\n"
        answer = subprocess.run(  # noqa: S603 (a constant)
            [PROGRAM], input=command, env=variables, capture_output=True, text=True, timeout=_SECONDS
        )
        if not answer.returncode:
            return answer.stdout.strip()
    return None


@contextmanager
def shared_gpus(resources: Resources) -> Iterator[str]:
    """Start the service, if trials on this machine share a GPU and it does not run yet; end it after the block.

    Processes that start in the block use it: its folder is in the environment. It also ends if this process is killed.

    Yields:
        Why trials take turns on a GPU, in words; empty if they do not, or share none.

    Raises:
        InputError: the service runs already, and a GPU cannot be used through it: all trials would fail, or hang.
    """
    if trials_per_gpu(resources) == 1 or not local_resources()["GPU"]:
        yield ""
        return
    if runs():
        yield _try_running()
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
    """Start the service, and try the GPUs through it; return why it cannot be used, or nothing."""
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
    except OSError as error:
        return str(error)
    except subprocess.TimeoutExpired:
        return _NO_ANSWER
    return _try({**os.environ, **variables})


def _try_running() -> str:
    """Try the GPUs through a service that others have started; return why processes go without it, or nothing.

    Raises:
        InputError: a GPU cannot be used through it.
    """
    problem = _try(os.environ)
    if problem and problem != _NOT_REACHED:
        raise InputError(
            f"NVIDIA's Multi-Process Service runs, and a GPU cannot be used through it ({problem}); end it with `echo "
            f"quit | {PROGRAM}`, or wait for those who use it"
        )
    return problem


def _try(variables: Mapping[str, str]) -> str:
    """Use the GPUs that trials have, as they would; return why the service cannot be used for it, or nothing."""
    try:
        used = subprocess.run(  # noqa: S603 (our own lines)
            [sys.executable, "-c", _TRIAL], env=variables, capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return _NO_ANSWER
    if used.returncode:
        return (used.stderr.strip().splitlines() or [f"what uses a GPU through it ends with {used.returncode}"])[-1]
    return "" if _servers(variables) else _NOT_REACHED
