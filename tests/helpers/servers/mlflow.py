"""`mlflow server`, alone or with the other servers of a team."""

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
    """`mlflow server` on a folder or on another store. It can be killed and started again."""

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
        """Start the server, and return when it answers."""
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
        """Kill all its processes at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()


class TeamMLflow(MLflowServer):
    """MLflow as docker-compose.yml starts it, on a real PostgreSQL and a real object store."""

    def __init__(self, folder: Path, postgres: Postgres, store: ObjectStore) -> None:
        super().__init__(folder)
        file = compose.loaded(compose.with_secrets())
        self._service = file["services"]["mlflow"]
        self._replaced = {
            "sweeps@postgres:5432": postgres.address.removeprefix("postgresql://").removesuffix("/postgres"),
            "http://store:8333": store.environment["AWS_ENDPOINT_URL"],
            "/etc/mlflow": str(folder),
        }
        (folder / "auth.ini").write_text(self._with_real_servers(file["configs"]["auth"]["content"]))
        with psycopg.connect(postgres.uri, autocommit=True) as connection:
            for statement in file["configs"]["databases"]["content"].splitlines():
                connection.execute(statement)

    @property
    def credentials(self) -> dict[str, str]:
        """The environment variables with which a client is its administrator."""
        environment = self._service["environment"]
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_USERNAME": environment["MLFLOW_AUTH_ADMIN_USERNAME"],
            "MLFLOW_TRACKING_PASSWORD": environment["MLFLOW_AUTH_ADMIN_PASSWORD"],
        }

    def _command(self) -> list[str]:
        replaced = {"mlflow": str(Path(sys.executable).parent / "mlflow"), "0.0.0.0": LOOPBACK, "5000": str(self.port)}
        return [replaced.get(word, word) for word in self._service["command"]]

    def _environment(self) -> dict[str, str]:
        return {name: self._with_real_servers(value) for name, value in self._service["environment"].items()}

    def _with_real_servers(self, text: str) -> str:
        for in_compose, real in self._replaced.items():
            text = text.replace(in_compose, real)
        return text
