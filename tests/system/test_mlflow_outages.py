"""No metric is lost or logged twice if MLflow's server, or the network to it, fails during a sweep."""

import subprocess
import sys
import time

import pytest

from mt_sweeps.commands import dashboard
from mt_sweeps.tracking.background import BackgroundWriter
from mt_sweeps.tracking.pages import link_to
from mt_sweeps.tracking.sweep_run import SweepRun
from tests.helpers.servers.mlflow import MLflowServer
from tests.helpers.servers.postgres import Postgres
from tests.helpers.servers.proxy import Proxy
from tests.helpers.sweeps import Sweep


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with MLflowServer(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def proxy(server):
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


class TrackedSweep:
    """A sweep that is synced to MLflow in the background while its trials end, two per second."""

    def __init__(self, folder, server, proxy):
        self.sweep = Sweep(folder, f"tracking.uri={proxy.uri}", f"tracking.experiment={folder.name}", "trials=60")
        self.run = SweepRun(self.sweep.home, self.sweep.directory, self.sweep.ledger)
        self.writer = BackgroundWriter(self.run.sync, every=0.05)
        self.messages = []
        self.writer.on_change = self.messages.append
        self.server, self.proxy = server, proxy
        self.writer.start()

    def train(self, trials):
        for _ in range(trials):
            trial = self.sweep.ledger.ask_search()
            last = self.sweep.train(trial, 0.5, 0.25)
            time.sleep(0.2)
            self.sweep.ledger.complete(trial, last)

    def survive(self, mode):
        """Go through an outage; return True if the writer noticed it."""
        self.train(1)
        self.proxy.mode = mode
        self.train(2)
        deadline = time.monotonic() + 30
        while not (self.writer.error or (mode == "stall" and self.proxy.hits > 1)) and time.monotonic() < deadline:
            time.sleep(0.05)
        is_noticed = self.writer.error is not None or mode == "stall"
        self.proxy.mode = "pass"
        self.train(1)
        return is_noticed

    def logged(self):
        """Finish the sweep; return the points of each trial that the server has, once all runs are checked."""
        assert self.writer.stop(60)
        self.run.finish("FINISHED", "done")
        import mlflow

        client = mlflow.MlflowClient(self.server.uri)
        experiment = client.get_experiment_by_name(self.sweep.spec.tracking.experiment)
        runs = client.search_runs([experiment.experiment_id])
        children = [run for run in runs if "mt.trial" in run.data.tags]
        points = {
            (run.data.tags["mt.arm"], int(run.data.tags["mt.trial"])): sorted(
                (point.step, point.value, point.timestamp)
                for point in client.get_metric_history(run.info.run_id, "validation.student_error")
            )
            for run in children
        }
        assert len(points) == len(children), "no trial has two runs"
        assert len(runs) == len(children) + 1
        assert {run.info.status for run in runs} == {"FINISHED"}
        return points

    def recorded(self):
        """Return the points of each trial that were recorded."""
        return {
            (trial.arm, trial.number): [(30, 0.5, 1_700_000_030_000), (60, 0.25, 1_700_000_060_000)]
            for trial in self.sweep.ledger.all_trials()
        }


@pytest.mark.parametrize("mode", ["refuse", "error", "stall", "cut", "lost"])
def test_after_an_outage_every_metric_of_every_trial_is_there_once(tmp_path, server, proxy, mode):
    tracked = TrackedSweep(tmp_path, server, proxy)
    for _ in range(3):
        assert tracked.survive(mode)
    assert tracked.logged() == tracked.recorded()


def test_after_a_server_was_killed_and_started_again_every_metric_is_there_once(tmp_path, server):
    tracked = TrackedSweep(tmp_path, server, server)
    tracked.train(2)
    server.kill()
    tracked.train(2)
    while not tracked.messages:
        time.sleep(0.05)
    assert tracked.messages[0].startswith("MLflow is behind, and catches up later: ")
    server.start()
    tracked.train(1)
    assert tracked.logged() == tracked.recorded()
    assert tracked.messages[-1] == "MLflow is up to date again"


@pytest.mark.skipif(Postgres.binaries() is None, reason="needs PostgreSQL: apt-get install postgresql")
def test_after_a_restart_of_the_database_behind_the_server_every_metric_is_there_once(tmp_path):
    with Postgres() as database, MLflowServer(tmp_path, database.uri) as server:
        tracked = TrackedSweep(tmp_path, server, server)
        tracked.train(2)
        database.stop()
        tracked.train(2)
        while not tracked.messages:
            time.sleep(0.05)
        database.start()
        tracked.train(1)
        assert tracked.logged() == tracked.recorded()


def test_nothing_is_printed_over_the_live_view(tmp_path, server, proxy, capfd):
    tracked = TrackedSweep(tmp_path, server, proxy)
    tracked.train(1)
    tracked.logged()
    assert capfd.readouterr() == ("", "")


def test_the_dashboard_of_a_sweep_on_a_server_is_the_address_of_its_view(tmp_path, server, proxy, capsys):
    tracked = TrackedSweep(tmp_path, server, proxy)
    tracked.train(1)
    tracked.logged()
    dashboard.serve(tracked.sweep.home, "digits", port=5000)
    experiment = tracked.sweep.runs()[1]["digits"].info.experiment_id
    page = f"{proxy.uri}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey=abc"
    assert capsys.readouterr().out == f"{page}\n"
    assert link_to(tracked.sweep.directory) == page, "`run` prints it, too"
    proxy.mode = "refuse"
    assert link_to(tracked.sweep.directory) is None, "nothing waits for a link"


def test_the_driver_does_not_import_mlflow_or_tracking():
    script = (
        "import sys, mt_sweeps.execution.driver; print([m for m in sys.modules if 'mlflow' in m or 'tracking' in m])"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"
