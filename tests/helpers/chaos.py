"""Sweeps that are killed: a driver in a session of its own, what it started, and what must be true in the end."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import mlflow
import optuna

from mt_sweeps.execution.simulated_trainer import VARIABLE
from mt_sweeps.spec.sweep_spec import Tracking
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.tracking.client import Client
from mt_sweeps.tracking.embedded_store import embedded_uri
from tests.helpers.command_line import DIGITS, MT_SWEEP
from tests.helpers.sweeps import digits, swept

KILLS = int(os.environ.get("MT_SWEEPS_KILLS", "3"))  # of the campaign of random kills
PAUSES = int(os.environ.get("MT_SWEEPS_PAUSES", "0"))  # of the same campaign
PAUSE_SECONDS = 30.0  # longer than Ray's heartbeats are waited for
NAME = "digits"
INTERVAL, STEPS = 30, 300  # optimiser steps of an evaluation interval, and of a trial
SAME = ("sampler.name=random", "finalists.baselines=[]", "finalists.top=0", "trainer.model.width=4")
SAME += (f"trainer.evaluate_every={INTERVAL}",)


class Sweep:
    """A sweep of scripted trials in a folder, and whatever drives it.

    Args:
        folder: its home is `sweeps` there.
        trials: how many.
        seconds: that the steps between two evaluations take.
        pruner: its name.
    """

    def __init__(self, folder: Path, trials: int, seconds: float = 0.1, pruner: str = "none") -> None:
        self.folder = folder
        self.home = folder / "sweeps"
        self.path = self.home / NAME
        self.trials = trials
        self.seconds = seconds
        self._log = folder / "computed.txt"
        sets = [word for one in (*SAME, f"pruner.name={pruner}") for word in ("--set", one)]
        self._run = ("run", str(DIGITS), "--trials", str(trials), *sets)

    def drive(self, *program: str) -> "Driver":
        """Start it, or go on with it where it has begun.

        Args:
            program: instead of the console script.
        """
        if not (self.path / "spec.yaml").exists():  # what was killed before it began is no sweep
            shutil.rmtree(self.path, ignore_errors=True)
        arguments = ("resume", NAME) if self.path.exists() else self._run
        script = {"seconds": self.seconds, "log": str(self._log)}
        return Driver((*(program or (str(MT_SWEEP),)), *arguments), self.folder, script)

    def finish(self) -> str:
        """Carry it to its end undisturbed; what was printed."""
        status, out = self.drive().wait(240 + 3 * self.trials)
        assert status == 0, out
        return out

    def study(self) -> list[optuna.trial.FrozenTrial]:
        """The trials of the ledger, read past the code that is tested."""
        return study(NAME, f"sqlite:///{self.path / 'ledger.db'}")

    def computed(self) -> Counter[tuple[int, int]]:
        """How often a trial's evaluation at a step was computed, whatever became of it."""
        lines = self._log.read_text().splitlines()
        return Counter((int(number), int(step)) for number, step in map(str.split, lines))

    def shown(self) -> dict[int, tuple[str, list[int]]]:
        """What MLflow has of it."""
        home, sweep_id = LocalHome(self.home), json.loads((self.path / "environment.json").read_text())["id"]
        return shown(Client(home, Tracking()), embedded_uri(home), sweep_id)

    def attempts(self, number: int) -> list[Path]:
        """The directories of a trial's attempts, in their order."""
        found = (self.path / "trials" / f"{number:04d}").glob("attempt-*")
        return sorted(found, key=lambda path: int(path.name.partition("-")[2]))


class Driver:
    """A command that drives a sweep, and the processes that it started."""

    started: ClassVar[list["Driver"]] = []  # so that none outlives its test

    def __init__(self, command: tuple[str, ...], folder: Path, script: dict[str, Any]) -> None:
        environment = {**os.environ, VARIABLE: json.dumps(script)}
        self._out = (folder / f"driver-{len(list(folder.glob('driver-*')))}.out").open("w")
        self._ours: set[tuple[int, str]] = set()
        self.started.append(self)
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A shell without job control starts its background jobs, and so their children, deaf to this signal.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def printed(self) -> str:
        return Path(self._out.name).read_text()

    def until(self, text: str, seconds: float = 120) -> bool:
        """Whether it printed `text` before it ended."""
        end = time.monotonic() + seconds
        while text not in self.printed():
            if self.ended:
                return text in self.printed()
            assert time.monotonic() < end, f"{text!r} was not printed within {seconds} s:\n{self.printed()}"
            time.sleep(0.02)
        return True

    def kill(self, what: str, how: signal.Signals = signal.SIGKILL, which: float = 0.0) -> bool:
        """Send a signal to a process.

        Args:
            what: driver, worker, raylet or gcs_server.
            how: the signal.
            which: of several workers, from 0 to 1.

        Returns:
            Whether there was one.
        """
        found = self._find(what)
        if not found:
            return False
        try:
            os.kill(found[int(which * len(found))], how)
        except ProcessLookupError:
            return False
        return True

    def pause(self, what: str, which: float = 0.0) -> bool:
        """Stop a process for `PAUSE_SECONDS`, and let it go on; arguments and result as of `kill`."""
        found = self._find(what)
        if not found:
            return False
        pid = found[int(which * len(found))]
        born = _born(pid)
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            return False
        time.sleep(PAUSE_SECONDS)
        if _born(pid) == born:
            os.kill(pid, signal.SIGCONT)
        return True

    def _find(self, what: str) -> list[int]:
        tree = descendants(self.process.pid)
        self._ours |= {(pid, _born(pid)) for pid in tree}
        if what == "driver":
            found = [] if self.ended else [self.process.pid]
        elif what == "worker":
            found = [pid for pid in tree if title(pid).startswith(("ray::TrialWorker", "ray::ResourceTrainable"))]
        else:
            found = [pid for pid in tree if Path(title(pid).split(" ")[0]).name == what]
        return sorted(found)

    def wait(self, seconds: float = 240) -> tuple[int, str]:
        """Its exit status, and what it printed. Ends it where it hangs."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"the driver did not end within {seconds} s:\n{self.printed()}") from None
        out = self.printed()
        assert "Traceback" not in out, out
        return status, out

    def left_behind(self, seconds: float, begins: str = "") -> list[str]:
        """The processes that it had started before a kill, and that are still there after some seconds.

        Args:
            seconds: to wait at the most.
            begins: look only for those whose titles begin so.
        """
        end = time.monotonic() + seconds
        while True:
            alive = [title(pid) for pid, born in self._ours if born and _born(pid) == born]
            alive = [title.strip() for title in alive if title.startswith(begins)]
            if not alive or time.monotonic() > end:
                return alive
            time.sleep(0.2)


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that they started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, new = [], [pid]
    while new:
        new = [child for parent in new for child in children.get(parent, [])]
        found += new
    return found


def study(name: str, url: str) -> list[optuna.trial.FrozenTrial]:
    """The trials of a study."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.RDBStorage(url)
    trials = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
    storage.remove_session()
    storage.engine.dispose()  # who waits for something asks ten times a second, and a server has so many connections
    return trials


def undisturbed(folder: Path, trials: int) -> list[optuna.trial.FrozenTrial]:
    """Those of a sweep that nothing disturbs, trained one after the other in this process."""
    made = swept(LocalHome(folder), digits(*SAME, "pruner.name=none", f"trials={trials}"))
    return study(made.name, f"sqlite:///{made.ledger}")


def check_ledger(trials: list[optuna.trial.FrozenTrial], expected: list[optuna.trial.FrozenTrial]) -> None:
    """Each trial is there once, complete, and came to what it does undisturbed."""
    assert [trial.number for trial in trials] == list(range(len(expected))), "no trial is lost, none is there twice"
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert [t.params for t in trials] == [t.params for t in expected], "the configurations of an undisturbed run"
    assert [t.value for t in trials] == [t.value for t in expected], "and its results"
    assert [t.intermediate_values for t in trials] == [t.intermediate_values for t in expected]
    assert {tuple(sorted(t.intermediate_values)) for t in trials} == {tuple(range(INTERVAL, STEPS + 1, INTERVAL))}


def check(sweep: Sweep, undisturbed: list[optuna.trial.FrozenTrial], lost: int = 0) -> int:
    """What must be true of a sweep that went through anything, beside the same one that nothing disturbed.

    Args:
        sweep: finished.
        undisturbed: its trials, as many or more: a trial does not depend on how many there are.
        lost: intervals whose checkpoints were taken away.

    Returns:
        How many evaluation intervals were computed again.
    """
    trials = sweep.study()
    check_ledger(trials, undisturbed[: sweep.trials])
    steps = list(range(INTERVAL, STEPS + 1, INTERVAL))
    computed = sweep.computed()
    for trial in trials:
        assert list(trial.intermediate_values) == steps
        attempts = sweep.attempts(trial.number)
        last = _records(attempts[-1])
        assert [step for step, _ in last] == steps, "every evaluation once, in order"
        assert [when for _, when in last] == sorted(when for _, when in last)
        again = sum(computed[trial.number, step] - 1 for step in steps)
        assert again <= len(attempts) - 1 + lost, "an attempt computes at most one interval again"
    winner = min(trials, key=lambda trial: trial.value)
    assert best(sweep) == (winner.number, winner.value)
    assert sweep.shown() == dict.fromkeys(range(sweep.trials), ("FINISHED", steps))
    return computed.total() - len(steps) * sweep.trials


def best(sweep: Sweep) -> tuple[int, float]:
    """The trial and the error that `mt-sweep best` names."""
    command = [str(MT_SWEEP), "best", NAME, "--json"]
    told = subprocess.run(command, cwd=sweep.folder, capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(told.stdout)
    return found["trial"], found["validation"]["error"]


def shown(client: Client, uri: str, sweep_id: str) -> dict[int, tuple[str, list[int]]]:
    """What MLflow has of every trial: the status of its run, and the steps of its metric."""
    store = mlflow.MlflowClient(uri)
    (parent,) = client.runs({"mt.sweep": sweep_id})
    assert parent.status == "FINISHED"
    statuses = {}
    for run in client.runs({"mlflow.parentRunId": parent.id}):
        assert int(run.tags["mt.trial"]) not in statuses, "one run per trial"
        steps = sorted(metric.step for metric in store.get_metric_history(run.id, "validation.teacher_error"))
        statuses[int(run.tags["mt.trial"])] = run.status, steps
    return statuses


def _records(attempt: Path) -> list[tuple[int, float]]:
    file = attempt / "records.jsonl"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [(one["step"], one["time"]) for one in map(json.loads, lines)]


def _stat(pid: int) -> list[str]:
    """State, parent and so on, from `/proc`; empty: there is no such process, or it only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return fields if fields[0] != "Z" else []


def _born(pid: int) -> str:
    """With it a process is told from a later one of the same number; empty: there is none."""
    fields = _stat(pid)
    return fields[19] if fields else ""


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
