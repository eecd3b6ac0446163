import pytest

from mt_sweeps.tracking.pages import sweep_page
from tests.mt_sweeps.tracking.test_sweep_run import complete, run_of

pytestmark = pytest.mark.system  # whole runs, in MLflow's own store


def test_without_a_view_the_page_is_that_of_the_sweeps_run(new_sweep):
    complete(new_sweep, 0.3)
    run_of(new_sweep).sync()
    client, runs, _ = new_sweep.runs()
    client.delete_experiment_tag(runs["digits"].info.experiment_id, "mlflow.sharedViewState.abc")
    assert f"/runs/{runs['digits'].info.run_id}?" in sweep_page(new_sweep.directory)
