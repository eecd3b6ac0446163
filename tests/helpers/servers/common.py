"""Free ports, and waiting for a server."""

import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def wait_for(address: str, process: subprocess.Popen[Any], log: Path | None = None, token: str = "") -> None:
    """Wait until a server answers; raise an error with its log if its process ends before, or after two minutes."""
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"} if token else {})
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(request, timeout=5)
            return
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(log.read_text() if log else address) from None
            time.sleep(0.1)
