"""What a sweep's summary recommends."""

from dataclasses import replace

import pytest

from mt_sweeps.results.summary import summary_text
from tests.helpers.sweeps import ENVIRONMENT, Sweep, finish


@pytest.mark.parametrize(("error", "is_learned"), [(0.9, False), (0.1, True)])
def test_training_is_recommended_only_where_something_was_learned(tmp_path, error, is_learned):
    sweep = Sweep(tmp_path, "finalists.baselines=[]")
    sweep.directory.save_environment(replace(ENVIRONMENT, classes=[str(digit) for digit in range(10)]))
    for _ in range(3):
        finish(sweep.ledger, sweep.ledger.ask_search(), error)
    text = summary_text(sweep.directory, sweep.ledger, ENVIRONMENT)
    said = "verdict    nothing was learned: the best error is 90.0 %, and guessing has 90.0 %"
    assert (said in text) == (not is_learned)
    assert ("mt-sweep train" in text) == is_learned
    assert text.count("nothing was learned") == (not is_learned)


def test_trials_that_were_ended_by_hand_are_named_and_are_no_failures(tmp_path):
    sweep = Sweep(tmp_path, "finalists.baselines=[supervised]")
    for _ in range(2):
        finish(sweep.ledger, sweep.ledger.ask_search())
    sweep.ledger.end_by_hand(sweep.ledger.ask_search(), [])
    text = summary_text(sweep.directory, sweep.ledger, ENVIRONMENT)
    assert "by hand    1 trial ended by hand: trial 1" in text
    assert "failed" not in text


def test_cautions_about_the_images_stand_at_the_end_too(tmp_path):
    sweep = Sweep(tmp_path, "finalists.baselines=[]")
    environment = replace(ENVIRONMENT, cautions=["2 training images look almost like test images"])
    finish(sweep.ledger, sweep.ledger.ask_search())
    text = summary_text(sweep.directory, sweep.ledger, environment)
    assert "caution    2 training images look almost like test images" in text
    assert "caution    2 training" not in summary_text(sweep.directory, sweep.ledger, ENVIRONMENT)


def test_a_trial_that_an_interruption_left_waits_and_does_not_run(tmp_path):
    sweep = Sweep(tmp_path, "finalists.baselines=[]")
    finish(sweep.ledger, sweep.ledger.ask_search())
    assert sweep.ledger.ask_search().state == "running"
    first, *_ = summary_text(sweep.directory, sweep.ledger, ENVIRONMENT).splitlines()
    assert first.endswith(": 1 complete, 1 waiting")
