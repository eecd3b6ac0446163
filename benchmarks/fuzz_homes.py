"""Damage homes at random, run the commands that read them, and count what does not end as it should.

    uv run --group dev python -m benchmarks.fuzz_homes --homes 1000

A home with two sweeps and a final training is copied. One or two files of one sweep, of the training or of MLflow are
damaged: emptied, cut off, overwritten, exchanged, made a folder, a pipe or a dangling link, or a value in them is
changed. Then commands run, in processes of their own. Each must end within five seconds with status 0 or 2, without a
traceback; with status 2 the message names a file of the home. `list` must show the other sweep, and nothing may change
there or outside the home. What is found is printed with the seed that makes it again: `--seed 17 --homes 1`.
"""

import argparse
import collections
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import click
from click.testing import CliRunner

from benchmarks.damage import damage_home
from mt_sweeps import cli
from mt_sweeps.errors import InputError, SweepError

SECONDS = 5.0  # that a command may take
GOOD, BROKEN = "good", "broken"
FILE = Path(__file__).parent / "spaces" / "digits.yaml"
SMALL = ("finalists.top=0", "finalists.baselines=[]", "trials=2")  # a sweep of seconds
READING = (
    ("list", "--json"),
    ("status", BROKEN),
    ("status", BROKEN, "--json"),
    ("best", BROKEN),
    ("export", BROKEN),
    ("report", BROKEN, "--json"),
)
WRITING = (
    ("report", BROKEN),
    ("sync", BROKEN),
    ("resume", BROKEN, "--in-process"),
    ("train", "../best.yaml"),
    ("rm", BROKEN, "--yes"),
)
# Loaded once, so that a child is quick.
_LIBRARIES = ("mlflow", "pandas", "optuna.storages._rdb.storage", "scipy.stats", "trainers")


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: of the process; negative if it was killed.
        seconds: that it took.
        output: what it printed.
    """

    status: int
    seconds: float
    output: str


@dataclass
class Findings:
    """What a fuzzer saw.

    Attributes:
        homes: that were damaged.
        commands: that were run, by name and status.
        slowest: seconds of the command that took longest.
        problems: a text each.
    """

    homes: int = 0
    commands: collections.Counter[tuple[str, int]] = field(default_factory=collections.Counter)
    slowest: float = 0.0
    problems: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--homes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first home")
    parser.add_argument("--write-every", type=int, default=1, help="homes: a command that writes runs in one of them")
    parser.add_argument("--whole", type=Path, help="a home that an earlier run made")
    options = parser.parse_args()
    os.environ["MT_SWEEP_SCRIPT"] = "{}"  # trials are simulated
    for name in _LIBRARIES if options.write_every <= options.homes else ():
        import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        if options.whole is not None:
            shutil.copytree(options.whole.parent, folder, dirs_exist_ok=True)
        findings, whole = Findings(), Path(folder) / "whole" if options.whole else make_home(Path(folder))
        with suppress(KeyboardInterrupt):  # Ctrl+C: what was seen so far
            for seed in range(options.seed, options.seed + options.homes):
                before = len(findings.problems)
                fuzz(whole, seed, findings, seed % options.write_every == 0)
                for problem in findings.problems[before:]:
                    print(f"--- seed {seed}: {problem}", flush=True)
    print(f"\n{findings.homes} homes, {sum(findings.commands.values())} commands, slowest {findings.slowest:.1f} s")
    print("\n| command | status 0 | status 2 | other |\n|---|---|---|---|")
    for name in sorted({name for name, _ in findings.commands}):
        counts = [findings.commands[name, status] for status in (0, 2)]
        other = sum(count for (one, _), count in findings.commands.items() if one == name) - sum(counts)
        print(f"| {name} | {counts[0]} | {counts[1]} | {other} |")
    print(f"\n{len(findings.problems)} problems")


def make_home(folder: Path, with_training: bool = True) -> Path:
    """Return a home with two sweeps of simulated trials and a final training, in the folder, beside `best.yaml`."""
    home = folder / "whole"
    overrides = [word for setting in SMALL for word in ("--set", setting)]
    commands = [["run", str(FILE), "--name", name, "--in-process", *overrides] for name in (GOOD, BROKEN)]
    if with_training:
        commands.append(["export", BROKEN, "-o", str(folder / "best.yaml")])
        commands.append(["train", str(folder / "best.yaml")])
    for command in commands:
        ended = run([*command, "--home", str(home)], folder, 600)
        assert ended.status == 0, ended.output
        if command[0] == "export":
            text = re.sub(r"(?m)^  steps: \d+$", "  steps: 20", (folder / "best.yaml").read_text())
            (folder / "best.yaml").write_text(re.sub(r"(?m)^  evaluate_every: \d+$", "  evaluate_every: 10", text))
    for report in home.rglob("report.html"):
        report.unlink()  # megabytes that are copied each time, and never read
    return home


def fuzz(whole: Path, seed: int, findings: Findings, writes: bool = True) -> None:
    """Damage a copy of a home, run commands there, and add what was seen to the findings.

    Args:
        whole: the home, in a folder of its own beside `best.yaml`.
        seed: of all random choices.
        findings: are added to.
        writes: also run commands that write, of which each takes seconds.
    """
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=whole.parent) as folder:
        home = Path(shutil.copytree(whole, Path(folder) / "home"))
        damage = "; ".join(damage_home(home, BROKEN, rng) for _ in range(rng.choice((1, 1, 1, 2))))
        untouched = _contents(home / GOOD)
        commands = [("list",), rng.choice(READING), rng.choice(READING)]
        if writes:
            commands.append(rng.choice(WRITING))
        for command in commands:
            arguments = [*command, "--home", str(home)]
            ended = run(arguments, home.parent) if command in WRITING else read(arguments)
            findings.commands[command[0], ended.status] += 1
            findings.slowest = max(findings.slowest, ended.seconds)
            for problem in _problems(command, ended, home):
                text = f"{problem}: {' '.join(command)}, after {damage}\n{ended.output[-1200:]}"
                findings.problems.append(text)
        if _contents(home / GOOD) != untouched or {path.name for path in home.parent.iterdir()} != {"home"}:
            findings.problems.append(f"something else was changed, after {damage}: {commands}")
        findings.homes += 1


def run(arguments: Sequence[str], folder: Path, limit: float = 120.0) -> Ended:
    """Run a command in a child of this process, which has all libraries loaded.

    Args:
        arguments: of `mt-sweep`.
        folder: the working directory.
        limit: seconds after which it is killed.
    """
    with tempfile.TemporaryFile() as output:
        child = multiprocessing.get_context("fork").Process(target=_child, args=(arguments, folder, output.fileno()))
        started, queued = time.monotonic(), 0.0
        child.start()
        while child.is_alive() and time.monotonic() - started < limit:
            queued = max(queued, _queued(child.pid))
            child.join(0.05)
        seconds = time.monotonic() - started - queued
        child.kill()
        child.join()
        output.seek(0)
        return Ended(child.exitcode or 0, seconds, output.read().decode(errors="replace"))


def _child(arguments: Sequence[str], folder: Path, output: int) -> None:
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    os.chdir(folder)
    ended = read(arguments, limit=600)  # the parent kills it earlier
    sys.stdout.write(ended.output)
    sys.stdout.flush()
    os._exit(ended.status)


def read(arguments: Sequence[str], limit: float = 120.0) -> Ended:
    """Run a command in this process: one that only reads leaves nothing behind.

    Args:
        arguments: of `mt-sweep`.
        limit: seconds after which it is interrupted.
    """
    signal.signal(signal.SIGALRM, _interrupt)
    started, queued = time.monotonic(), _queued(os.getpid())
    signal.setitimer(signal.ITIMER_REAL, limit)
    result = CliRunner().invoke(cli.cli, list(arguments), standalone_mode=False)
    signal.setitimer(signal.ITIMER_REAL, 0)
    seconds = time.monotonic() - started - (_queued(os.getpid()) - queued)
    status, output = result.exit_code, result.output
    if isinstance(error := result.exception, click.Abort):
        raise KeyboardInterrupt
    if isinstance(error, InputError | SweepError):
        status, output = error.exit_status, f"{output}error: {error}\n"
    elif isinstance(error, click.ClickException):
        status, output = error.exit_code, f"{output}error: {error.format_message()}\n"
    elif error is not None and not isinstance(error, SystemExit):
        output += "".join(traceback.format_exception(error))
    return Ended(status, seconds, output)


def _interrupt(*_: object) -> None:
    raise TimeoutError("the command did not end")


def _queued(process: int | None) -> float:
    """Return the seconds that a process was ready to run, and the cores of the machine were busy."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):  # it has ended, or this is no Linux
        return 0.0


def _problems(command: Sequence[str], ended: Ended, home: Path) -> list[str]:
    """Return what is wrong with the way in which a command ended."""
    problems = []
    if ended.seconds > SECONDS:
        problems.append(f"took {ended.seconds:.1f} s")
    if ended.status not in (0, 2):
        problems.append(f"status {ended.status}")
    if "Traceback (most recent call last)" in ended.output:
        problems.append("a traceback")
    if ended.status == 2 and not re.search(rf"error: [^\n]*{re.escape(str(home))}/[\w.-]+", ended.output):
        problems.append("no file is named")
    if command == ("list",) and (ended.status or not re.search(rf"(?m)^{GOOD} ", ended.output)):
        problems.append("the other sweep is not listed")
    return problems


def _contents(folder: Path) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "driver.lock"]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


if __name__ == "__main__":
    main()
