"""PostgreSQL."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.helpers import compose
from tests.helpers.servers.common import LOOPBACK, free_port


class Postgres:
    """A PostgreSQL on loopback, with a password. It needs Debian's package."""

    @staticmethod
    def binaries() -> Path | None:
        """Return the folder of its programs, or None if it is not installed."""
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        return versions[-1] if versions else None

    def __enter__(self) -> Self:
        self.port, self.password = free_port(), compose.with_secrets()["POSTGRES_PASSWORD"]
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        # It refuses to run as root.
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        (self._folder / "password").write_text(self.password)
        self._call("initdb", "-D", "data", "-U", "postgres", "--auth", "scram-sha-256", "--pwfile", "password")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")
        shutil.rmtree(self._folder)

    @property
    def uri(self) -> str:
        return f"postgresql://postgres:{self.password}@{LOOPBACK}:{self.port}/postgres"

    @property
    def address(self) -> str:
        """The address without the password, which clients have in `PGPASSWORD`."""
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/postgres"

    def start(self) -> None:
        options = f"-h {LOOPBACK} -p {self.port} -k {self._folder}"
        self._call("pg_ctl", "-D", "data", "-o", options, "-l", "log", "-w", "start")

    def stop(self, how: str = "fast") -> None:
        self._call("pg_ctl", "-D", "data", "-m", how, "stop")

    def _call(self, program: str, *arguments: str) -> None:
        binaries = self.binaries()
        assert binaries is not None
        command = [binaries / program, *arguments]
        subprocess.run(command, cwd=self._folder, user=self._user, check=True, stdout=subprocess.DEVNULL)
