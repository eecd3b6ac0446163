"""What a trial costs beside its training: trials that do nothing, with ledger and window, from the first to the last.

    uv run python benchmarks/overhead.py                                         # 300 trials; and plain Tune
    uv run python benchmarks/overhead.py --trials 10000 --plain 0                # the ten thousandth
    uv run python benchmarks/overhead.py --in-process --plain 0                  # without Ray
    uv run python benchmarks/overhead.py --sampler tpe --filled 10000 --plain 0  # TPE's, in a ledger that is full
    uv run python benchmarks/overhead.py --workers 64                            # the driver's limits
    uv run python benchmarks/overhead.py --workers 64 --filled 10000             # the same after 10,000 trials

A trial is scripted (`MT_SWEEP_SCRIPT`) and evaluated once. Seconds a trial are those between the ends of trials, as the
ledger has them, over the number of trials; memory is that of the driver's process. `--filled N` writes N completed
trials with random values into the ledger before the sweep is resumed for `--trials` more: what a sampler costs there
does not depend on how they came there.

`--workers N` measures what the driver itself can do: N simulated workers always have their next report ready, and the
coordinator takes them one after another, with ledger, console and MLflow, without Ray and without training. Seconds and
processor seconds are those of its own thread, which waits for the disk and for MLflow's thread; the records that
workers write are left out. MLflow's thread is measured beside it, until it has all trials. With `--filled N`, MLflow is
left out: it would have N trials to catch up with.
"""

import argparse
import importlib.metadata
import io
import json
import os
import platform
import secrets
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))  # for another benchmark

from benchmarks import reading
from mt_sweeps.commands.console import Board
from mt_sweeps.execution.attempt import Assignment, Outcome
from mt_sweeps.execution.coordinator import Coordinator
from mt_sweeps.execution.resources import Share
from mt_sweeps.execution.simulated_trainer import VARIABLE
from mt_sweeps.storage import records
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial
from mt_sweeps.tracking.background import BackgroundWriter
from mt_sweeps.tracking.sweep_run import SweepRun

ROOT = Path(__file__).parents[1]
MT_SWEEP = Path(sys.prefix) / "bin" / "mt-sweep"
FILE = ROOT / "benchmarks" / "spaces" / "digits.yaml"
SETTINGS = ("trainer.evaluate_every=300", "pruner.name=none", "finalists.baselines=[]", "finalists.top=0", "points=[]")
NAME = "overhead"
BEFORE = 1000  # trials up to one of them, over which the cost there is averaged
WARM = 20  # trials before it is steady
T = TypeVar("T")


@dataclass
class Sample:
    """The driver and the window at one moment."""

    time: float
    memory: float  # MiB, resident
    busy: float  # seconds of CPU so far
    shown: int  # runs that MLflow has


@dataclass
class Sweep:
    """One sweep, measured.

    Attributes:
        ends: when each trial ended, in order.
        samples: every other second.
        closed: when the driver had ended, the window completed.
        told: what it printed last.
    """

    ends: list[float]
    samples: list[Sample]
    closed: float
    told: str

    def seconds(self, first: int, last: int) -> float:
        """A trial's, between two of them."""
        return (self.ends[last - 1] - self.ends[first - 1]) / (last - first)

    def at(self, number: int) -> Sample:
        """When so many trials had ended."""
        last = [sample for sample in self.samples if sample.memory]
        return next((sample for sample in last if sample.time >= self.ends[number - 1]), last[-1])

    def busy(self, first: int, last: int) -> float:
        """Seconds of the driver's CPU a trial, between two of them."""
        return (self.at(last).busy - self.at(first).busy) / (last - first)


def arguments(sampler: str) -> list[str]:
    return [word for setting in (*SETTINGS, f"sampler.name={sampler}") for word in ("--set", setting)]


def fill(home: Path, words: list[str], trials: int) -> None:
    """A sweep that has completed so many trials, with random values."""
    drive(home, "run", str(FILE), "--name", NAME, "--trials", "1", *words)
    directory = LocalHome(home).sweep(NAME)
    random = directory.load_spec().model_copy(update={"trials": trials})
    random = random.model_copy(update={"sampler": random.sampler.model_copy(update={"name": "random"})})
    ledger = Ledger(directory.ledger, directory.load_spec())
    report = ledger.trials("search")[0].last
    assert report is not None
    ledger.spec = random  # drawn at random; the file keeps its sampler
    while (trial := ledger.ask_search()) is not None:
        ledger.report(trial, report)
        ledger.complete(trial, report)
    ledger.close()
    directory.save_spec(directory.load_spec().model_copy(update={"trials": trials}))


def drive(home: Path, *words: str) -> Sweep:
    """Run `mt-sweep` with these words, and watch it."""
    start, samples = time.time(), []
    log = home / "log.txt"
    home.mkdir(exist_ok=True)
    with log.open("w") as out:
        process = subprocess.Popen(
            [MT_SWEEP, *words, "--home", str(home)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, VARIABLE: "{}"},
        )
        while process.poll() is None:
            samples.append(Sample(time.time(), *held(process.pid), shown(home)))
            time.sleep(2)
    assert process.wait() == 0, log.read_text()[-2000:]
    directory = LocalHome(home).sweep(NAME)
    ledger = Ledger(directory.ledger, directory.load_spec())
    ends = sorted(trial.started + trial.seconds for trial in ledger.trials("search") if trial.started > start)
    ledger.close()
    return Sweep(ends, samples, time.time(), log.read_text()[-2000:])


def held(process: int) -> tuple[float, float]:
    """MiB of memory and seconds of CPU that a process has taken; Linux tells it there."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    except (OSError, IndexError):
        return 0.0, 0.0  # it has just ended
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def shown(home: Path) -> int:
    if not (home / "mlflow.db").exists():
        return 0
    try:
        with sqlite3.connect(f"file:{home}/mlflow.db?mode=ro", uri=True, timeout=1) as database:
            return int(database.execute("select count(*) from runs").fetchone()[0])
    except sqlite3.Error:
        return 0


def plain(trials: int) -> None:
    """Ray Tune as it comes: a class, no reuse of actors. Prints the times at which trials ended, for each search."""
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    class Nothing(tune.Trainable):  # type: ignore[misc]
        def step(self) -> dict[str, object]:
            return {"error": self.config["x"], "ended": time.time(), "done": True}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Nothing to keep."""

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    space = {"x": tune.uniform(0, 1)}
    ends = {}
    for name, search in {"random": None, "OptunaSearch": OptunaSearch(metric="error", mode="min")}.items():
        with tempfile.TemporaryDirectory() as folder:
            results = tune.Tuner(
                Nothing,
                param_space=space,
                tune_config=tune.TuneConfig(search_alg=search, num_samples=trials, max_concurrent_trials=2),
                run_config=tune.RunConfig(storage_path=folder, verbose=0),
            ).fit()
        ends[name] = sorted(result.metrics["ended"] for result in results)
    print(json.dumps(ends))


def plain_seconds(trials: int) -> dict[str, float]:
    """A trial's, by search; the first four left out, and of fewer than eight half."""
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    output = subprocess.run(
        [sys.executable, __file__, "--plain-child", "--plain", str(trials)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,  # or Ray would write a token into the user's home
    ).stdout
    left_out = min(4, trials // 2)
    return {
        search: (ends[-1] - ends[left_out - 1]) / (len(ends) - left_out)
        for search, ends in json.loads(output.strip().splitlines()[-1]).items()
    }


class Stopwatch:
    """Seconds, and processor seconds of this thread, by what was done: one of each for each time."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.busy: dict[str, list[float]] = defaultdict(list)

    def time(self, name: str, call: Callable[[], T]) -> T:
        start, busy = time.perf_counter(), time.thread_time()
        answer = call()
        self.seconds[name].append(time.perf_counter() - start)
        self.busy[name].append(time.thread_time() - busy)
        return answer


class TimedSync:
    """Brings MLflow up to date, and counts the processor seconds of the thread that it runs in."""

    def __init__(self, run: SweepRun) -> None:
        self.busy = 0.0
        self.before_first_trial = 0.0  # to load MLflow and connect to it
        self._run = run

    def sync(self) -> None:
        start = time.thread_time()

        def connected(trials: list[Trial]) -> list[Trial]:
            self.before_first_trial = self.before_first_trial or time.thread_time() - start
            return trials

        self._run.sync(connected)
        self.busy += time.thread_time() - start


def limits(home: Path, workers: int, trials: int, reports: int, filled: int) -> None:
    """Drive simulated workers whose reports are always ready, and print how many trials and reports that gives."""
    reading.make(home, max(1, filled), reports)
    sweep = LocalHome(home).sweep(reading.NAME)
    spec = sweep.load_spec()
    spec = spec.model_copy(update={"trials": spec.trials + trials})
    sweep.save_spec(spec)
    ledger = Ledger(sweep.ledger, spec)
    ledger.take_over()
    ledger.spec = spec.model_copy(update={"sampler": spec.sampler.model_copy(update={"name": "random"})})
    first = sweep.trials.records(ledger.trials("search")[0].id)[-1]
    tracking = TimedSync(SweepRun(sweep.home, sweep, ledger))
    writer = BackgroundWriter(tracking.sync)
    watch, shown_then = Stopwatch(), 0
    with redirect_stdout(io.StringIO()), Board(ledger, workers, lambda: None) as board:
        coordinator = Coordinator(ledger, sweep, Share(0, 1, workers), board)
        if not filled:
            writer.start()
        at_work: deque[tuple[Assignment, int]] = deque()
        while at_work or ledger.remaining("search"):
            watch.time("poll", coordinator.poll)
            if len(at_work) < workers and ledger.remaining("search"):
                assignment = watch.time("start", coordinator.next_assignment)
                assert assignment is not None
                at_work.append((assignment, 1))
                continue
            assignment, number = at_work.popleft()
            report = replace(first, step=first.step * number // reports, time=time.time())
            folder = Path(assignment.address)
            folder.mkdir(parents=True, exist_ok=True)
            records.append(folder, report)
            if number < reports and not watch.time("report", partial(coordinator.reported, assignment, report)):
                at_work.append((assignment, number + 1))
                continue
            watch.time("end", partial(coordinator.ended, assignment, Outcome(report, None, done=True)))
        shown_then = shown(home)
    if not filled:
        writer.stop(600)
    ledger.close()
    total, busy = (sum(map(sum, each.values())) for each in (watch.seconds, watch.busy))
    reported = len(watch.seconds["report"] + watch.seconds["end"])
    print(f"| {workers} simulated workers, {trials:,} trials of {reports} reports, after {filled:,} | |\n|---|---|")
    print(f"| trials per second of the driver | {trials / total:.1f} |")
    print(f"| reports per second of the driver | {reported / total:.1f} |")
    print(f"| milliseconds per trial | {1000 * total / trials:.1f} |")
    print(f"| of which processor time of the driver's own thread | {1000 * busy / trials:.1f} |")
    for name, each in watch.seconds.items():
        seconds, thread = 1000 * statistics.median(each), 1000 * statistics.median(watch.busy[name])
        head = f"one {name}, median of {len(each)}: milliseconds, of which processor time"
        print(f"| {head} | {seconds:.2f}, {thread:.2f} |")
    if not filled:
        print(f"| runs that MLflow did not have when the last trial ended | {max(0, trials + 2 - shown_then)} |")
        written = 1000 * (tracking.busy - tracking.before_first_trial) / (trials + 1)
        print(f"| milliseconds of processor time of MLflow's thread per trial | {written:.1f} |")
        print(f"| seconds of it before the first, to load MLflow and connect | {tracking.before_first_trial:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300, help=f"more than {WARM}")
    parser.add_argument("--sampler", default="random", choices=["random", "tpe"])
    parser.add_argument("--filled", type=int, default=0, metavar="N", help="trials that the ledger has before")
    parser.add_argument("--plain", type=int, default=24, metavar="N", help="trials of plain Tune, at least 2; 0: none")
    parser.add_argument("--in-process", action="store_true", help="without Ray, one trial after another")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="the driver's limits with N of them")
    parser.add_argument("--reports", type=int, default=5, help="of each trial, with --workers")
    parser.add_argument("--plain-child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trials <= WARM or options.plain == 1:
        parser.error(f"--trials must be more than {WARM}, and --plain 0 or at least 2")
    if options.plain_child:
        plain(options.plain)
        return

    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("ray", "optuna", "mlflow"))
    print(
        f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, {versions}\n"
        f"load before: {os.getloadavg()[0]:.1f} runnable processes a minute\n"
    )
    if options.workers:
        with tempfile.TemporaryDirectory() as folder:
            limits(Path(folder), options.workers, options.trials, options.reports, options.filled)
        return
    with tempfile.TemporaryDirectory() as folder:
        home, many = Path(folder), f"{options.trials:,}"
        engine = ["--in-process"] if options.in_process else []
        words = arguments(options.sampler) + engine
        if options.filled:
            fill(home, words, options.filled)
            sweep = drive(home, "resume", NAME, "--trials", f"+{options.trials}", *engine)
        else:
            sweep = drive(home, "run", str(FILE), "--name", NAME, "--trials", str(options.trials), *words)
    count = len(sweep.ends)
    before = f", after {options.filled:,}" if options.filled else ""
    before += ", without Ray" if options.in_process else ""
    print(f"| {options.sampler}, {many} trials{before} | |\n|---|---|")
    print(f"| seconds a trial, the first {WARM} left out | {sweep.seconds(WARM, count):.3f} |")
    print(f"| of which the driver's CPU, its window's too | {sweep.busy(WARM, count):.3f} |")
    marks = [m for m in (1_000, 2_000, 5_000, 10_000) if m <= count]
    for mark in marks:
        sample, near = sweep.at(mark), (max(WARM, mark - BEFORE), mark)
        print(f"| seconds a trial, trials {near[0]:,} to {near[1]:,} | {sweep.seconds(*near):.3f} |")
        print(f"| of which the driver's CPU, its window's too | {sweep.busy(*near):.3f} |")
        print(f"| driver's memory after {mark:,} trials, MiB | {sample.memory:.0f} |")
        print(f"| trials of which MLflow knew then | {sample.shown:,} |")
    print(f"| seconds from the last trial's end to the command's | {sweep.closed - sweep.ends[-1]:.1f} |")
    if "not up to date" in sweep.told:
        print("| MLflow at the end | not up to date |")
    for search, seconds in plain_seconds(options.plain).items() if options.plain else ():
        print(f"| plain Tune, {search}, {options.plain} trials: seconds a trial | {seconds:.3f} |")


if __name__ == "__main__":
    main()
