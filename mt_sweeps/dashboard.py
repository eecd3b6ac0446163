"""MLflow's own server on the home directory's store, for this machine alone."""

import os
import socket
import subprocess
import sys

from mt_sweeps.errors import InputError
from mt_sweeps.home import Home
from mt_sweeps.sections import Tracking
from mt_sweeps.tracking import Client, embedded_uri

HOST = "127.0.0.1"


def serve(home: Home, port: int) -> None:
    """Serve until interrupted.

    Raises:
        InputError: there is nothing to show, or the port is taken.
    """
    if not home.mlflow_db.exists():
        raise InputError(f"{home.path}: has no MLflow store yet; start a sweep first, or name --home DIR")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise InputError(f"--port {port}: is taken; choose another, for example --port {port + 1}") from None
    sweeps = home.sweeps()
    newest = sweeps[-1].load_spec().tracking if sweeps else Tracking()
    experiment = Client(home, newest.model_copy(update={"uri": None})).experiment
    page = f"experiments/{experiment}/runs?workflowType=machine_learning"  # else its pages for agents open
    print(f"MLflow starts at http://{HOST}:{port}/#/{page} (Ctrl+C ends it)", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]
    command += ["--backend-store-uri", embedded_uri(home), "--default-artifact-root", home.artifacts.as_uri()]
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
