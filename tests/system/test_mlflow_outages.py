"""What becomes of MLflow's runs when its server, or the way to it, fails while a sweep goes on."""

import subprocess
import sys
import time

import pytest

from mt_sweeps.commands import dashboard
from mt_sweeps.tracking.background import BackgroundWriter
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
    made = Proxy(server.port)
    yield made
    made.close()


class Driven:
    """A sweep that goes on, two trials a second, while its window is brought up to date in the background."""

    def __init__(self, folder, server, proxy):
        self.sweep = Sweep(folder, f"tracking.uri={proxy.uri}", f"tracking.experiment={folder.name}", "trials=60")
        self.window = SweepRun(self.sweep.home, self.sweep.directory, self.sweep.ledger)
        self.writer = BackgroundWriter(self.window.sync, every=0.05)
        self.told = []
        self.writer.on_change = self.told.append
        self.server, self.proxy = server, proxy
        self.writer.start()

    def goes_on(self, trials):
        for _ in range(trials):
            trial = self.sweep.ledger.ask_search()
            last = self.sweep.train(trial, 0.5, 0.25)
            time.sleep(0.2)
            self.sweep.ledger.complete(trial, last)

    def suffers(self, mode):
        self.goes_on(1)
        self.proxy.mode = mode
        self.goes_on(2)
        until = time.monotonic() + 30
        while not (self.writer.error or (mode == "stall" and self.proxy.hits > 1)) and time.monotonic() < until:
            time.sleep(0.05)
        hurt = self.writer.error or mode == "stall"
        self.proxy.mode = "pass"
        self.goes_on(1)
        return hurt

    def shown(self):
        """Every point of every run, and the states, as the server has them in the end."""
        assert self.writer.stop(60)
        self.window.finish("FINISHED", "done")
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
        return {
            (trial.arm, trial.number): [(30, 0.5, 1_700_000_030_000), (60, 0.25, 1_700_000_060_000)]
            for trial in self.sweep.ledger.all_trials()
        }


@pytest.mark.parametrize("mode", ["refuse", "error", "stall", "cut", "lost"])
def test_after_an_outage_every_metric_of_every_trial_is_there_once(tmp_path, server, proxy, mode):
    driven = Driven(tmp_path, server, proxy)
    for _ in range(3):
        assert driven.suffers(mode)
    assert driven.shown() == driven.recorded()


def test_after_a_server_was_killed_and_started_again_everything_is_there_once(tmp_path, server):
    driven = Driven(tmp_path, server, server)
    driven.goes_on(2)
    server.kill()
    driven.goes_on(2)
    while not driven.told:
        time.sleep(0.05)
    assert driven.told[0].startswith("MLflow is behind, and catches up later: ")
    server.start()
    driven.goes_on(1)
    assert driven.shown() == driven.recorded()
    assert driven.told[-1] == "MLflow is up to date again"


@pytest.mark.skipif(Postgres.binaries() is None, reason="needs PostgreSQL: apt-get install postgresql")
def test_a_server_on_postgresql_keeps_everything_once_too_also_when_the_database_restarts(tmp_path):
    with Postgres() as database, MLflowServer(tmp_path, database.uri) as server:
        driven = Driven(tmp_path, server, server)
        driven.goes_on(2)
        database.stop()
        driven.goes_on(2)
        while not driven.told:
            time.sleep(0.05)
        database.start()
        driven.goes_on(1)
        assert driven.shown() == driven.recorded()


def test_nothing_is_printed_over_the_live_view(tmp_path, server, proxy, capfd):
    driven = Driven(tmp_path, server, proxy)
    driven.goes_on(1)
    driven.shown()
    assert capfd.readouterr() == ("", "")


def test_the_address_of_a_sweeps_page_is_told_where_a_server_has_it(tmp_path, server, proxy, capsys):
    driven = Driven(tmp_path, server, proxy)
    driven.goes_on(1)
    driven.shown()
    dashboard.serve(driven.sweep.home, "digits", port=5000)
    parent = driven.sweep.runs()[1]["digits"].info
    page = f"{proxy.uri}/#/experiments/{parent.experiment_id}/runs/{parent.run_id}"
    assert capsys.readouterr().out == f"{page}?workflowType=machine_learning\n"


def test_the_driver_does_not_even_import_what_talks_to_mlflow():
    script = (
        "import sys, mt_sweeps.execution.driver; print([m for m in sys.modules if 'mlflow' in m or 'tracking' in m])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
