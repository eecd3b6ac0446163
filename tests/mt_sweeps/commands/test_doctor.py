"""What the doctor says of this machine, and of servers that are not there. On a team's servers: tests/system/team."""

import json
import shutil
import time
from contextlib import nullcontext

import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.commands import doctor
from mt_sweeps.commands.doctor import Check
from mt_sweeps.errors import InputError
from mt_sweeps.execution import gpu_sharing, ray_cluster
from mt_sweeps.spec.load import load_spec
from tests.helpers.command_line import DIGITS


@pytest.fixture(autouse=True)
def _no_ray_is_started(monkeypatch):
    monkeypatch.setattr(ray_cluster, "start", lambda: [{"CPU": 2.0}])
    monkeypatch.setattr(ray_cluster, "stop", lambda: None)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ADDRESS", "PGPASSWORD", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def found(tmp_path, *sets, file=DIGITS, home=None, address=None):
    return {check.name: check for check in doctor.examine(file, home or str(tmp_path / "home"), sets, address)}


def test_of_a_machine_where_nothing_is_wrong_it_says_so(tmp_path):
    checks = found(tmp_path)
    assert {check.state for check in checks.values()} == {"ok"}
    assert list(checks) == [
        "python",
        "gpus",
        "ray",
        "ledger",
        "store",
        "mlflow",
        "images",
        "credentials",
        "disk",
        "clock",
    ]
    assert "2 trials at once" in checks["ray"].said
    assert "50 labeled" in checks["images"].said
    assert doctor.summary(list(checks.values())) == "nothing is wrong"


def test_without_a_file_it_looks_at_the_machine_alone(tmp_path):
    assert set(found(tmp_path, file=None)) == {"python", "gpus", "ray", "ledger", "credentials", "disk", "clock"}


def test_what_is_wrong_is_told_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    checks = found(
        tmp_path, f"storage={tmp_path / 'file'}", "tracking.uri=http://127.0.0.1:1", home=str(tmp_path / "file")
    )
    assert (checks["ledger"].state, checks["store"].state, checks["mlflow"].state) == ("problem", "problem", "warning")
    assert "choose another with --home" in checks["ledger"].todo
    assert "name a folder that every node can reach" in checks["store"].todo
    assert "start it, or correct tracking.uri" in checks["mlflow"].todo
    assert doctor.summary(list(checks.values())) == "2 problems, 1 warning"


def test_a_cluster_that_is_not_there_is_a_problem_and_no_ray_is_started_here(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_cluster, "start", lambda: pytest.fail("Ray was started"))
    checks = found(tmp_path, address="http://127.0.0.1:1")
    assert checks["submit"].state == "problem"
    assert "RAY_AUTH_TOKEN" in checks["submit"].todo
    assert "ray" not in checks


def test_a_package_of_another_version_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(
        doctor, "requires", lambda _: ["torch<1", "click>=1", "no-such-package>=2", 'x; extra == "team"']
    )
    told = found(tmp_path)["python"]
    assert told.state == "problem"
    assert "torch is" in told.said
    assert "no-such-package is missing" in told.said
    assert "click" not in told.said
    assert " x " not in told.said


def test_a_gpu_that_torch_cannot_use_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "gpus" / "0000:01").mkdir(parents=True)
    monkeypatch.setattr(doctor, "_DRIVER", tmp_path / "gpus")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    told = found(tmp_path)["gpus"]
    assert (told.state, told.todo) == ("problem", "update the driver, or install a torch built for it")


@pytest.mark.parametrize(
    ("problem", "cluster", "state", "todo"),
    [
        ("", False, "ok", ""),
        ("it is refused", False, "warning", "see that NVIDIA's driver"),
        ("", True, "ok", ""),
        ("it does not run", True, "warning", "start it on each node"),
    ],
)
def test_trials_that_share_a_gpu_need_nvidias_service(monkeypatch, problem, cluster, state, todo):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(doctor, "cluster_address", lambda: "head:6379" if cluster else None)
    monkeypatch.setattr(gpu_sharing, "shared_gpus", lambda _: nullcontext(problem))
    monkeypatch.setattr(gpu_sharing, "runs", lambda: not problem)
    quarter, whole, auto = (load_spec(DIGITS, (f"resources.gpus_per_trial={one}",)) for one in ("0.25", "1", "auto"))
    (check,) = doctor._sharing(quarter)
    assert (check.name, check.state) == ("mps", state)
    assert check.todo.startswith(todo)
    assert state == "ok" or f"({problem}): the 4 trials of a GPU take turns" in check.said
    assert not [*doctor._sharing(whole), *doctor._sharing(auto)]


def test_a_service_for_shared_gpus_that_runs_and_fails_is_a_problem(monkeypatch):
    def shared_gpus(_):
        raise InputError("it runs, and fails; end it")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(gpu_sharing, "shared_gpus", shared_gpus)
    (check,) = doctor._sharing(load_spec(DIGITS, ("resources.gpus_per_trial=0.25",)))
    assert check == doctor.Check("mps", "problem", "it runs, and fails", "end it")


def test_credentials_that_go_in_the_clear_or_are_missing_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert found(tmp_path)["credentials"].todo == "set RAY_AUTH_TOKEN"
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hush")
    monkeypatch.setattr(doctor, "connection_problem", lambda *_: "")
    monkeypatch.setattr(doctor, "_compare_server", lambda *_: None)
    told = found(tmp_path, "tracking.uri=http://mlflow.example.org")["credentials"]
    assert told.state == "warning"
    assert "unencrypted" in told.said
    assert "hush" not in told.said
    assert found(tmp_path, "tracking.uri=https://mlflow.example.org")["credentials"].state == "ok"
    assert found(tmp_path, "tracking.uri=http://localhost:5000")["credentials"].state == "ok"


def test_a_full_disk_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5e8})())
    told = found(tmp_path)["disk"]
    assert told.state == "problem"
    assert "MT_SWEEP_CACHE" in told.todo


@pytest.mark.parametrize(
    ("ahead", "state"), [(0, "ok"), (3, "ok"), (-60, "warning"), (60, "warning"), (1000, "problem")]
)
def test_a_clock_that_is_off_is_told(ahead, state):
    clocks = doctor._Clocks()
    clocks.compare("the other", lambda: time.time() + ahead)
    told = doctor._clock(clocks)
    assert told.state == state
    if state != "ok":
        assert f"the other is {abs(ahead):,} s {'ahead of' if ahead > 0 else 'behind'} this machine" in told.said


def test_what_an_answer_took_and_its_rounding_are_no_difference():
    clocks = doctor._Clocks()

    def slow():
        now = time.time()
        time.sleep(0.3)
        return now

    clocks.compare("slow", slow)
    clocks.compare("rounded", lambda: float(int(time.time())), resolution=1.0)
    assert clocks.ahead == {"slow": 0.0, "rounded": 0.0}


def test_the_command_prints_each_check_or_json_and_fails_where_there_is_a_problem(monkeypatch):
    checks = [Check("python", "ok", "3.11"), Check("store", "problem", "it is away", "start it")]
    monkeypatch.setattr(doctor, "examine", lambda *_: iter(checks))
    told = CliRunner().invoke(cli, ["doctor"])
    assert told.exit_code == 1
    assert told.output.splitlines()[-1] == "1 problem"
    assert "problem  store        it is away\n" in told.output
    assert "start it" in told.output
    shape = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).output)
    assert shape["format"] == "mt-sweeps-doctor/1"
    assert shape["checks"][1] == {"name": "store", "state": "problem", "said": "it is away", "todo": "start it"}
    checks.pop()
    assert CliRunner().invoke(cli, ["doctor"]).exit_code == 0
