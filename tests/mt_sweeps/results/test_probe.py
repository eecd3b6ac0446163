"""That a probe which the best of the search does not beat is said where no verdict says it."""

import pytest

from mt_sweeps.report import build
from mt_sweeps.results.headline import headline_text
from mt_sweeps.results.probe import unbeaten_in_validation
from mt_sweeps.results.statistics import Comparison, Interval
from mt_sweeps.results.status import status_text, sweep_status
from mt_sweeps.results.summary import summary_text
from tests.helpers.sweeps import ENVIRONMENT, Sweep, report, supervised_report

SENTENCE = "the linear probe is not beaten on the validation images: it has 53.3 % ± 1.0, and the best of the search "


def searched(folder, best, probe=0.533):
    """A sweep without finalists, whose search and probe have these errors."""
    sweep = Sweep(
        folder,
        "trials=1",
        "finalists.baselines=[probe]",
        "trainer.model={name: timm, architecture: test_resnet, weights: some.pth}",
    )
    for trial in iter(sweep.ledger.ask_search, None):
        last = supervised_report(300, probe) if trial.arm == "probe" else report(300, best)
        sweep.ledger.complete(trial, last)
    return sweep


def test_an_unbeaten_probe_is_said_first_wherever_people_look(tmp_path):
    sweep = searched(tmp_path, 0.667)
    sentence = unbeaten_in_validation(sweep.ledger, [])
    assert sentence.startswith(f"{SENTENCE}66.7 % ± 1.0")
    summary = " ".join(summary_text(sweep.directory, sweep.ledger, ENVIRONMENT).split())
    assert summary.index(sentence) < summary.index("best trial 0")
    assert summary.count(sentence) == 1
    status = status_text(sweep_status(sweep.directory), "")
    assert status.index(sentence) < status.index("  search ")
    assert build(sweep.directory).cautions[0] == sentence
    assert sentence[1:] in headline_text(sweep.directory, sweep.ledger, ENVIRONMENT)


@pytest.mark.parametrize(("best", "is_unbeaten"), [(0.534, True), (0.533, True), (0.532, False)])
def test_a_probe_is_unbeaten_unless_the_best_has_a_lower_error(tmp_path, best, is_unbeaten):
    assert (unbeaten_in_validation(searched(tmp_path, best).ledger, []) is not None) == is_unbeaten


def test_a_verdict_on_the_probe_takes_the_place_of_the_validation_images(tmp_path):
    ledger = searched(tmp_path, 0.667).ledger
    interval = Interval(-0.1, -0.2, -0.05)
    assert unbeaten_in_validation(ledger, [Comparison("trial 0", "probe", interval, 0.01, 5)]) is None
    assert unbeaten_in_validation(ledger, [Comparison("trial 0", "supervised", interval, 0.01, 5)]) is not None
