"""`dashboard`: show a sweep in MLflow, with a server on this machine if its store has none."""

import os
import socket
import subprocess
import sys

from mt_sweeps.errors import InputError, SweepError
from mt_sweeps.storage.home import Home, SweepStore
from mt_sweeps.tracking.client import Client, first_line, raise_if_permanent
from mt_sweeps.tracking.embedded_store import embedded_uri

HOST = "127.0.0.1"


def serve(home: Home, name: str | None, port: int) -> None:
    """Print the address of a sweep's page. If its store has no server of its own, serve it until interrupted.

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
    if tracking.uri is not None and tracking.uri.startswith("http"):
        print(f"{tracking.uri.rstrip('/')}/#/{_page(home, directory)}")
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise InputError(f"--port {port}: is taken; choose another, for example --port {port + 1}") from None
    print(f"MLflow starts at http://{HOST}:{port}/#/{_page(home, directory)} (Ctrl+C ends it)", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]
    command += [
        "--backend-store-uri",
        tracking.uri or embedded_uri(home),
        "--default-artifact-root",
        home.artifacts.as_uri(),
    ]
    # One worker and no job runner start in half the time and a quarter of the memory of the defaults.
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    server = subprocess.Popen(command, env={**os.environ, **quiet})  # noqa: S603
    try:
        status = server.wait()
    finally:
        server.terminate()
        server.wait()
    if status:
        raise InputError(f"MLflow's server ended with status {status}; its own message stands above")


def _page(home: Home, directory: SweepStore) -> str:
    """Return the sweep's own page, or the page of all runs if it has none yet."""
    tracking = directory.load_spec().tracking
    try:
        client = Client(home, tracking)
        sweep = directory.load_environment().id
        runs = [run for run, _ in client.runs({"mt.sweep": sweep, "mt.arm": "sweep"})]
    except Exception as error:  # of MLflow's client, its store or the network
        raise_if_permanent(error, home, tracking)
        raise SweepError(f"{tracking.uri or home.mlflow_db}: MLflow does not answer ({first_line(error)})") from None
    page = f"experiments/{client.experiment}/runs" + (f"/{runs[0]}" if runs else "")
    return f"{page}?workflowType=machine_learning"  # else MLflow shows its side bar for agents
