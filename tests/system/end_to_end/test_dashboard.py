import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.helpers.command_line import DIGITS, IN_PROCESS, MT_SWEEP, TINY, mt_sweep
from tests.helpers.servers.common import free_port


def post(port, path, content, token):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(content).encode(), headers)
    return json.loads(urllib.request.urlopen(request, timeout=10).read())


def test_the_dashboard_serves_the_sweep_on_loopback_alone(tmp_path):
    mt_sweep("run", DIGITS, IN_PROCESS, "--trials", 1, *TINY, "--set", "finalists.baselines=[]", folder=tmp_path)
    port = free_port()
    server = subprocess.Popen(
        [MT_SWEEP, "dashboard", "--port", str(port)], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        token = line.partition("/?token=")[2].partition("#")[0]
        assert (
            f"http://127.0.0.1:{port}/?token={token}#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey="
            in line
        )
        runs = None
        until = time.monotonic() + 60
        while runs is None and time.monotonic() < until:
            try:
                runs = post(port, "/api/2.0/mlflow/runs/search", {"experiment_ids": ["1"]}, token)["runs"]
            except OSError:
                time.sleep(0.5)
        assert {run["info"]["run_name"] for run in runs or []} == {"digits", "trial 0"}
        assert _listening(port) == {"127.0.0.1"}
        for path in ("/", "/health", "/version", "/get-artifact?path=a&run_uuid=b", "/?token=guessed"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)
        listed = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout
        assert token not in listed
        taken = mt_sweep("dashboard", "--port", port, folder=tmp_path, status=2)
        assert f"--port {port}: is taken" in taken.stderr
    finally:
        server.terminate()
        assert server.wait(timeout=30) == 130
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def _listening(port):
    """The local addresses on which something listens at a port."""
    addresses = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            local, state = row.split()[1], row.split()[3]
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:
                addresses.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]) if len(address) == 8 else address)
    return addresses


def test_a_home_without_sweeps_has_nothing_to_show(tmp_path):
    assert "holds no sweeps" in mt_sweep("dashboard", folder=tmp_path, status=2).stderr
