"""What answers without a token or a password, and where a secret could be read. The threat model: docs/security.md."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import grpc
import psycopg
import pytest

from mt_sweeps.execution.simulated_trainer import VARIABLE
from tests.helpers import compose
from tests.helpers.chaos import descendants, title
from tests.helpers.command_line import DIGITS, MT_SWEEP
from tests.helpers.servers.common import LOOPBACK
from tests.helpers.servers.postgres import Postgres

HEALTH = "grpc.health.v1.Health/Check"
# One call, or more, of each service that a process of Ray's may offer.
CALLS = [
    *(f"ray.rpc.NodeManagerService/{call}" for call in ("GetSystemConfig", "GetNodeStats", "RequestWorkerLease")),
    *(f"ray.rpc.ObjectManagerService/{call}" for call in ("Pull", "Push")),
    *(f"ray.rpc.CoreWorkerService/{call}" for call in ("GetCoreWorkerStats", "PushTask", "Exit")),
    "ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "ray.rpc.InternalKVGcsService/InternalKVKeys",
    "ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "ray.rpc.ReporterService/GetTraceback",
    "ray.rpc.LogService/ListLogs",
    "ray.rpc.RayletDriver/ListNamedActors",
    "ray.rpc.RayletDriver/ClusterInfo",
    "opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
]


def listeners(pids):
    """Addresses that these processes listen on."""
    found = {}
    for line in subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines():
        address, who = line.split()[3], re.findall(r"pid=(\d+)", line)
        if set(map(int, who)) & set(pids):
            host, _, port = address.rpartition(":")
            found[int(port), host.strip("[]").removeprefix("::ffff:")] = re.findall(r'"([^"]+)"', line)[0]
    return found


def status(address):
    """Of HTTP, without any credentials; None: it does not speak HTTP."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return None


def calls(host, port):
    """What each call comes to, without any credentials; empty: it does not speak gRPC."""
    found = {}
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        for name in (HEALTH, *CALLS):
            call = channel.unary_unary(f"/{name}", request_serializer=bytes, response_deserializer=bytes)
            try:
                call(b"", timeout=5)
                found[name] = "OK"
            except grpc.RpcError as error:
                found[name] = error.code().name
            if found[name] == "UNAVAILABLE":
                return {}
    return found


def asks_for_a_token(host, port):
    """Whether it lets nobody do anything who has none."""
    said = status(f"http://{host}:{port}/")
    if said is not None:
        # The page of Ray's dashboard is for all to see; what it would show is not.
        secret = ["metrics", "api/jobs/", "api/version", "nodes?view=summary", "logs"] + [""] * (said != 200)
        return all(status(f"http://{host}:{port}/{path}") in (401, 403, 404) for path in secret)
    found = calls(host, port)
    if not found:
        with suppress(ConnectionRefusedError), socket.create_connection((host, port), timeout=5):
            raise AssertionError(f"{host}:{port} speaks neither HTTP nor gRPC")
        return True  # it has ended meanwhile
    found.pop(HEALTH)
    return set(found.values()) == {"UNAUTHENTICATED", "UNIMPLEMENTED"}


def test_every_port_of_a_sweep_on_this_machine_asks_for_its_token(tmp_path):
    if shutil.which("ss") is None:
        pytest.skip("needs ss: apt-get install iproute2")
    # As long as Slurm's: too long for Ray's sockets.
    temporary = tmp_path / ("x" * 60)
    temporary.mkdir()
    environment = {**os.environ, VARIABLE: json.dumps({"seconds": 30}), "TMPDIR": str(temporary)}
    sweep = subprocess.Popen(
        [str(MT_SWEEP), "run", str(DIGITS)], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        for line in sweep.stdout:
            if "starts" in line:
                break
        found = listeners([sweep.pid, *descendants(sweep.pid)])
        assert {"gcs_server", "raylet"} <= set(found.values()), found
        programs = " ".join(map(title, descendants(sweep.pid)))
        assert "raylet" in programs and not [name for name in ("monitor.py", "dashboard.py") if name in programs]
        folders = [Path(path) for path in ray_folders(sweep.pid)]
        assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700]
        open_to_all = {
            (who, host, port)
            for (port, host), who in found.items()
            if host not in (LOOPBACK, "::1")
            and not asks_for_a_token(LOOPBACK if host in ("*", "0.0.0.0") else host, port)
        }
        assert not open_to_all
    finally:
        sweep.terminate()  # SIGINT would be ignored where a shell started the tests in the background
        sweep.wait(180)
    assert not [folder for folder in folders if folder.exists()]


def ray_folders(pid):
    """The folders of Ray that a process has open."""
    opened = set[str]()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            opened.add(str(link.readlink()))
    return [path for path in opened if Path(path).name.startswith("mt-sweeps-ray-")]


def test_no_server_of_the_team_answers_without_credentials(team, monkeypatch):
    assert status(f"{team.mlflow.uri}/health") == 200
    for path in ("", "version", "metrics", "api/2.0/mlflow/experiments/get?experiment_id=0", "get-artifact", "signup"):
        assert status(f"{team.mlflow.uri}/{path}") in (401, 403, 404), path
    store = team.store.environment["AWS_ENDPOINT_URL"]
    assert status(f"{store}/healthz") == 200
    for path in ("", team.store.bucket, f"{team.store.bucket}?list-type=2"):
        assert status(f"{store}/{path}") == 403, path
    monkeypatch.delenv("PGPASSWORD", raising=False)
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(team.postgres.address)


def test_every_port_of_the_cluster_asks_for_the_token(team):
    found = listeners([pid for node in team.cluster.running for pid in (node.pid, *descendants(node.pid))])
    assert {"gcs_server", "raylet"} <= set(found.values()), found
    for (port, host), who in found.items():
        assert asks_for_a_token(LOOPBACK if host in ("*", "0.0.0.0") else host, port), (who, host, port)


def test_nobody_makes_an_account_in_the_store(team):
    """SeaweedFS, without its signing key, lets everybody who reaches its gRPC port do that."""

    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    account = field(1, b"evil") + field(2, field(1, b"evil") + field(2, b"evil-secret")) + field(3, b"Admin")
    with grpc.insecure_channel(f"{LOOPBACK}:{team.store.grpc_port}") as channel:
        call = channel.unary_unary(
            "/messaging_pb.SeaweedS3IamCache/PutIdentity", request_serializer=bytes, response_deserializer=bytes
        )
        with pytest.raises(grpc.RpcError) as refused:
            call(field(1, account), timeout=5)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_secret_is_in_no_process_list_log_file_run_or_object(team):
    assert team.submit("guarded", 2).returncode == 0
    team.until("guarded", "finished")
    secrets = {compose.with_secrets()[name] for name in compose.required()} - {team.reader["MLFLOW_TRACKING_USERNAME"]}
    listed = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    found = {("process list", secret) for secret in secrets if secret in listed}
    store = team.store.client()
    objects = {
        f"s3://{bucket['Name']}/{one['Key']}": store.get_object(Bucket=bucket["Name"], Key=one["Key"])["Body"].read()
        for bucket in store.list_buckets()["Buckets"]
        for one in store.list_objects_v2(Bucket=bucket["Name"]).get("Contents", [])
    }
    assert any(name.startswith("s3://mlflow/") for name in objects)
    binaries = Postgres.binaries()
    for database in ("postgres", "mlflow"):
        address = team.postgres.uri.removesuffix("/postgres") + f"/{database}"
        dumped = subprocess.run([binaries / "pg_dump", address], capture_output=True, check=True).stdout
        objects[f"database {database}"] = dumped
    kept = [path for path in team.cluster.folder.rglob("*") if path.is_file()]
    kept += [path for path in team.folder.rglob("*") if path.is_file() and path != team.store.credentials_file]
    objects |= {str(path): path.read_bytes() for path in kept}
    for where, content in objects.items():
        for secret in secrets:
            at = content.find(secret.encode())
            if at >= 0:
                found.add((where, content[max(0, at - 200) : at + 50]))
    assert not found
