"""A crash between a report and its decision changes no decision."""

import signal
import sys

import pytest

from tests.helpers.chaos import Sweep
from tests.helpers.command_line import REPOSITORY

DIES = REPOSITORY / "tests" / "helpers" / "dies_before_decision.py"


@pytest.mark.system
def test_a_trial_that_is_to_be_pruned_as_its_driver_dies_is_pruned_by_the_next_and_trains_no_further(tmp_path):
    sweep = Sweep(tmp_path, trials=8, pruner="asha")
    driver = sweep.drive(sys.executable, str(DIES))
    status, out = driver.wait()
    assert status == -signal.SIGKILL, out
    # The trials that ran: of one, the report is in the ledger that ends it.
    ran = {trial.number for trial in sweep.study() if trial.state.name == "RUNNING"}
    assert "PRUNED" not in {trial.state.name for trial in sweep.study()}
    before = {number: max(sweep.study()[number].intermediate_values, default=0) for number in ran}

    sweep.finish()
    trials = sweep.study()
    ended = [number for number in ran if trials[number].state.name == "PRUNED"]
    ended = [number for number in ended if max(trials[number].intermediate_values) == before[number]]
    assert ended, "the trial did not escape"
    for number in ended:
        assert {step for trial, step in sweep.computed() if trial == number} == set(trials[number].intermediate_values)
        began = [{file.name for file in attempt.iterdir()} for attempt in sweep.attempts(number)[1:]]
        assert all(files == {"records.jsonl"} for files in began), "no worker took it up again"
        assert sweep.shown()[number] == ("KILLED", sorted(trials[number].intermediate_values))
    assert {trial.state.name for trial in trials} == {"COMPLETE", "PRUNED"}
    assert len(trials) == sweep.trials
