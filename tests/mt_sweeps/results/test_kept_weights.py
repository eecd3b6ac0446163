"""Which weights of a trial are kept, and which sentence stands beside an error of other weights."""

import pytest

from mt_sweeps.results.kept_weights import KeptWeights, kept_weights
from tests.helpers.sweeps import Sweep, report


@pytest.mark.parametrize(
    ("teacher", "kept"),
    [
        ([0.5, 0.1, 0.2], KeptWeights(60, 0.1)),
        ([0.5, 0.1, 0.1], KeptWeights(60, 0.1)),  # the first of equals
        ([0.5, float("nan"), 0.2], KeptWeights(90, 0.2)),
    ],
)
def test_the_weights_of_the_lowest_error_of_the_teacher_are_kept(tmp_path, teacher, kept):
    sweep = Sweep(tmp_path, "finalists.baselines=[]")
    trial = sweep.ledger.ask_search()
    reports = [report(30 * (i + 1), error, student=0.01 * i) for i, error in enumerate(teacher)]
    sweep.directory.trials.begin(trial.id, trial.attempt, reports)
    assert kept_weights(sweep.directory, trial) == kept


def test_without_records_it_is_not_known(tmp_path):
    sweep = Sweep(tmp_path, "finalists.baselines=[]")
    assert kept_weights(sweep.directory, sweep.ledger.ask_search()) is None


def test_another_error_of_the_trial_is_explained(tmp_path):
    sweep = Sweep(tmp_path, "finalists.baselines=[]")
    trial = sweep.ledger.ask_search()
    trial = sweep.ledger.complete(trial, report(300, 0.1))
    spec = sweep.ledger.spec
    assert KeptWeights(300, 0.1).beside(trial, spec) is None
    assert KeptWeights(240, 0.063).beside(trial, spec) == (
        "trial 0 is ranked by its last evaluation, of step 300 (10.0 % ± 1.0); the weights that are kept are those of "
        "its lowest error, of step 240"
    )
