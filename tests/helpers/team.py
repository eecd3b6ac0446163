"""A team's servers and cluster on this machine, and the commands of its members."""

import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import optuna
import pytest

from mt_sweeps.execution.simulated_trainer import VARIABLE
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.tracking.client import Client
from tests.helpers.chaos import SAME, shown, study
from tests.helpers.command_line import DIGITS, MT_SWEEP
from tests.helpers.servers.mlflow import TeamMLflow
from tests.helpers.servers.postgres import Postgres
from tests.helpers.servers.ray import RayCluster
from tests.helpers.servers.store import ObjectStore

AT_ONCE = int(os.environ.get("MT_SWEEPS_AT_ONCE", "4"))  # trials that the team's cluster runs


class Team:
    """Its members have the token of the cluster; some also reach the ledgers and MLflow, as the head does.

    Args:
        folder: for what the servers keep.
        seconds: that a scripted trial takes between two evaluations.
        nodes: of the cluster.
        cores: of a node: so many trials at once.
    """

    def __init__(self, folder: Path, seconds: float = 0.1, nodes: int = 2, cores: int = 1) -> None:
        self.folder = folder
        self._seconds, self._nodes, self._cores = seconds, nodes, cores

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for name in ("store", "mlflow"):
                (self.folder / name).mkdir()
            self.postgres = stack.enter_context(Postgres())
            self.store = stack.enter_context(ObjectStore(self.folder / "store"))
            self.mlflow = stack.enter_context(TeamMLflow(self.folder / "mlflow", self.postgres, self.store))
            short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)))
            self.reader = {
                "MT_SWEEP_HOME": self.postgres.address,
                "PGPASSWORD": self.postgres.password,
                **self.mlflow.credentials,
                **self.store.environment,
            }
            script = {VARIABLE: json.dumps({"seconds": self._seconds, "log": str(self.folder / "computed.txt")})}
            self.cluster = stack.enter_context(
                RayCluster(short, {**self.store.environment, **script}, self.reader, self._nodes, self._cores)
            )
            self._servers = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()

    def submit(self, name: str, trials: int, *sets: str) -> subprocess.CompletedProcess[str]:
        """From a machine that has the token and nothing else; returns when the driver has begun, or refused."""
        return done(self.start(self.submission(name, trials, *sets), self.cluster.secrets))

    def submission(self, name: str, trials: int, *sets: str) -> list[str]:
        """The command."""
        kept = (f"tracking.uri={self.mlflow.uri}", f"storage={self.store.location}")
        options = [word for one in (*SAME, "pruner.name=none", *kept, *sets) for word in ("--set", one)]
        command = ["submit", str(DIGITS), "--address", self.cluster.dashboard, "--name", name]
        return [*command, "--trials", str(trials), *options]

    def resume(self, name: str) -> subprocess.CompletedProcess[str]:
        """From there, too."""
        return done(self.start(["resume", name, "--address", self.cluster.dashboard], self.cluster.secrets))

    def read(self, *arguments: str) -> str:
        """What a command says to one who reaches the ledgers."""
        said = done(self.start([*arguments], self.reader))
        assert said.returncode == 0, said.stderr
        return said.stdout

    def start(
        self, arguments: list[str], environment: dict[str, str], program: tuple[str, ...] = (str(MT_SWEEP),)
    ) -> subprocess.Popen[str]:
        """A command in a folder of its own, that has nothing in the environment but this."""
        here = Path(tempfile.mkdtemp(dir=self.folder))
        ours = ("MLFLOW_", "AWS_", "MT_SWEEP", "RAY_", "PG")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return subprocess.Popen(
            [*program, *arguments],
            cwd=here,
            env={**kept, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def state(self, name: str) -> dict[str, Any]:
        """What `status` says of a sweep."""
        told: dict[str, Any] = json.loads(self.read("status", name, "--json"))
        return told

    def until(self, name: str, state: str, seconds: float = 180) -> dict[str, Any]:
        """Wait for it to be in a state."""
        end = time.monotonic() + seconds
        while (told := self.state(name))["state"] != state:
            assert time.monotonic() < end, f"{name} is not {state} after {seconds} s: {told}\n{self.logs()}"
            time.sleep(3)  # the command takes two seconds of a core
        return told

    def reports(self, name: str) -> int:
        """How many evaluations the ledger has of a sweep."""
        return sum(len(trial.intermediate_values) for trial in self.study(name))

    def until_reports(self, name: str, count: int, seconds: float = 120) -> None:
        """Wait for so many."""
        end = time.monotonic() + seconds
        while self.reports(name) < count:
            assert time.monotonic() < end, f"{name} has {self.reports(name)} reports, not {count}\n{self.logs()}"
            time.sleep(0.1)

    def study(self, name: str) -> list[optuna.trial.FrozenTrial]:
        """The trials of the ledger, read past the code that is tested."""
        return study(name, self.postgres.uri.replace("postgresql://", "postgresql+psycopg://"))

    def computed(self) -> Counter[tuple[int, int]]:
        """How often a trial's evaluation at a step was computed, in whatever sweep."""
        lines = (self.folder / "computed.txt").read_text().splitlines()
        return Counter((int(number), int(step)) for number, step in map(str.split, lines))

    def recorded(self, name: str) -> dict[int, tuple[int, list[int]]]:
        """Of each trial, how many attempts it had, and the steps that the last one recorded."""
        store = self.store.client()
        pages = store.get_paginator("list_objects_v2").paginate(Bucket=self.store.bucket, Prefix=f"trials/{name}-")
        attempts: dict[int, dict[int, str]] = {}
        for one in (one for page in pages for one in page["Contents"]):
            _, _, trial, attempt, file = one["Key"].split("/")
            if file == "records.jsonl":
                attempts.setdefault(int(trial), {})[int(attempt.removeprefix("attempt-"))] = one["Key"]
        found = {}
        for trial, keys in attempts.items():
            body = store.get_object(Bucket=self.store.bucket, Key=keys[max(keys)])["Body"].read()
            found[trial] = len(keys), [json.loads(line)["step"] for line in body.decode().splitlines()]
        return found

    def shown(self, name: str) -> dict[int, tuple[str, list[int]]]:
        """What MLflow has of each trial: the status of its run, and the steps of its metric."""
        sweep_id = json.loads(self.read("best", name, "--json"))["sweep_id"]
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in self.reader.items():
                patch.setenv(variable, value)
            return shown(Client(LocalHome(self.folder), Tracking(uri=self.mlflow.uri)), self.mlflow.uri, sweep_id)

    def kill_driver(self, name: str) -> bool:
        """Whether there was one."""
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (process / "cmdline").read_bytes().decode().split("\0")
                if Path(words[1] if len(words) > 1 else "").name == "mt-sweep" and name in words:
                    os.kill(int(process.name), 9)
                    return True
        return False

    def logs(self) -> str:
        """What the drivers printed."""
        found = sorted(self.cluster.folder.glob("session_latest/logs/job-driver-*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text()[-3000:]}" for file in found)


def done(process: subprocess.Popen[str], seconds: float = 240) -> subprocess.CompletedProcess[str]:
    """What came of a command."""
    out, error = process.communicate(timeout=seconds)
    assert "Traceback" not in error, error
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)
