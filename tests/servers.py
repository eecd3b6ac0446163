"""Real servers, each of its own on loopback, and a proxy that fails in the ways networks and servers do."""

import itertools
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
from typing import Any, Self

import psycopg

from tests import compose

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def wait_for(address: str, process: subprocess.Popen[Any], log: Path | None = None) -> None:
    """Until a server answers there; fails, with its log, where it ends before."""
    until = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except OSError:
            if time.monotonic() > until or process.poll() is not None:
                raise RuntimeError(log.read_text() if log else address) from None
            time.sleep(0.1)


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


class Proxy:
    """Passes bytes on to a server, or not, as its `mode` says.

    pass; refuse: nobody listens; error: status 500; unauthorized: status 401; stall: `seconds` pass before a request is
    passed on; cut: half of a request is passed on; lost: what makes a run is passed on, and its answer is not.
    """

    def __init__(self, port: int, seconds: float = 1.0, host: str = LOOPBACK) -> None:
        self._target = port
        self.seconds = seconds
        self._host, self.port = host, free_port()
        self.uri = f"http://{host}:{self.port}"
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
            self._listener = socket.create_server((self._host, self.port))
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
        """Without the password, which clients have in the environment."""
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


class ObjectStore:
    """SeaweedFS, as docker-compose.yml starts it, on loopback; `environment` is what its clients need.

    It can be killed and started again.
    """

    bucket = "sweeps"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        secrets = compose.with_secrets()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{self.port}",
            "AWS_ACCESS_KEY_ID": secrets["STORE_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": secrets["STORE_SECRET_KEY"],
            "AWS_REGION": "us-east-1",
        }
        self.grpc_port = free_port()
        self.credentials_file = folder / "credentials.json"

    def __enter__(self) -> Self:
        file = compose.loaded(compose.with_secrets())
        credentials = self.credentials_file
        credentials.write_text(file["configs"]["credentials"]["content"])
        (self._folder / "data").mkdir()
        service = file["services"]["store"]
        ports = {"-s3.port": self.port, "-s3.port.grpc": self.grpc_port}
        for part in ("master", "volume", "filer"):
            ports |= {f"-{part}.port": free_port(), f"-{part}.port.grpc": free_port()}
        here = {"-dir": self._folder / "data", "-s3.ip.bind": LOOPBACK, "-s3.config": credentials, **ports}
        words = [word for word in service["command"].split() if word.partition("=")[0] not in here]
        weed = str(Path(sys.executable).parent / "weed")
        self._command = [weed, *words, *(f"{option}={value}" for option, value in here.items())]
        self._environment = service["environment"]
        self.start()
        (buckets,) = file["services"]["buckets"]["command"][2:]
        program = [sys.executable, "-c", buckets]
        subprocess.run(program, env={**os.environ, **self.environment}, check=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when it answers."""
        log = (self._folder / "store.log").open("a")
        environment = {**os.environ, **self._environment}
        self._process = subprocess.Popen(self._command, env=environment, stdout=log, stderr=log)
        wait_for(f"http://{LOOPBACK}:{self.port}/healthz", self._process, Path(log.name))

    def kill(self) -> None:
        """At once."""
        self._process.kill()
        self._process.wait()

    @property
    def place(self) -> str:
        return f"s3://{self.bucket}/trials"


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


class RayCluster:
    """A head without cores and nodes of some, each a process of its own; the token is in the environment of them all.

    Args:
        folder: for their session files; Ray wants it short.
        environment: of head and nodes.
        of_the_head: what drivers need besides.
        nodes: how many to start with.
        cores: of a node.
    """

    token = compose.with_secrets()["RAY_TOKEN"]

    def __init__(
        self, folder: Path, environment: dict[str, str], of_the_head: dict[str, str], nodes: int = 2, cores: int = 1
    ) -> None:
        self.folder, self.nodes, self.cores = folder, nodes, cores
        self.port, self.dashboard_port = free_port(), free_port()
        self._count = itertools.count()
        self.dashboard = f"http://{LOOPBACK}:{self.dashboard_port}"
        # What a client needs, too.
        self.secrets = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        binaries = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        settings = compose.loaded(compose.with_secrets())["x-ray"]
        settings["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = (
            "0"  # else under `uv run` every worker would make its own environment
        )
        self._environment = {**os.environ, **binaries, **environment, **settings, **self.secrets}
        self._of_the_head = of_the_head
        self.running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        head = ["--head", f"--port={self.port}", "--num-cpus=0", f"--dashboard-port={self.dashboard_port}"]
        head += [f"--ray-client-server-port={free_port()}", "--include-dashboard=true", f"--temp-dir={self.folder}"]
        self._start(*head, environment=self._of_the_head)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # Ray takes this for 127.0.0.1, too
            probe.connect(("192.0.2.1", 9))
            self._head = probe.getsockname()[0]
        for _ in range(self.nodes):
            self.add()
        return self

    def __exit__(self, *_: object) -> None:
        for node in list(self.running):
            self.kill(node)

    def add(
        self, environment: dict[str, str] | None = None, namespace: "Namespace | None" = None
    ) -> subprocess.Popen[bytes]:
        """One more node; with other variables, or in a network of its own."""
        options = [f"--address={self._head}:{self.port}", f"--num-cpus={self.cores}"]
        return self._start(*options, environment=environment or {}, namespace=namespace)

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """A node with all that runs on it."""
        with suppress(ProcessLookupError):
            os.killpg(node.pid, 9)
        node.wait()
        self.running.remove(node)

    def _start(
        self, *options: str, environment: dict[str, str], namespace: "Namespace | None" = None
    ) -> subprocess.Popen[bytes]:
        ports = ("dashboard-agent-listen", "dashboard-agent-grpc", "metrics-export", "runtime-env-agent")
        command = ["ip", "netns", "exec", namespace.name] if namespace else []
        command += [str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats"]
        command += [f"--node-ip-address={namespace.address if namespace else LOOPBACK}"]
        command += [f"--{port}-port={free_port()}" for port in ports] + ["--object-store-memory=100000000"]
        log = Path(f"{self.folder}-{next(self._count)}.log")
        with log.open("w") as out:
            node = subprocess.Popen(
                [*command, *options],
                cwd=self.folder,
                env={**self._environment, **environment},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.running.append(node)
        until = time.monotonic() + 90
        # One after the other: on one machine they choose the names of their sockets from those that they see.
        while "Ray runtime started" not in log.read_text():
            if time.monotonic() > until or node.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.1)
        return node


class Namespace:
    """A network of its own, joined to this machine's by one cable; root alone makes one."""

    name, here, address = "mt-sweeps", "10.77.0.1", "10.77.0.2"
    _cable = "mt-sweeps-0"

    @staticmethod
    def is_possible() -> bool:
        if os.getuid() != 0 or shutil.which("ip") is None:
            return False
        made = subprocess.run(["ip", "netns", "add", "mt-sweeps-try"], capture_output=True)
        subprocess.run(["ip", "netns", "del", "mt-sweeps-try"], capture_output=True)
        return made.returncode == 0

    def __enter__(self) -> Self:
        there = f"{self._cable}-b"
        for command in (
            f"netns add {self.name}",
            f"link add {self._cable} type veth peer name {there} netns {self.name}",
            f"addr add {self.here}/24 dev {self._cable}",
            f"link set {self._cable} up",
            f"-n {self.name} addr add {self.address}/24 dev {there}",
            f"-n {self.name} link set {there} up",
            f"-n {self.name} link set lo up",
            f"-n {self.name} route add default via {self.here}",
        ):
            self._ip(command)
        return self

    def __exit__(self, *_: object) -> None:
        self._ip(f"link del {self._cable}")
        self._ip(f"netns del {self.name}")

    def cut(self) -> None:
        """Nothing goes through the cable."""
        self._ip(f"link set {self._cable} down")

    def mend(self) -> None:
        self._ip(f"link set {self._cable} up")

    def _ip(self, command: str) -> None:
        subprocess.run(["ip", *command.split()], check=True)
