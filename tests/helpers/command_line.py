"""The real command, as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
DIGITS = REPOSITORY / "benchmarks" / "spaces" / "digits.yaml"
IMAGE_FOLDER = REPOSITORY / "search_spaces" / "image_folder.yaml"
MT_SWEEP = Path(sys.prefix) / "bin" / "mt-sweep"
IN_PROCESS = "--in-process"  # without Ray, which takes longer to start than these sweeps to run
ALONE = ("--set", "finalists.top=0")  # the search and its baselines
TINY = (*ALONE, "--set", "trainer.steps=20", "--set", "trainer.evaluate_every=5", "--set", "trainer.model.width=4")


def mt_sweep(*arguments: object, folder: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; its home is `sweeps` there. Fails where the exit status is another than said."""
    command = [str(MT_SWEEP), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
    assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def as_json(*arguments: object, folder: Path) -> Any:
    return json.loads(mt_sweep(*arguments, "--json", folder=folder).stdout)


def interrupted(*arguments: object, folder: Path, after: str, how: signal.Signals) -> tuple[int, str]:
    """Run a command, send it a signal once it has printed `after`; its exit status and what it printed."""
    command = [str(MT_SWEEP), *map(str, arguments)]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell without job control starts its background jobs, and so their children, deaf to this signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    out = ""
    for line in process.stdout:
        out += line
        if after in line:
            process.send_signal(how)
            break
    out += process.stdout.read()
    return process.wait(timeout=60), out


def until_printed(process: subprocess.Popen[str], text: str) -> None:
    """Wait until a command has printed a text."""
    assert process.stdout is not None
    lines: list[str] = []
    while text not in "".join(lines[-1:]):
        lines.append(process.stdout.readline())
        assert lines[-1], f"it ended without {text!r}:\n{''.join(lines)}"


def gone(pattern: str, seconds: float = 30) -> bool:
    """Whether no process has `pattern` in its environment or command line any more, within some seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(pattern in _of(process) for process in Path("/proc").glob("[0-9]*")):
            return True
        time.sleep(0.2)
    return False


def _of(process: Path) -> str:
    try:
        if int(process.name) == os.getpid():
            return ""
        return (process / "cmdline").read_text() + (process / "environ").read_text(errors="replace")
    except OSError:
        return ""
