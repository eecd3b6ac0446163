"""The pictures that a trial leaves for the report."""

from pathlib import Path

import pytest
import torch

from mt_sweeps.execution import trial_pictures
from mt_sweeps.execution.attempt import Assignment, Attempt
from mt_sweeps.execution.simulated_trainer import Script, SimulatedTrainer
from mt_sweeps.results import pictures
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.storage.trial_files import TrialFiles
from tests.helpers.training import config
from trainers import Trainer
from trainers.confusion import Confusion


def trained(folder, arm="search", number=7, make=lambda assignment, path: Trainer(assignment.config, path)):
    """The outcomes of a trial, in the folder where a sweep keeps it."""
    trial = TrialId(arm, number)
    address = TrialFiles(str(folder)).address(trial, 1)
    attempt = Attempt(Assignment(trial, 1, config().model_dump_json(), {}, address, None, 1, 0.0), make_trainer=make)
    outcomes = [attempt.advance()]
    while not outcomes[-1].done:
        assert TrialFiles(str(folder)).pictures(trial) is None, "before its end"
        outcomes.append(attempt.advance())
    attempt.close()
    return outcomes


def test_a_trial_of_the_search_leaves_its_worst_mistakes_and_least_certain_images(tmp_path):
    report = trained(tmp_path)[-1].report
    content = TrialFiles(str(tmp_path)).pictures(TrialId("search", 7))
    assert content is not None
    mistakes, least_certain = pictures.parse(content)
    assert mistakes.title == "The worst mistakes of trial 7 on the validation images, at its last evaluation"
    assert least_certain.title == "Validation images that trial 7 is least certain of, at its last evaluation"
    assert len(mistakes.pictures) == len(least_certain.pictures) == pictures.MOST
    counts = Confusion.from_json(report.confusion["validation.teacher"]).counts
    for picture in mistakes.pictures:
        true, predicted = (int(line.rpartition(" ")[2]) for line in picture.lines[:2])
        assert true != predicted
        assert counts[true, predicted], "as the confusion matrix of the same evaluation has it"


def test_no_other_trial_leaves_pictures(tmp_path):
    for arm in ("supervised", "finalists"):
        trained(tmp_path, arm)
        assert TrialFiles(str(tmp_path)).pictures(TrialId(arm, 7)) is None


def test_a_simulated_trial_has_no_images(tmp_path):
    trained(tmp_path, make=lambda assignment, path: SimulatedTrainer(assignment.config, path, Script()))
    assert TrialFiles(str(tmp_path)).pictures(TrialId("search", 7)) is None


def test_pictures_that_cannot_be_made_cost_a_trial_nothing(tmp_path):
    def make(assignment: Assignment, path: Path) -> Trainer:
        trainer = Trainer(assignment.config, path)
        trainer.classes = []  # no class has a name
        return trainer

    with pytest.warns(UserWarning, match="trial 7: no pictures"):
        outcomes = trained(tmp_path, make=make)
    assert all(outcome.failure is None for outcome in outcomes)


def test_making_pictures_changes_nothing_of_a_run(tmp_path):
    trainer = Trainer(config(), tmp_path)
    list(trainer.run())
    before = {name: value.clone() for name, value in trainer._last_network.state_dict().items()}
    trial_pictures.write(trainer, TrialId("search", 0), tmp_path)
    assert all(torch.equal(before[name], value) for name, value in trainer._last_network.state_dict().items())
    assert trainer._last_network.training == Trainer(config(), None)._last_network.training
