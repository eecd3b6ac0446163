"""A real MLflow server, and a proxy before it that fails in the ways networks and servers do."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


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
        command = [sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", self._store]
        command += ["--artifacts-destination", (self._folder / "artifacts").as_uri()]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        log = (self._folder / "server.log").open("a")
        self._process = subprocess.Popen(
            command, env={**os.environ, **quiet}, stdout=log, stderr=log, start_new_session=True
        )
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5)
                return
            except OSError:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise RuntimeError((self._folder / "server.log").read_text()) from None
                time.sleep(0.2)

    def kill(self) -> None:
        """At once, with all its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()


class Proxy:
    """Passes bytes on to a server, or not, as its `mode` says.

    pass; refuse: nobody listens; error: status 500; unauthorized: status 401; stall: `seconds` pass before a request is
    passed on; cut: half of a request is passed on; lost: what makes a run is passed on, and its answer is not.
    """

    def __init__(self, port: int, seconds: float = 1.0) -> None:
        self._target = port
        self.seconds = seconds
        self.port = free_port()
        self.uri = f"http://{LOOPBACK}:{self.port}"
        self.hits = 0  # connections since the mode was set
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.mode = "pass"

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        """From now on, for connections that stand, too: they end."""
        self._mode, self.hits = mode, 0
        for one in list(self._open):
            _close(one)
        if mode == "refuse" and self._listener is not None:
            _close(self._listener)
            self._listener = None
        elif mode != "refuse" and self._listener is None:
            self._listener = socket.create_server((LOOPBACK, self.port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        self.mode = "refuse"

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # it was closed
                return
            self.hits += 1
            threading.Thread(target=self._serve, args=(client, self._mode), daemon=True).start()

    def _serve(self, client: socket.socket, mode: str) -> None:
        self._open.add(client)
        server = socket.socket()
        try:
            if mode in ("error", "unauthorized"):
                client.recv(1 << 16)
                status = "500 Internal Server Error" if mode == "error" else "401 Unauthorized"
                client.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsad\n".encode())
                return
            if mode == "stall":
                time.sleep(self.seconds)
            server.connect((LOOPBACK, self._target))
            self._open.add(server)
            makes_a_run = threading.Event()
            back = threading.Thread(target=_pump, args=(server, client, makes_a_run.is_set), daemon=True)
            back.start()
            while data := client.recv(1 << 16):
                if mode == "cut":
                    server.sendall(data[: len(data) // 2])
                    break
                if mode == "lost" and b"/runs/create" in data:
                    makes_a_run.set()
                server.sendall(data)
            _close(server)
            back.join()
        except OSError:
            pass
        finally:
            for one in (client, server):
                _close(one)
                self._open.discard(one)


def _pump(source: socket.socket, target: socket.socket, is_lost: Callable[[], bool]) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            if is_lost():  # the answer has come, so that the server has done it
                break
            target.sendall(data)
    _close(target)


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


class Postgres:
    """A PostgreSQL of its own, on loopback, with a password; only where Debian's is installed."""

    @staticmethod
    def binaries() -> Path | None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        return found[-1] if found else None

    def __enter__(self) -> Self:
        self.port, self.password = free_port(), "sesame"
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
