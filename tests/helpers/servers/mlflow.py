"""`mlflow server`, alone or as a team has it."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

import psycopg

from tests.helpers import compose
from tests.helpers.servers.common import LOOPBACK, free_port, wait_for
from tests.helpers.servers.postgres import Postgres
from tests.helpers.servers.store import ObjectStore


class MLflowServer:
    """`mlflow server` on a folder, or on another store; it can be killed and started again."""

    def __init__(self, folder: Path, store: str | None = None) -> None:
        self.port = free_port()
        self.uri = f"http://{LOOPBACK}:{self.port}"
        self._folder = folder
        self._store = store or f"sqlite:///{folder / 'server.db'}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when it answers."""
        log = (self._folder / "server.log").open("a")
        environment = {**os.environ, **self._environment()}
        self._process = subprocess.Popen(
            self._command(), env=environment, stdout=log, stderr=log, start_new_session=True
        )
        wait_for(f"{self.uri}/health", self._process, Path(log.name))

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", self._store]
        return [*command, "--artifacts-destination", (self._folder / "artifacts").as_uri()]

    def _environment(self) -> dict[str, str]:
        return {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}

    def kill(self) -> None:
        """At once, with all its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()


class TeamMLflow(MLflowServer):
    """As docker-compose.yml starts it, on real ones of what it names."""

    def __init__(self, folder: Path, postgres: Postgres, store: ObjectStore) -> None:
        super().__init__(folder)
        file = compose.loaded(compose.with_secrets())
        self._service = file["services"]["mlflow"]
        self._replaced = {
            "sweeps@postgres:5432": postgres.address.removeprefix("postgresql://").removesuffix("/postgres"),
            "http://store:8333": store.environment["AWS_ENDPOINT_URL"],
            "/etc/mlflow": str(folder),
        }
        (folder / "auth.ini").write_text(self._here(file["configs"]["auth"]["content"]))
        with psycopg.connect(postgres.uri, autocommit=True) as connection:
            for statement in file["configs"]["databases"]["content"].splitlines():
                connection.execute(statement)

    @property
    def credentials(self) -> dict[str, str]:
        """Of its administrator, as its clients have them in the environment."""
        has = self._service["environment"]
        return {
            "MLFLOW_TRACKING_USERNAME": has["MLFLOW_AUTH_ADMIN_USERNAME"],
            "MLFLOW_TRACKING_PASSWORD": has["MLFLOW_AUTH_ADMIN_PASSWORD"],
        }

    def _command(self) -> list[str]:
        replaced = {"mlflow": str(Path(sys.executable).parent / "mlflow"), "0.0.0.0": LOOPBACK, "5000": str(self.port)}
        return [replaced.get(word, word) for word in self._service["command"]]

    def _environment(self) -> dict[str, str]:
        return {name: self._here(value) for name, value in self._service["environment"].items()}

    def _here(self, text: str) -> str:
        for there, here in self._replaced.items():
            text = text.replace(there, here)
        return text
