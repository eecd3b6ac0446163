"""How well a sweep estimates the time that is left: what its lines estimate, against when it ended.

    uv run --group dev python benchmarks/time_left.py
    uv run --group dev python benchmarks/time_left.py photos.yaml --set trials=32 --plot time-left.svg
    uv run --group dev python benchmarks/time_left.py --scripted 9 --set trials=40

The first is the quick start as it is, the second any other sweep. `--scripted 9` trains nothing, in the space of
benchmarks/spaces/digits.yaml: an interval between two evaluations takes 9 seconds, and errors follow curves, so that
trials are pruned as elsewhere. Prints the estimate at each tenth of the way; `--plot` draws all of them.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mt_sweeps.execution.simulated_trainer import VARIABLE
from mt_sweeps.report.plotting import FAINT, INK, Canvas, linear
from mt_sweeps.report.standalone import as_svg

ROOT = Path(__file__).parents[1]
MT_SWEEP = Path(sys.prefix) / "bin" / "mt-sweep"
LEFT = re.compile(r"about ((?:\d+ (?:s|min|h) ?)+)left")
SECONDS = {"s": 1, "min": 60, "h": 3600}
WITHIN = 0.3  # of what was left: the goal after the first tenth


def seconds_of(text: str) -> int:
    """Return the seconds of a duration as it is printed: `3 min 20 s`."""
    return sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+) (s|min|h)", text))


def watch(file: Path, words: list[str], scripted: float | None) -> tuple[list[tuple[float, int]], float]:
    """Run a sweep. Return its estimates (after how many seconds, how many are left), and the seconds that it took."""
    script = {} if scripted is None else {VARIABLE: json.dumps({"seconds": scripted})}
    with tempfile.TemporaryDirectory() as folder:
        command = [MT_SWEEP, "run", file, "--home", folder, *words]
        start = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | script) as process:
            assert process.stdout is not None
            found = ((LEFT.search(line), time.monotonic() - start) for line in process.stdout)
            claims = [(at, seconds_of(left[1])) for left, at in found if left]
        assert process.returncode == 0
        return claims, time.monotonic() - start


def rows(claims: list[tuple[float, int]], took: float) -> list[str]:
    """Return the table: at each tenth of the way the last estimate, minus what has passed since."""
    lines = []
    for tenth in range(1, 10):
        now = tenth * took / 10
        known = [(at, left) for at, left in claims if at <= now]
        if known:
            at, left = known[-1]
            claimed, true = max(0.0, left - (now - at)), took - now
            lines.append(f"| {10 * tenth} % | {claimed:.0f} | {true:.0f} | {claimed / true - 1:+.0%} |")
    return lines


def plot(claims: list[tuple[float, int]], took: float) -> str:
    """Return the drawing: the estimated end of the sweep over the time that had passed."""
    highest = max([took, *(at + left for at, left in claims)])
    canvas = Canvas(linear("passed, s", 0, took), linear("estimated end, s", 0, highest), height=240)
    canvas.line([(0, took), (took, took)], FAINT, "dashed")
    canvas.line([(at, at + left) for at, left in claims], INK, "strong")
    canvas.explain("line dashed", FAINT, "when it ended")
    canvas.explain("line", INK, "when it was estimated to end")
    return as_svg(canvas.plot(), "The end of a sweep, as it was estimated")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="a search-space file; left out: the quick start's")
    parser.add_argument("--scripted", type=float, metavar="SECONDS", help="scripted trials; seconds per interval")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other settings of the sweep")
    parser.add_argument("--in-process", action="store_true", help="run the sweep without Ray")
    parser.add_argument("--plot", type=Path, help="an SVG file")
    options = parser.parse_args()
    words = [word for setting in options.set for word in ("--set", setting)]
    spaces = ROOT / "search_spaces" if options.scripted is None else ROOT / "benchmarks" / "spaces"
    words += ["--in-process"] if options.in_process else []
    claims, took = watch(options.file or spaces / "digits.yaml", words, options.scripted)
    print(f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}")
    print(f"the sweep took {took:.0f} s\n")
    print("| passed | estimated, s | left, s | error |\n|---|---|---|---|")
    print("\n".join(rows(claims, took)))
    later = [(took - at, left) for at, left in claims if 0.1 * took <= at <= 0.95 * took]
    good = sum(abs(left - true) <= WITHIN * true for true, left in later)
    print(f"\nafter the first tenth and before the last twentieth, {good} of {len(later)} were within {WITHIN:.0%}")
    if options.plot:
        options.plot.write_text(plot(claims, took))


if __name__ == "__main__":
    main()
