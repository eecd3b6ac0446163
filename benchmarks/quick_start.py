"""How long the quick start takes: `mt-sweep run search_spaces/digits.yaml`, from the command to its end.

    uv run python benchmarks/quick_start.py --repetitions 5

Each repetition is a sweep in a home of its own, and the decoded images are cached by none before it.
Prints seconds to the first report of a trial and to the end, with n and spread.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MT_SWEEP = Path(sys.prefix) / "bin" / "mt-sweep"


def once(words: list[str]) -> tuple[float, float]:
    """Seconds to the first report, and to the end, of one sweep; `words` are added to its command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [MT_SWEEP, "run", ROOT / "search_spaces" / "digits.yaml", "--home", folder, *words]
        start = time.monotonic()
        first = None
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "MT_SWEEP_CACHE": f"{folder}/cache"}
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if first is None and " step " in line:
                    first = time.monotonic() - start
        assert process.returncode == 0 and first is not None
        return first, time.monotonic() - start


def help_seconds() -> float:
    start = time.monotonic()
    subprocess.run([MT_SWEEP, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def row(name: str, seconds: list[float]) -> str:
    spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
    return f"| {name} | {len(seconds)} | {statistics.median(seconds):.2f} | {spread} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other settings of the sweep")
    parser.add_argument("--in-process", action="store_true", help="run the sweep without Ray")
    options = parser.parse_args()
    repetitions = options.repetitions
    words = [word for setting in options.set for word in ("--set", setting)]
    words += ["--in-process"] if options.in_process else []
    helps = [help_seconds() for _ in range(4 * repetitions)]
    firsts, totals = zip(*(once(words) for _ in range(repetitions)), strict=True)
    print(f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}\n")
    print("| seconds until | n | median | range |\n|---|---|---|---|")
    print(row("`mt-sweep --help` has answered", helps))
    print(row("the first trial has reported", list(firsts)))
    print(row("the sweep has ended", list(totals)))


if __name__ == "__main__":
    main()
