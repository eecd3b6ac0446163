"""What the driver of a sweep waits for while MLflow fails: each of its calls to the ledger, timed.

With no window at all, and while a proxy before a real server fails in one way after another.

    uv run python -m benchmarks.outages

Twenty trials a second are asked for, evaluated twice and completed; the window is brought up to date in the background
as in a sweep. All files lie in memory where that is offered (`/dev/shm`): else the disk, which takes up to 170 ms to
keep a write, is what is measured. At the end of each outage MLflow is completed, and every point of every trial is
counted.
"""

import argparse
import importlib.metadata
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mt_sweeps.tracking.background import BackgroundWriter
from mt_sweeps.tracking.sweep_run import SweepRun
from tests.helpers.servers.mlflow import MLflowServer
from tests.helpers.servers.proxy import Proxy
from tests.helpers.sweeps import Sweep, report, supervised_report

MODES = ("no window", "pass", "refuse", "error", "stall", "cut", "lost", "server killed")
STALL = 30.0
MEMORY = Path("/dev/shm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0, help="of each outage")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, metavar="MODE", help="only these outages")
    options = parser.parse_args()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("mlflow", "optuna"))
    print(f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}, {versions}\n")
    print("| what MLflow does | calls | median, ms | 99.9 %, ms | longest, ms | points missing | points twice |")
    print("|---|---|---|---|---|---|---|")
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
        MLflowServer(Path(folder)) as server,
    ):
        for mode in options.modes:
            print(_row(mode, Path(folder) / mode.replace(" ", "-"), server, options.seconds), flush=True)


def _row(mode: str, folder: Path, server: MLflowServer, seconds: float) -> str:
    proxy = Proxy(server.port, STALL)
    sweep = Sweep(folder, f"tracking.uri={proxy.uri}", f"tracking.experiment={folder.name}", "trials=100000")
    window = SweepRun(sweep.home, sweep.directory, sweep.ledger)
    synced = threading.Event()

    def sync() -> None:
        window.sync()
        synced.set()

    writer = BackgroundWriter(sync)
    if mode != "no window":
        writer.start()
        assert synced.wait(120)  # MLflow is imported
    if mode == "server killed":
        server.kill()
    elif mode != "no window":
        proxy.mode = mode
    took = sorted(_driven(sweep, seconds))
    if mode == "server killed":
        server.start()
    proxy.mode = "pass"
    missing = twice = "-"
    if mode != "no window":
        assert writer.stop(300)
        window.finish("FINISHED", "")
        missing, twice = map(str, _counted(sweep, server))
    proxy.close()
    milliseconds = [1000 * of for of in (statistics.median(took), took[int(0.999 * len(took))], took[-1])]
    return f"| {mode} | {len(took):,} | " + " | ".join(f"{of:.1f}" for of in milliseconds) + f" | {missing} | {twice} |"


def _driven(sweep: Sweep, seconds: float) -> list[float]:
    """Seconds of each call to the ledger."""
    took = []

    def timed(call: Callable[..., Any], *arguments: Any) -> Any:
        began = time.perf_counter()
        result = call(*arguments)
        took.append(time.perf_counter() - began)
        return result

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        trial = timed(sweep.ledger.ask_search)
        last = sweep.train(trial, 0.5)
        told = supervised_report if trial.arm == "supervised" else report
        timed(sweep.ledger.report, trial, last)
        timed(sweep.ledger.complete, trial, told(30, 0.5))
        time.sleep(0.05)
    return took


def _counted(sweep: Sweep, server: MLflowServer) -> tuple[int, int]:
    """How many trials' points are missing, and how many are there more than once."""
    import mlflow

    client = mlflow.MlflowClient(server.uri)
    found: dict[tuple[str, int], int] = {}
    experiment = client.get_experiment_by_name(sweep.spec.tracking.experiment)
    token = None
    while True:
        page = client.search_runs([experiment.experiment_id], "tags.`mt.trial` != ''", page_token=token)
        for run in page:
            place = run.data.tags["mt.arm"], int(run.data.tags["mt.trial"])
            found[place] = found.get(place, 0) + len(
                client.get_metric_history(run.info.run_id, "validation.student_error")
            )
        token = page.token
        if not token:
            break
    trials = [(trial.arm, trial.number) for trial in sweep.ledger.all_trials()]
    return sum(found.get(place, 0) == 0 for place in trials), sum(found.get(place, 0) > 1 for place in trials)


if __name__ == "__main__":
    main()
