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
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

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
_VALUES = (None, True, -1, 10**9, 1.5, "", "x", "../../x", [], [1], {}, {"a": 1})


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
        damage = "; ".join(_damage(home, rng) for _ in range(rng.choice((1, 1, 1, 2))))
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


def _damage(home: Path, rng: random.Random) -> str:
    """Damage a file of a home; return what was done."""
    files = sorted(
        file
        for file in [*(home / BROKEN).rglob("*"), *(home / "trained").rglob("*"), home / "mlflow.db"]
        if file.is_file() and not file.is_symlink()
    )
    kinds = {
        "spec.yaml": (3, _values_in_yaml),
        "environment.json": (3, _values_in_json),
        "result.json": (3, _values_in_json),
        "ledger.db": (5, _rows),
        "records.jsonl": (1, _values_in_lines),
    }
    file = rng.choices(files, [kinds.get(file.name, (1, None))[0] for file in files])[0]
    special = kinds.get(file.name, (0, None))[1]
    general: list[Callable[[Path, random.Random], str]] = [_bytes, _kind_of_file]
    change = special if special is not None and rng.random() < 0.5 else rng.choice(general)
    try:
        return f"{file.relative_to(home)}: {change(file, rng)}"
    except Exception:  # the damage before has left nothing to change
        return f"{file.relative_to(home)}: is damaged already"


def _bytes(file: Path, rng: random.Random) -> str:
    content, other = file.read_bytes(), rng.choice([one for one in sorted(file.parent.rglob("*")) if one.is_file()])
    at = rng.randrange(len(content) + 1)
    flipped = bytearray(content)
    for _ in range(rng.randrange(1, 20) if content else 0):
        flipped[rng.randrange(len(content))] = rng.randrange(256)
    name, damaged = rng.choice(
        [
            ("emptied", b""),
            ("cut off", content[:at]),
            ("zeros from somewhere on", content[:at] + bytes(len(content) - at)),
            ("bytes changed", bytes(flipped)),
            ("a part repeated", content[:at] + content[at // 2 :]),
            ("random bytes", rng.randbytes(rng.randrange(1, 2000))),
            (f"replaced by {other.name}", other.read_bytes()),
        ]
    )
    file.write_bytes(damaged)
    return name


def _kind_of_file(file: Path, rng: random.Random) -> str:
    kind = rng.choice(("removed", "a folder", "a pipe", "a dangling link"))
    file.unlink()
    if kind == "a folder":
        file.mkdir()
    elif kind == "a pipe":
        os.mkfifo(file)
    elif kind == "a dangling link":
        file.symlink_to(file.with_name("nowhere"))
    return kind


def _values_in_json(file: Path, rng: random.Random) -> str:
    content = json.loads(file.read_bytes()) if file.stat().st_size else {}
    change = _change_value(content, rng)
    file.write_text(json.dumps(content))
    return change


def _values_in_yaml(file: Path, rng: random.Random) -> str:
    from mt_sweeps.spec import yaml_file

    content = yaml_file.read(file)
    change = _change_value(content, rng)
    file.write_text(yaml_file.dump(content))
    return change


def _values_in_lines(file: Path, rng: random.Random) -> str:
    lines = file.read_text().splitlines() or ["{}"]
    at = rng.randrange(len(lines))
    content = json.loads(lines[at])
    change = _change_value(content, rng)
    lines[at] = json.dumps(content)
    file.write_text("".join(f"{line}\n" for line in lines))
    return f"line {at + 1}: {change}"


def _change_value(content: Any, rng: random.Random) -> str:
    """Change, remove or add a value somewhere in nested dictionaries and lists."""
    while isinstance(content, dict | list) and content:
        key = rng.choice(sorted(content) if isinstance(content, dict) else range(len(content)))
        below = content[key]
        if not (isinstance(below, dict | list) and below) or rng.random() < 0.3:
            how = rng.choice(("changed", "changed", "removed", "added"))
            if how == "removed":
                del content[key]
            elif how == "added" and isinstance(content, dict):
                content[f"{key}_of_old"] = below
            else:
                content[key] = rng.choice(_VALUES)
            return f"{key} {how}"
        content = below
    return "nothing"


def _rows(file: Path, rng: random.Random) -> str:
    """Change, or delete, a row of a ledger."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(file)) as store, store:
        names = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        full = [name for name in sorted(names) if store.execute(f"SELECT count(*) FROM {name}").fetchone()[0]]
        table = rng.choice(full)
        rows = [row for (row,) in store.execute(f"SELECT rowid FROM {table}")]
        row = rng.choice(rows)
        if rng.random() < 0.2:
            store.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
            return f"a row of {table} deleted"
        column = rng.choice([one[1] for one in store.execute(f"PRAGMA table_info({table})")])
        (old,) = store.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row,)).fetchone()
        torn = str(old)[: rng.randrange(len(str(old)) + 1)]
        value = rng.choice((torn, torn, None, -1, 3, "x", "{}", "[]", "null", 1.5, b"\xff"))
        store.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row))
        return f"{column} of {table} is {value!r}"
    return "nothing"


if __name__ == "__main__":
    main()
