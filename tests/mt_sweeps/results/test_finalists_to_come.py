from itertools import islice

import pytest

from mt_sweeps.results import finalists
from mt_sweeps.results.finalists_to_come import finalists_to_come
from tests.helpers.sweeps import digits, new_ledger, next_finalist, report, supervised_report

IMAGES = {"labeled": 50, "unlabeled": 788, "validation": 300, "verdict": 300}


def searched(tmp_path, *overrides):
    """Two searched trials and a supervised baseline; eight seeds at most."""
    spec = digits("trials=2", "finalists.top=1", "finalists.seeds=8", "finalists.baselines=[supervised]", *overrides)
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    for trial in iter(ledger.ask_search, None):
        made = report if trial.arm != "supervised" else supervised_report
        ledger.complete(trial, made(300, 0.1 + trial.number / 10))
    return ledger


def train(ledger, count, gain):
    """Train so many finalists: the best is better than the baseline by about the gain."""
    for trial in islice(iter(lambda: next_finalist(ledger, IMAGES), None), count):
        seed = trial.values["seed"] - finalists.FIRST_SEED
        if trial.replicates.arm == "supervised":
            last = supervised_report(300, 0.9)
            last.metrics["verdict.student_error"] = 0.2 + gain + (0.0, 0.01, -0.01)[seed % 3]
        else:
            last = report(300, 0.9)
            last.metrics["verdict.teacher_error"] = 0.2
        ledger.complete(trial, last)


def test_before_a_look_half_of_the_seeds_after_it_are_expected(tmp_path):
    ledger = searched(tmp_path)
    assert finalists_to_come(ledger, IMAGES) == {"search": 3 + 5 / 2, "supervised": 3 + 5 / 2}
    train(ledger, 5, gain=0.1)
    assert finalists_to_come(ledger, IMAGES) == {"search": 5 / 2, "supervised": 1 + 5 / 2}


def test_where_the_images_are_not_known_no_look_is_foreseen(tmp_path):
    ledger = searched(tmp_path)
    train(ledger, 6, gain=0.02)
    assert finalists_to_come(ledger, None) == {"search": 5 / 2, "supervised": 5 / 2}


def test_before_a_trial_is_complete_the_file_says_how_many_there_are(tmp_path):
    spec = digits("trials=4", "finalists.top=2", "finalists.seeds=3", "finalists.baselines=[supervised, published]")
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    assert finalists_to_come(ledger, IMAGES) == {"search": 6, "supervised": 3, "published": 3}


def test_all_seeds_are_trained_where_there_is_nothing_to_compare(tmp_path):
    ledger = searched(tmp_path, "finalists.baselines=[]")
    assert finalists_to_come(ledger, IMAGES) == {"search": 8}


@pytest.mark.parametrize("gain", [0.0, 0.02, 0.03])
def test_seeds_that_repeat_the_first_come_to_what_was_expected_of_them(tmp_path, gain):
    ledger = searched(tmp_path)
    train(ledger, 6, gain)
    to_come = finalists_to_come(ledger, IMAGES)
    assert set(to_come.values()) != {5 / 2}
    train(ledger, 100, gain)
    trained = [trial.replicates.arm for trial in ledger.trials("finalists")]
    assert to_come == {arm: trained.count(arm) - 3 for arm in ("search", "supervised")}


def test_once_all_is_settled_no_more_is_expected(tmp_path):
    ledger = searched(tmp_path)
    train(ledger, 100, gain=0.3)
    assert len(ledger.trials("finalists")) < 16
    assert set(finalists_to_come(ledger, IMAGES).values()) == {0.0}


def test_seeds_of_one_that_is_no_longer_among_the_best_do_not_count(tmp_path):
    ledger = searched(tmp_path)
    train(ledger, 4, gain=0.1)
    ledger.spec = ledger.spec.model_copy(update={"trials": 3})
    ledger.complete(ledger.ask_search(), report(300, 0.01))
    assert finalists_to_come(ledger, IMAGES) == {"search": 3 + 5 / 2, "supervised": 1 + 5 / 2}
