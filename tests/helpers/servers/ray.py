"""A Ray cluster whose nodes can be added and killed."""

import itertools
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.helpers import compose
from tests.helpers.servers.common import LOOPBACK, free_port
from tests.helpers.servers.network import Namespace


class RayCluster:
    """A head without cores, and nodes with some, each in a process of its own. The token is in their environment.

    Args:
        folder: for their session files; its path must be short.
        environment: variables of head and nodes.
        of_the_head: further variables of the head, where drivers run.
        nodes: number of nodes at the start.
        cores: per node.
    """

    token = compose.with_secrets()["RAY_TOKEN"]

    def __init__(
        self, folder: Path, environment: dict[str, str], of_the_head: dict[str, str], nodes: int = 2, cores: int = 1
    ) -> None:
        self.folder, self.nodes, self.cores = folder, nodes, cores
        self.port, self.dashboard_port = free_port(), free_port()
        self._count = itertools.count()
        self.dashboard = f"http://{LOOPBACK}:{self.dashboard_port}"
        # A client needs these too.
        self.secrets = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        binaries = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        settings = compose.loaded(compose.with_secrets())["x-ray"]
        settings["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # else every worker would build an environment under `uv run`
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
        self, environment: dict[str, str] | None = None, namespace: Namespace | None = None
    ) -> subprocess.Popen[bytes]:
        """Start one more node, with further variables, or in a network namespace."""
        options = [f"--address={self._head}:{self.port}", f"--num-cpus={self.cores}"]
        return self._start(*options, environment=environment or {}, namespace=namespace)

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """Kill a node and all that runs on it."""
        with suppress(ProcessLookupError):
            os.killpg(node.pid, 9)
        node.wait()
        self.running.remove(node)

    def _start(
        self, *options: str, environment: dict[str, str], namespace: Namespace | None = None
    ) -> subprocess.Popen[bytes]:
        ports = ("dashboard-agent-listen", "dashboard-agent-grpc", "metrics-export", "runtime-env-agent")
        command = ["ip", "netns", "exec", namespace.name] if namespace else []
        command += [str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats"]
        command += [f"--node-ip-address={namespace.address if namespace else LOOPBACK}"]
        command += [f"--{port}-port={free_port()}" for port in ports] + ["--object-store-memory=100000000"]
        for _ in range(3):  # on a busy machine a node misses Ray's own limit of 30 seconds
            if node := self._started([*command, *options], {**self._environment, **environment}):
                return node
        raise RuntimeError("three times, no node of Ray was up after 30 seconds")

    def _started(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes] | None:
        """Start a process of Ray; none if it missed Ray's limit."""
        log = Path(f"{self.folder}-{next(self._count)}.log")
        with log.open("w") as out:
            node = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=out, stderr=out, start_new_session=True
            )
        self.running.append(node)
        deadline = time.monotonic() + 90
        # Nodes start one after another: on one machine they choose the names of their sockets by those that exist.
        while "Ray runtime started" not in (output := log.read_text()):
            if node.poll() is not None and "timed out during startup" in output:
                self.kill(node)
                return None
            if time.monotonic() > deadline or node.poll() is not None:
                raise RuntimeError(output)
            time.sleep(0.1)
        return node
