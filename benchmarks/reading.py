"""What the commands that only show something take, in a sweep of many trials.

    uv run python benchmarks/reading.py                                  # 10,000 trials of 10 reports
    uv run python benchmarks/reading.py --trials 1000 --commands status

A sweep of one simulated trial is run, and its trial copied in the ledger. Each command runs in fresh processes, once
before it is timed. Seconds are those of the process: on the clock, and of processor time.
"""

import argparse
import json
import os
import platform
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from mt_sweeps.execution.simulated_trainer import VARIABLE

FILE = Path(__file__).parent / "spaces" / "digits.yaml"
NAME = "reading"
ONE_TRIAL = ("trials=1", "finalists.top=0", "finalists.baselines=[]", "points=[]")
PROGRAM = "from mt_sweeps.cli import main; main()"


def mt_sweep(*words: str, home: Path) -> None:
    """Run `mt-sweep` of the package that this process imports, in a process of its own."""
    subprocess.run(
        [sys.executable, "-c", PROGRAM, *words, "--home", str(home)],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, VARIABLE: "{}"},
    )


def make(home: Path, trials: int, reports: int) -> None:
    """Make a sweep of so many completed trials, with random errors."""
    settings = [word for setting in ONE_TRIAL for word in ("--set", setting)]
    mt_sweep("run", str(FILE), "--name", NAME, "--in-process", *settings, home=home)
    spec = home / NAME / "spec.yaml"
    spec.write_text(spec.read_text().replace("\ntrials: 1\n", f"\ntrials: {trials}\n"))
    rng = random.Random(0)
    with closing(sqlite3.connect(home / NAME / "ledger.db")) as store, store:
        (end,) = store.execute("SELECT value_json FROM trial_user_attributes WHERE key = 'end'").fetchone()
        for number in range(trials):
            content, error, trial = json.loads(end), rng.uniform(0.1, 0.9), number + 1
            content["last"]["metrics"]["validation.teacher_error"] = error
            if number:
                _copy_first(store, trial)
            store.execute("UPDATE trials SET number = ? WHERE trial_id = ?", (number, trial))
            store.execute("UPDATE trial_values SET value = ? WHERE trial_id = ?", (error, trial))
            store.execute(
                "UPDATE trial_user_attributes SET value_json = ? WHERE trial_id = ? AND key = 'end'",
                (json.dumps(content), trial),
            )
            store.execute("DELETE FROM trial_intermediate_values WHERE trial_id = ?", (trial,))
            store.executemany(
                "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
                "VALUES (?, ?, ?, 'FINITE')",
                [(trial, 300 * (i + 1) // reports, error) for i in range(reports)],
            )


def _copy_first(store: sqlite3.Connection, trial: int) -> None:
    """Copy the rows of trial 1 for another id."""
    for table, key in (
        ("trials", "trial_id"),
        ("trial_params", "param_id"),
        ("trial_values", "trial_value_id"),
        ("trial_user_attributes", "trial_user_attribute_id"),
    ):
        columns = [column[1] for column in store.execute(f"PRAGMA table_info({table})") if column[1] != key]
        copied = [f"{trial}" if column == "trial_id" else column for column in columns]
        if key == "trial_id":
            columns, copied = [key, *columns], [f"{trial}", *copied]
        store.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(copied)} FROM {table} WHERE trial_id = 1"
        )


def timed(words: Sequence[str], home: Path) -> tuple[float, float]:
    """Return the seconds of a command on the clock, and of processor time."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    mt_sweep(*words, home=home)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--reports", type=int, default=10, help="of each trial")
    parser.add_argument("--times", type=int, default=5, help="that each command is timed")
    parser.add_argument("--commands", default="list,status,best,export")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make(home, options.trials, options.reports)
        print(
            f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}; "
            f"{options.trials:,} trials of {options.reports} reports, n = {options.times}; "
            f"load before: {os.getloadavg()[0]:.1f} runnable processes a minute\n\n"
            "| command | seconds, least | median | processor seconds, least | median |\n|---|---|---|---|---|"
        )
        for name in options.commands.split(","):
            words = [name] if name in ("list", "status") else [name, NAME]
            timed(words, home)
            seconds, busy = zip(*(timed(words, home) for _ in range(options.times)), strict=True)
            cells = (min(seconds), statistics.median(seconds), min(busy), statistics.median(busy))
            print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")


if __name__ == "__main__":
    main()
