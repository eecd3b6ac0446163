from pathlib import Path

import pytest

from mt_sweeps.tracking.stored_runs import remove_runs, send_report
from tests.helpers.sweeps import Sweep
from tests.mt_sweeps.tracking.test_sweep_run import complete, run_of

pytestmark = pytest.mark.system  # whole runs, in MLflow's own store


def test_the_view_goes_with_the_sweep(new_sweep):
    complete(new_sweep, 0.3)
    run_of(new_sweep).sync()
    remove_runs(new_sweep.home, new_sweep.directory)
    tags = new_sweep.runs()[0].get_experiment_by_name("mt-sweeps").tags
    views = [key for key in tags if key.startswith("mlflow.sharedViewState.")]
    assert views == ["mlflow.sharedViewState.sweeps"], "that of all sweeps stays"


def test_a_report_that_is_written_anew_replaces_the_one_of_the_sweeps_own_run(new_sweep):
    new_sweep.directory.report.write_text("an early one")
    run_of(new_sweep).finish("KILLED", "")
    new_sweep.directory.report.write_text("a new one")
    send_report(new_sweep.home, new_sweep.directory)
    client, runs, _ = new_sweep.runs()
    assert Path(client.download_artifacts(runs["digits"].info.run_id, "report.html")).read_text() == "a new one"


def test_a_report_without_a_run_is_sent_nowhere(tmp_path):
    sweep = Sweep(tmp_path)
    sweep.directory.report.write_text("a page")
    send_report(sweep.home, sweep.directory)
    assert not sweep.home.mlflow_db.exists()
