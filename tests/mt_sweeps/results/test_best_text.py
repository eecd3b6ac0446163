"""The best configuration on one screen."""

from mt_sweeps.results import training_result
from mt_sweeps.results.best_text import best_text
from mt_sweeps.results.training_result import RESULT, TrainingResult
from tests.helpers.sweeps import Sweep, finish
from tests.helpers.training import config, evaluation


def trained(sweep, name, **changes):
    """Leave the result of a final training in the sweep's home, and return its folder."""
    result = {
        "sweep": "digits",
        "sweep_id": "abc",
        "trial": 0,
        "changed": [],
        "trainer": config(),
        "network": "teacher",
        "test": {"teacher": training_result.TestError.of(evaluation(0.25, 40), ["common", "rare"])},
        "images": {},
        "data_fingerprint": "",
        "split_fingerprint": "",
        "versions": {},
        "time": 0.0,
    }
    folder = sweep.home.trained / name
    folder.mkdir(parents=True)
    (folder / RESULT).write_text(TrainingResult(**result | changes).model_dump_json())
    return folder


def test_the_test_error_of_the_best_is_shown_once_it_is_trained_and_no_other(tmp_path):
    sweep = Sweep(tmp_path, "finalists.baselines=[]")
    for error in (0.1, 0.2):
        finish(sweep.ledger, sweep.ledger.ask_search(), error)
    assert "test error" not in best_text(sweep.directory)
    trained(sweep, "of-another-trial", trial=1)
    trained(sweep, "of-a-baseline", arm="supervised")
    trained(sweep, "of-another-sweep", sweep_id="other")
    assert "test error" not in best_text(sweep.directory)
    folder = trained(sweep, "of-the-best")
    (line,) = [line for line in best_text(sweep.directory).splitlines() if "test error" in line]
    assert line == f"  test error 25.0 % [14.2, 40.2] on 40 images: trial 0, seed 0, in {folder}"
