"""Sweeps that are handed to a cluster: what they go on without, who reads them, and what is refused.

`MT_SWEEPS_AT_ONCE` says how many trials the cluster runs at once (4 if it does not).
"""

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.helpers.chaos import INTERVAL, STEPS, check_ledger, undisturbed
from tests.helpers.command_line import DIGITS, IMAGE_FOLDER
from tests.helpers.servers.common import LOOPBACK
from tests.helpers.team import AT_ONCE, done


def test_two_sweeps_go_on_without_their_clients_a_node_and_for_a_while_the_servers(team):
    trials, names = 4 + AT_ONCE, ("left", "right")
    clients = [team.start(team.submission(name, trials), team.cluster.secrets) for name in names]
    assert any(line.startswith("    files") for line in clients[0].stdout), clients[0].stderr.read() + team.logs()
    clients[0].kill()
    assert done(clients[1]).returncode == 0
    readers = [
        team.start([*command, "--json"], team.reader)
        for command in (
            ["list"],
            *(["status", name] for name in names),
            *(["best", name] for name in names),
        )
    ]
    assert len(readers) == 5
    for reader in readers:
        said = done(reader)
        assert said.returncode == 0 or "no trial has completed" in said.stderr, said.stderr
    team.cluster.kill(team.cluster.running[-1])
    team.cluster.add()
    team.postgres.stop("immediate")
    team.store.kill()
    team.postgres.start()
    team.store.start()

    expected = undisturbed(team.folder / "undisturbed", trials)
    for name in names:
        told = team.until(name, "finished", 600)
        assert told["arms"]["search"]["complete"] == trials
        check_ledger(team.study(name), expected)
    best = json.loads(team.read("best", "left", "--json"))
    assert best["trial"] == min(expected, key=lambda trial: trial.value).number
    team.read("export", "left", "-o", str(team.folder / "best.yaml"))
    assert f"trial: {best['trial']}" in (team.folder / "best.yaml").read_text()
    team.read("sync", "left")  # MLflow may be behind: with accounts on it is slow
    steps = list(range(INTERVAL, STEPS + 1, INTERVAL))
    assert team.shown("left") == dict.fromkeys(range(trials), ("FINISHED", steps))
    kept = team.store.client().list_objects_v2(Bucket=team.store.bucket)
    assert not [one["Key"] for one in kept["Contents"] if "checkpoint" in one["Key"]], (
        "only while a trial is unfinished"
    )


def test_a_sweep_whose_driver_is_killed_goes_on_in_the_cluster_is_stopped_from_anywhere_and_removed(team):
    assert team.submit("stopped", 60).returncode == 0
    team.until_reports("stopped", 5)
    assert team.kill_driver("stopped")
    assert team.state("stopped")["state"] == "interrupted"
    resumed = team.resume("stopped")
    assert resumed.returncode == 0, resumed.stderr
    assert "stopped goes on where it was" in resumed.stdout
    assert team.state("stopped")["state"] == "running"
    assert "mt-sweep resume stopped --address URL" in team.read("stop", "stopped")
    team.read("rm", "stopped", "--yes")
    assert "stopped" not in team.read("list")


@pytest.mark.parametrize("token", [{}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "x" * 40}])
def test_without_the_token_nothing_is_submitted(team, token):
    said = done(team.start(team.submission("refused", 1), token))
    assert said.returncode == 2
    assert "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in said.stderr


def test_an_address_where_no_cluster_is_is_told_at_once(team):
    for address in (f"http://{LOOPBACK}:1", team.mlflow.uri, "nonsense"):
        command = ["submit", str(DIGITS), "--address", address]
        said = done(team.start(command, team.cluster.secrets), 30)
        assert said.returncode == 2
        assert f"--address {address}: no job server of Ray answers there" in said.stderr


def test_a_cluster_with_another_mt_sweeps_is_told_at_once(team):
    # In a process of its own: Ray reads RAY_AUTH_MODE once.
    newer = "submit.version = lambda _: '99.0'"
    program = (
        sys.executable,
        "-c",
        f"from mt_sweeps import cli; from mt_sweeps.commands import submit; {newer}; cli.main()",
    )
    result = done(team.start(team.submission("refused", 1), team.cluster.secrets, program))
    assert result.returncode == 2
    assert re.search(r"the cluster has mt-sweeps .* and this machine 99\.0; install the same", result.stderr)
    assert "joining" not in result.stdout


def test_a_cluster_with_another_ray_is_told_at_once(team):
    class Old(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"version": "4", "ray_version": "2.9.0", "ray_commit": ""}).encode())

        def log_message(self, *_):
            pass

    with HTTPServer((LOOPBACK, 0), Old) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://{LOOPBACK}:{server.server_port}"
        command = ["submit", str(DIGITS), "--address", address]
        said = done(team.start(command, team.cluster.secrets))
        server.shutdown()
    assert said.returncode == 2
    assert "the cluster has Ray 2.9.0 and this machine" in said.stderr


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("storage=/proc/none", "storage: /proc/none cannot be used"),
        ("tracking.uri=null", "tracking.uri: must be set if the home is a database"),
        ("resources.cpus_per_trial=64", "resources.cpus_per_trial: asks for 64"),
    ],
)
def test_what_the_cluster_cannot_do_is_refused_with_the_name_of_the_file(team, setting, told):
    said = team.submit("refused", 1, setting)
    assert said.returncode == 2
    assert told in said.stderr
    assert "/dev/stdin" not in said.stderr
    assert "refused" not in team.read("list")


def test_images_that_the_cluster_does_not_have_are_refused(team):
    file = IMAGE_FOLDER
    command = ["submit", str(file), "--address", team.cluster.dashboard, "--set", f"storage={team.store.location}"]
    command += ["--set", f"tracking.uri={team.mlflow.uri}"]
    said = done(team.start(command, team.cluster.secrets))
    assert (said.returncode, "is relative; name it as it is on the nodes, from /" in said.stderr) == (2, True)
    said = done(team.start([*command, "--set", "trainer.dataset.root=/nowhere"], team.cluster.secrets))
    assert said.returncode == 2
    assert f"{file}: trainer.dataset.root: there is no folder /nowhere" in said.stderr


def test_the_doctor_finds_nothing_wrong(team):
    command = ["doctor", str(DIGITS), "--address", team.cluster.dashboard, "--json"]
    command += ["--set", f"storage={team.store.location}", "--set", f"tracking.uri={team.mlflow.uri}"]
    said = done(team.start(command, {**team.reader, **team.cluster.secrets}))
    checks = {check["name"]: check for check in json.loads(said.stdout)["checks"]}
    assert {check["state"] for check in checks.values()} == {"ok"}, checks
    assert said.returncode == 0
    assert {"python", "gpus", "submit", "ledger", "store", "mlflow", "credentials", "images", "disk", "clock"} <= set(
        checks
    )
    wrong = {"PGPASSWORD": "wrong", "MLFLOW_TRACKING_PASSWORD": "wrong", "AWS_SECRET_ACCESS_KEY": "wrong"}
    said = done(team.start(command, {**team.reader, **wrong}))
    assert said.returncode == 1
    problems = {check["name"] for check in json.loads(said.stdout)["checks"] if check["state"] == "problem"}
    assert problems == {"submit", "ledger", "store", "mlflow"}


def test_a_node_that_does_not_reach_the_storage_is_named_before_the_first_trial(team):
    node = team.cluster.add({"AWS_SECRET_ACCESS_KEY": "wrong"})
    said = team.submit("unreached", 1)
    team.cluster.kill(node)
    assert said.returncode == 2
    assert "digits.yaml: the node " in said.stderr
    assert f"storage: {team.store.location} cannot be used" in said.stderr
    assert "unreached" not in team.read("list")
