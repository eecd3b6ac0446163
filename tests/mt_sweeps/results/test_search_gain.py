"""Who found the best, what it is better than, and whether more trials would help."""

from dataclasses import replace

import pytest

from mt_sweeps.results.outlook import outlook
from mt_sweeps.results.search_gain import search_gain
from mt_sweeps.results.status import sweep_status
from mt_sweeps.results.summary import search_sentences, summary_text
from tests.helpers.sweeps import ENVIRONMENT, Sweep, digits, new_ledger, reopened, report

IMAGES = {"labeled": 50, "unlabeled": 788, "validation": 200, "verdict": 0}
ONE_KEY = "search_space={ema.decay: {type: float, low: 0.9, high: 0.99}}"


def searched(folder, errors, *overrides):
    """The ledger of a search whose trials end with these errors; None: pruned."""
    spec = digits(f"trials={len(errors)}", "finalists.baselines=[]", "finalists.top=0", *overrides)
    ledger = new_ledger(folder / "ledger.db", spec)
    for error in errors:
        trial = ledger.ask_search()
        if error is None:
            ledger.prune(trial, report(90, 0.5))
        else:
            ledger.complete(trial, report(300, error))  # its standard error is 0.01
    return ledger


def test_the_ledger_knows_who_chose_the_values_of_a_trial(tmp_path):
    ledger = searched(tmp_path, [0.1] * 13)
    origins = [trial.origin for trial in ledger.trials("search")]
    assert origins == ["point", *["random"] * 9, *["sampler"] * 3], "the model begins when ten trials have ended"
    again = reopened(ledger, tmp_path)
    assert [trial.origin for trial in again.trials("search")] == origins


def test_a_random_search_has_no_model(tmp_path):
    ledger = searched(tmp_path, [0.1] * 12, "points=[]", "sampler.name=random")
    assert {trial.origin for trial in ledger.trials("search")} == {"random"}


def test_a_grid_is_nobodys_choice(tmp_path):
    grid = "search_space={consistency.loss: {type: categorical, choices: [mse, kl]}}"
    ledger = searched(tmp_path, [0.1, 0.2], "points=[]", "sampler.name=grid", grid)
    assert [trial.origin for trial in ledger.trials("search")] == ["", ""]
    assert search_gain(ledger, 200).where_from() == ""


def test_a_trial_that_is_begun_again_keeps_who_chose_it(tmp_path):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=2", "finalists.baselines=[]"))
    ledger.requeue(ledger.ask_search())
    assert ledger.ask_search().origin == "point"
    assert reopened(ledger, tmp_path).trials("search")[0].origin == "point"


def test_a_best_that_somebody_wrote_into_the_file_is_called_so(tmp_path):
    gain = search_gain(searched(tmp_path, [0.05, 0.06, 0.2, None]), 200)
    assert gain.where_from() == (
        "The best is a given point, trial 0: 3 other trials did not beat it; "
        "the best of the random trials has 6.0 % (2 completed)"
    )
    assert gain.as_good() == "2 of 3 completed trials are within one standard error of it, itself included"


def test_an_only_completed_trial_is_compared_with_no_other(tmp_path):
    assert search_gain(searched(tmp_path, [0.05, None]), 200).as_good() == ""
    assert search_sentences(searched(tmp_path, [0.05, None]), IMAGES) == [
        "The best is a given point, trial 0: 1 other trial did not beat it"
    ]


@pytest.mark.parametrize(
    ("errors", "beaten"),
    [
        ([0.05, 0.06], "1 other given point did not beat it; nothing else was tried"),
        ([0.05, 0.06, None], "2 other given points did not beat it; nothing else was tried"),
        (
            [0.05, 0.06, None, 0.3],
            "3 other trials did not beat it; the best of the random trials has 30.0 % (1 completed)",
        ),
    ],
)
def test_other_given_points_were_tried_too(tmp_path, errors, beaten):
    points = [{"ema.decay": decay} for decay in (0.95, 0.96, 0.97)[: len(errors)]]
    gain = search_gain(searched(tmp_path, errors, f"points={points}", ONE_KEY), 200)
    assert gain.where_from() == f"The best is a given point, trial 0: {beaten}"


def test_a_given_point_that_others_have_not_met_yet_is_not_said_to_be_alone(tmp_path):
    ledger = searched(tmp_path, [0.05], "trials=2")
    ledger.ask_search()
    assert search_gain(ledger, 200).where_from().endswith("trial 0: nothing else has completed")


def test_a_best_that_the_search_found_is_compared_with_the_points(tmp_path):
    gain = search_gain(searched(tmp_path, [0.1, 0.05, 0.2]), 200)
    assert gain.where_from() == (
        "The best, trial 1, was drawn at random; the best of the given points has 10.0 % (1 completed)"
    )
    assert gain.as_good() == "No other completed trial is within one standard error of it"


def test_a_best_that_the_sampler_suggested_is_called_so(tmp_path):
    gain = search_gain(searched(tmp_path, [0.1] * 11 + [0.03]), 200)
    assert gain.where_from().startswith(
        "The best, trial 11, was suggested by the sampler; the best of the given points has"
    )


def test_before_a_trial_has_completed_nothing_is_said(tmp_path):
    ledger = searched(tmp_path, [None])
    assert search_gain(ledger, 200) is None
    assert search_sentences(ledger, IMAGES) == []


def test_too_few_trials_allow_no_outlook(tmp_path):
    assert outlook(searched(tmp_path, [0.1, 0.2, 0.3, 0.2, 0.1])) is None


def along(folder, decays, errors):
    """The ledger of a search over one key."""
    points = [{"ema.decay": decay} for decay in decays]
    return searched(folder, errors, f"points={points}", ONE_KEY)


def test_a_valley_whose_floor_was_tried_promises_nothing(tmp_path):
    places = [place / 11 for place in range(12)]
    ledger = along(tmp_path, [0.9 + 0.09 * x for x in places], [0.05 + 4 * (x - 0.55) ** 2 for x in places])
    assert "searching on is unlikely to help" in outlook(ledger)


def test_an_error_that_falls_towards_where_nothing_was_tried_promises_more(tmp_path):
    ledger = along(tmp_path, [0.9 + 0.002 * i for i in range(8)], [0.4 - 0.04 * i for i in range(8)])
    text = outlook(ledger)
    assert "at least 1 trial would gain one standard error of the best (1.0 points); searching on may help" in text


def test_errors_that_are_noise_alone_promise_less_than_a_standard_error(tmp_path):
    ledger = along(tmp_path, [0.9 + 0.008 * i for i in range(12)], [0.1 + 0.001 * (7 * i % 5) for i in range(12)])
    assert "searching on is unlikely to help" in outlook(ledger)


def test_status_says_where_the_best_is_from(tmp_path):
    sweep = Sweep(tmp_path, "finalists.baselines=[]")
    trial = sweep.ledger.ask_search()
    sweep.ledger.complete(trial, sweep.train(trial, 0.2, 0.1))
    status = sweep_status(sweep.directory)
    assert status.as_json()["best"]["origin"] == "point"
    assert status.search == "The best is a given point, trial 0: nothing else was tried"


@pytest.mark.parametrize(
    ("space", "note"),
    [
        ("search_space.optimizer.learning_rate={type: float, low: 0.1, high: 0.4}", "; the best of 1 trial"),
        ("trials=3", "; not searched, since the file searches no key that concerns it: it could be better"),
    ],
)
def test_the_summary_says_whether_the_supervised_baseline_was_searched(space, note, tmp_path):
    sweep = Sweep(tmp_path, "finalists.baselines=[supervised]", "points=[]", space)
    trial = sweep.ledger.ask_search()
    sweep.ledger.complete(trial, sweep.train(trial, 0.1))
    while trial.arm != "supervised":
        trial = sweep.ledger.ask_search()
    sweep.ledger.complete(trial, sweep.train(trial, 0.3))
    text = " ".join(summary_text(sweep.directory, sweep.ledger, replace(ENVIRONMENT, images=IMAGES)).split())
    assert f"the same network and steps without the unlabeled images{note}" in text
