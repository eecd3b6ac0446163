"""A proxy that fails in the ways networks and servers do."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tests.helpers.servers.common import LOOPBACK, free_port


class Proxy:
    """Forwards bytes to a server, or fails, depending on `mode`.

    pass: all is forwarded. refuse: nobody listens. error: status 500. unauthorized: status 401. stall: a request is
    forwarded after `seconds`. cut: half of a request is forwarded. lost: a request to create a run is forwarded, its
    answer is not.
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
        """Change the mode, and close open connections."""
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
            creates_run = threading.Event()
            back = threading.Thread(target=_pump, args=(server, client, creates_run.is_set), daemon=True)
            back.start()
            while data := client.recv(1 << 16):
                if mode == "cut":
                    server.sendall(data[: len(data) // 2])
                    break
                if mode == "lost" and b"/runs/create" in data:
                    creates_run.set()
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
