"""The same trials by `mt-sweep run`, by Ray Tune and by Optuna: what a trial takes, and what comes before and after.

    uv run python benchmarks/peers.py                                  # 32 trials, 5 rounds: about half an hour
    uv run python benchmarks/peers.py --ways mt-sweep pool --rounds 3

mt-sweep     `mt-sweep run benchmarks/spaces/digits.yaml`, without baselines and finalists
tune         Ray Tune as it comes: a function, OptunaSearch, MLflowLoggerCallback
tune-reuse   the same with `reuse_actors=True`
pool         Optuna's ask and tell, a process pool, MLflow called in the workers

What is equal: the trainer, called through `trainers.Trainer`, with the settings and the space of that file, and
ten evaluations per trial, each with its checkpoint on disk. The sampler is Optuna's TPE with the same options. No trial
is pruned and no point is added by hand. One trial runs per core, with one thread. Every evaluation goes to MLflow with
all of its metrics, to an SQLite file. Each run is a process of its own with an empty home and no decoded images.

What is not: the seeds of the samplers are used in different ways, so the values of the trials differ, but not the
steps. `mt-sweep` keeps every report on disk before it goes on, logs to MLflow in the background, checks the data set,
writes a summary and an HTML report at the end, and could be resumed after a crash. Tune keeps its own files, which can
restore a part, and Optuna's study is in memory there. The pool has an SQLite study, learns of a trial only at its end,
and loses the trials that run if it crashes. Ray's dashboard is off for both, and so is the environment that Ray makes
anew for each worker under `uv run`.

All times are read from what has arrived in MLflow, as the end of a process is seen from outside. Seconds per trial are
those from the end of the first trial to the end of the last, over the trials in between and the last. A trial that
collapses or diverges is counted, with the evaluations that it has; `mt-sweep` trains another in its place. The driver
is the process that the user started; its workers are not counted. The order of the ways changes from round to round.
"""

import argparse
import importlib.metadata
import os
import platform
import secrets
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the trainer needs no installation
MT_SWEEP = Path(sys.prefix) / "bin" / "mt-sweep"
FILE = ROOT / "benchmarks" / "spaces" / "digits.yaml"
METRIC = "validation.teacher_error"
EVALUATIONS = 10  # per trial
CORES = len(os.sched_getaffinity(0))
PAUSE = 3.0  # seconds between two runs, in which Ray's processes end


@dataclass(frozen=True)
class Measured:
    """What one run took; seconds, and MiB of memory."""

    per_trial: float
    wall: float
    first_report: float
    last_report_to_prompt: float
    driver_cpu: float
    driver_memory: float


# The same for the three ways that are written here.


def suggest(trial: Any) -> dict[str, Any]:
    """Draw the values of a trial, as the space of the file says; `trial` is Optuna's."""
    loss = trial.suggest_categorical("consistency.loss", ["mse", "kl"])
    low, high = (3.0, 300.0) if loss == "mse" else (0.3, 30.0)
    return {
        "ema.decay": 1 - trial.suggest_float("1 - ema.decay", 0.001, 0.2, log=True),
        "consistency.loss": loss,
        "consistency.weight": trial.suggest_float(f"consistency.weight of {loss}", low, high, log=True),
        "labeled_batch_fraction": trial.suggest_categorical("labeled_batch_fraction", [0.25, 0.5]),
    }


def sampler() -> Any:
    from optuna.samplers import TPESampler

    return TPESampler(seed=0, multivariate=True, group=True)


def evaluations(values: dict[str, Any], steps: int, directory: Path) -> Iterator[dict[str, float]]:
    """Train with the settings of the file and these values; yield the metrics of each evaluation."""
    from trainers import Trainer, TrainerConfig

    config = {
        "dataset": {"name": "digits", "labels": 50, "validation": 300, "verdict": 300, "split_seed": 0},
        "model": {"name": "small_cnn", "width": 16},
        "steps": steps,
        "batch_size": 100,
        "labeled_batch_fraction": values["labeled_batch_fraction"],
        "optimizer": {"name": "sgd", "learning_rate": 0.2},
        "augmentation": {"translate": 1, "flip": False, "noise": 0.1},
        "consistency": {"loss": values["consistency.loss"], "weight": values["consistency.weight"]},
        "ema": {"decay": values["ema.decay"]},
        "evaluate_every": steps // EVALUATIONS,
    }
    for report in Trainer(TrainerConfig.model_validate(config), directory).run():
        yield report.metrics


# Ray Tune.


def tune(home: Path, trials: int, steps: int, reuse_actors: bool) -> None:
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    def train(values: dict[str, Any]) -> None:
        for metrics in evaluations(values, steps, Path(tune.get_context().get_trial_dir())):
            tune.report(metrics)

    ray.init(num_cpus=CORES, include_dashboard=False)
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(suggest, metric=METRIC, mode="min", sampler=sampler()),
            num_samples=trials,
            max_concurrent_trials=CORES,
            reuse_actors=reuse_actors,
        ),
        run_config=tune.RunConfig(
            name="peers",
            storage_path=str(home / "tune"),
            callbacks=[MLflowLoggerCallback(tracking_uri=mlflow_uri(home), experiment_name="peers")],
        ),
    )
    print(tuner.fit().get_best_result(METRIC, "min").config)


# Optuna with a process pool.


def pool(home: Path, trials: int, steps: int) -> None:
    import mlflow
    import optuna

    mlflow.set_tracking_uri(mlflow_uri(home))
    mlflow.create_experiment("peers")  # here: the workers would all create the tables at once
    study = optuna.create_study(storage=f"sqlite:///{home}/study.db", sampler=sampler())
    running: dict[Future[float | None], optuna.Trial] = {}
    with ProcessPoolExecutor(CORES, get_context("spawn"), start_worker, (mlflow_uri(home),)) as workers:
        for _ in range(trials):
            if len(running) == CORES:
                tell(study, running)
            trial = study.ask()
            values = suggest(trial)
            running[workers.submit(train_and_log, values, steps, home / f"trial-{trial.number}")] = trial
        while running:
            tell(study, running)
    print(study.best_params)


def tell(study: Any, running: dict[Future[float | None], Any]) -> None:
    """Wait until a trial ends, and tell the study."""
    from optuna.trial import TrialState

    for done in wait(running, return_when=FIRST_COMPLETED).done:
        error = done.result()
        study.tell(running.pop(done), error, state=TrialState.FAIL if error is None else TrialState.COMPLETE)


def start_worker(uri: str) -> None:
    import mlflow
    import torch

    torch.set_num_threads(1)
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("peers")


def train_and_log(values: dict[str, Any], steps: int, directory: Path) -> float | None:
    """Return the error at the end, or None if the training collapsed or diverged."""
    import mlflow

    from trainers.errors import TrainingError

    error = float("nan")
    with mlflow.start_run(run_name=directory.name), suppress(TrainingError):
        mlflow.log_params(values)
        for number, metrics in enumerate(evaluations(values, steps, directory), 1):
            mlflow.log_metrics(metrics, step=number * (steps // EVALUATIONS))
            error = metrics[METRIC]
        return error
    return None


# What is measured.


def mlflow_uri(home: Path) -> str:
    return f"sqlite:///{home}/mlflow.db"


def command_of(way: str, options: argparse.Namespace, home: Path) -> list[str | Path]:
    """Return what the user types."""
    if way != "mt-sweep":
        sizes = ["--trials", str(options.trials), "--steps", str(options.steps)]
        return [sys.executable, __file__, *sizes, "--child", way, str(home)]
    every = options.steps // EVALUATIONS
    settings = ["pruner.name=none", "points=[]", "finalists.baselines=[]", "finalists.top=0"]
    settings += [f"trainer.steps={options.steps}", f"trainer.evaluate_every={every}"]
    words = [word for setting in settings for word in ("--set", setting)]
    return [MT_SWEEP, "run", FILE, "--name", "peers", "--trials", str(options.trials), "--home", home, *words]


def measure(way: str, options: argparse.Namespace) -> Measured:
    """Run one way, and watch its driver.

    Raises:
        SystemExit: it failed, or MLflow does not have all evaluations of most of its trials.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Ray's processes may end later
        home, log = Path(folder), Path(folder) / "log.txt"
        environment = os.environ | {"MT_SWEEP_CACHE": str(home / "cache"), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
        # Without a token of its own, Ray writes one into the user's home.
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        start, memory = time.time(), 0.0
        with log.open("w") as out:
            process = subprocess.Popen(
                command_of(way, options, home), cwd=home, env=environment, stdout=out, stderr=subprocess.STDOUT
            )
        # WNOWAIT: until it is waited for, a process that has ended still says how long it used a processor.
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            memory = max(memory, peak_memory(process.pid))
            time.sleep(0.05)
        end, cpu = time.time(), cpu_seconds(process.pid)
        if process.wait() != 0:
            sys.exit(f"{way}: exit status {process.returncode}\n{log.read_text()[-4000:]}")
        trials = reports(home)
        whole = sum(len(times) == EVALUATIONS for times in trials)
        if whole < 0.75 * options.trials:  # some may collapse
            sys.exit(f"{way}: MLflow has all evaluations of {whole} trials, not of {options.trials}")
    ends = sorted(max(times) for times in trials)
    first = min(min(times) for times in trials)
    per_trial = (ends[-1] - ends[0]) / (len(ends) - 1)
    return Measured(per_trial, end - start, first - start, end - ends[-1], cpu, memory)


def reports(home: Path) -> list[list[float]]:
    """Return when each evaluation was logged, in seconds since 1970: a list per trial."""
    found: dict[str, list[float]] = {}
    with closing(sqlite3.connect(f"file:{home}/mlflow.db?mode=ro", uri=True)) as database:
        for run, timestamp in database.execute("select run_uuid, timestamp from metrics where key = ?", (METRIC,)):
            found.setdefault(run, []).append(timestamp / 1000)
    return list(found.values())


def peak_memory(process: int) -> float:
    """Return the most MiB that a process has had; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def cpu_seconds(process: int) -> float:
    """Return the seconds that a process, without those that it started, has used a processor."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


WAYS = ("mt-sweep", "tune", "tune-reuse", "pool")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=32, help="of a run; at least 2")
    parser.add_argument("--steps", type=int, default=300, help=f"of a trial; at least {EVALUATIONS}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--child", nargs=2, metavar=("WAY", "HOME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trials < 2 or options.steps % EVALUATIONS:
        parser.error(f"--trials must be at least 2, and --steps a multiple of {EVALUATIONS}")
    if options.child:
        way, home = options.child[0], Path(options.child[1])
        if way == "pool":
            pool(home, options.trials, options.steps)
        else:
            tune(home, options.trials, options.steps, reuse_actors=way == "tune-reuse")
        return

    names = ("mlflow", "optuna", "ray", "torch")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(
        f"{platform.platform()}, {CORES} cores, Python {platform.python_version()}, {versions}\n"
        f"{options.trials} trials of {options.steps} steps; medians, and in brackets the range over the rounds\n"
        f"load before: {os.getloadavg()[0]:.1f} runnable processes in the last minute\n",
        flush=True,
    )
    measured: dict[str, list[Measured]] = {way: [] for way in options.ways}
    for done in range(options.rounds):
        shift = done % len(options.ways)
        for way in options.ways[shift:] + options.ways[:shift]:
            measured[way].append(measure(way, options))
            print(f"round {done + 1} of {options.rounds}, {way}: {measured[way][-1]}", file=sys.stderr, flush=True)
            time.sleep(PAUSE)
    print(
        "| way | n | seconds per trial | wall time, s | start to first report, s | last report to prompt, s "
        "| driver's processor seconds | driver's peak memory, MiB |\n|---|---|---|---|---|---|---|---|"
    )
    for way, runs in measured.items():
        columns = [[getattr(run, field.name) for run in runs] for field in fields(Measured)]
        digits = [2, 1, 1, 1, 1, 0]
        cells = [
            f"{statistics.median(values):.{n}f} ({min(values):.{n}f} to {max(values):.{n}f})"
            for values, n in zip(columns, digits, strict=True)
        ]
        print(f"| {way} | {len(runs)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
