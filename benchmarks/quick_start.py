"""How long the quick start takes, and with what: `mt-sweep run search_spaces/digits.yaml`, from command to prompt.

    uv run python benchmarks/quick_start.py --repetitions 5

Each repetition is a sweep in a home of its own, and the decoded images are cached by none before it.
Prints a timeline with n and spread: seconds from the command, and from the last report to the prompt.
"""

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MT_SWEEP = Path(sys.prefix) / "bin" / "mt-sweep"
MOMENTS = {  # the first line that matches, or the last
    "the data are checked and the sweep is described": ("^  images ", 0),
    "the first trial begins": (" starts: ", 0),
    "the first trial has reported": (r" step \d+/\d+: ", 0),
    "the search and the baselines have ended": ("are trained again: ", 0),
    "the last training has ended": (" complete: ", -1),
    "the answer is printed": ("^best trials of the search", 0),
}
PROMPT = "the prompt is back"
END = "from the last training to the prompt"


def once(words: list[str]) -> dict[str, float]:
    """Return the seconds to each moment of one sweep; `words` are added to its command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [MT_SWEEP, "run", ROOT / "search_spaces" / "digits.yaml", "--home", folder, *words]
        start, lines = time.monotonic(), list[tuple[float, str]]()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "MT_SWEEP_CACHE": f"{folder}/cache"}
        ) as process:
            assert process.stdout is not None
            lines += [(time.monotonic() - start, line) for line in process.stdout]
        assert process.returncode == 0
        found = {name: [at for at, line in lines if re.search(text, line)] for name, (text, _) in MOMENTS.items()}
        moments = {name: found[name][which] for name, (_, which) in MOMENTS.items() if found[name]}
        moments[PROMPT] = time.monotonic() - start
        return moments | {END: moments[PROMPT] - moments["the last training has ended"]}


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
    words = [word for setting in options.set for word in ("--set", setting)]
    words += ["--in-process"] if options.in_process else []
    helps = [help_seconds() for _ in range(4 * options.repetitions)]
    sweeps = [once(words) for _ in range(options.repetitions)]
    print(f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}\n")
    print("| seconds until | n | median | range |\n|---|---|---|---|")
    print(row("`mt-sweep --help` has answered", helps))
    for name in sweeps[0]:
        print(row(name, [moments[name] for moments in sweeps if name in moments]))


if __name__ == "__main__":
    main()
