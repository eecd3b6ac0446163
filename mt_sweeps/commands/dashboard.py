"""`dashboard`: show a sweep in MLflow, with a server on this machine if its store has none."""

import secrets
import socket
import subprocess
import sys

from mt_sweeps.errors import InputError
from mt_sweeps.storage.home import Home
from mt_sweeps.terminal import print
from mt_sweeps.tracking.client import clean_environment
from mt_sweeps.tracking.dashboard_server import HOST, server_environment
from mt_sweeps.tracking.embedded_store import embedded_uri
from mt_sweeps.tracking.pages import address, has_pages, sweep_page


def serve(home: Home, name: str | None, port: int) -> None:
    """Print the address of a sweep's saved view. If its store has no server of its own, serve it until interrupted.

    The server asks for a password made for it, which is in the printed link.

    Args:
        home: holds the embedded store.
        name: of the sweep, or None for the newest.
        port: of the server that is started.

    Raises:
        InputError: there is nothing to show, or the port is taken.
        SweepError: the sweep's own server does not answer.
    """
    directory = home.sweep(name)
    tracking = directory.load_spec().tracking
    if tracking.uri is None and not home.mlflow_db.exists():
        raise InputError(f"{directory.name}: MLflow has nothing to show yet; wait for the first report of a trial")
    page = sweep_page(directory)
    if has_pages(tracking):
        print(address(tracking, page))
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise InputError(f"--port {port}: is taken; choose another, for example --port {port + 1}") from None
    token = secrets.token_urlsafe(32)  # for this server alone, in no file
    print(f"MLflow starts at http://{HOST}:{port}/?token={token}#/{page} (Ctrl+C ends it)", flush=True)
    store, artifacts = tracking.uri or embedded_uri(home), home.artifacts.as_uri()
    settings = server_environment(store, artifacts, tracking.experiment, port, token)
    command = [sys.executable, "-m", "mt_sweeps.tracking.dashboard_server"]
    server = subprocess.Popen(command, env={**clean_environment(), **settings})  # noqa: S603
    try:
        status = server.wait()
    finally:
        server.terminate()
        server.wait()
    if status:
        raise InputError(f"MLflow's server ended with status {status}; its own message stands above")
