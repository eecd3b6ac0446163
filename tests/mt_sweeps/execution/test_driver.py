import pytest
from ray.tune.search import Searcher

from mt_sweeps.execution import driver
from mt_sweeps.execution.resources import Share
from mt_sweeps.storage.home import LocalHome
from tests.helpers.sweeps import digits, new_ledger, report


class Nobody:
    """Hears of everything and does nothing."""

    def started(self, *_):
        pass

    reported = ended = message = started


@pytest.fixture
def engine(tmp_path):
    spec = digits("trials=4", "finalists.baselines=[]")
    directory = LocalHome(tmp_path).claim(None, spec.name)
    directory.save_spec(spec)
    return driver._Engine(new_ledger(directory.ledger, spec), directory, Share(0.0, 1, 2), Nobody())


def test_a_tune_experiment_that_is_full_starts_no_more_trials_and_the_next_one_goes_on(engine, monkeypatch):
    monkeypatch.setattr(driver, "TRIALS_AT_MOST", 3)
    for tune_id in "abc":
        assert isinstance(engine.next(tune_id), dict)
    assert engine.next("d") == Searcher.FINISHED
    engine.lost("a", "its worker was lost")
    for tune_id in "bc":
        engine.ended(tune_id, {"report": report(300, 0.1), "failure": None})
    engine.started = 0
    assert [isinstance(engine.next(tune_id), dict) for tune_id in "ef"] == [True, True], "the lost one, and the last"
    for tune_id in "ef":
        engine.ended(tune_id, {"report": report(300, 0.1), "failure": None})
    assert engine.next("g") == Searcher.FINISHED, "nothing is left"
