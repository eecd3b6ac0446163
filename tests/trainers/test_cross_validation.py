"""Cross-validation: what k trainings come to together, as one run."""

from itertools import islice

import numpy as np
import pytest
from pydantic import ValidationError

from tests.helpers.training import config, finished, results
from trainers import CrossValidation, Trainer
from trainers.confusion import Confusion
from trainers.errors import CheckpointError
from trainers.files import BEST_MODEL, CHECKPOINT

DATASET = {"name": "digits", "labels": 30, "validation": 0, "folds": 3}
SETTINGS = config(dataset=DATASET)


def cross_validated(settings=SETTINGS, directory=None):
    run = CrossValidation(settings, directory)
    list(run.run())
    return run


def test_its_error_is_that_on_all_labeled_images_each_by_the_training_that_did_not_see_it():
    run = cross_validated()
    trainings = [finished(SETTINGS.of_fold(fold)) for fold in range(3)]
    assert [report.step for report in run.history] == [2, 4, 6, 8, 10, 12, 14, 16, 18]
    for network in ("student", "teacher"):
        wrong = sum(
            one.history[-1].metrics[f"validation.{network}_error"] * len(one.split.validation) for one in trainings
        )
        assert run.history[-1].metrics[f"validation.{network}_error"] == pytest.approx(wrong / 30)
    summed = sum(Confusion.from_json(one.history[-1].confusion["validation.teacher"]).counts for one in trainings)
    last = run.history[-1]
    assert last.metrics["validation.images"] == summed.sum() == 30
    assert last.metrics["validation.teacher_balanced_error"] == Confusion(summed).balanced_error
    np.testing.assert_array_equal(Confusion.from_json(last.confusion["validation.teacher"]).counts, summed)
    assert last.metrics["train.loss"] == trainings[-1].history[-1].metrics["train.loss"]
    middle = run.history[4]  # the second training, at its second evaluation
    counts = [Confusion.from_json(trainings[0].history[-1].confusion["validation.teacher"]).counts]
    counts.append(Confusion.from_json(trainings[1].history[1].confusion["validation.teacher"]).counts)
    np.testing.assert_array_equal(Confusion.from_json(middle.confusion["validation.teacher"]).counts, sum(counts))
    ends = [one.history[-1].correct["validation.teacher"] for one in trainings]
    assert last.correct["validation.teacher"] == "".join(ends)
    assert middle.correct["validation.teacher"] == ends[0] + trainings[1].history[1].correct["validation.teacher"]
    assert last.seconds > run.history[5].seconds > run.history[2].seconds


def test_the_errors_on_verdict_images_are_means_over_the_trainings():
    settings = config(dataset={**DATASET, "verdict": 50}, verdict=True)
    last = cross_validated(settings).history[-1]
    trainings = [finished(settings.of_fold(fold)).history[-1].metrics for fold in range(3)]
    for name in ("verdict.teacher_error", "verdict.student_standard_error"):
        assert last.metrics[name] == pytest.approx(np.mean([metrics[name] for metrics in trainings]))


# At the end of a fold, after the first evaluation of the next one, in its middle, and at the very end.
@pytest.mark.parametrize("reports", [2, 3, 5, 6])
@pytest.mark.parametrize("method", ["mean_teacher", "supervised", "pi_model"])
def test_a_run_that_is_interrupted_at_an_evaluation_goes_on_to_the_same_result(tmp_path, method, reports):
    settings = SETTINGS.model_copy(update={"method": method, "steps": 4})
    whole = [outcome(report) for report in cross_validated(settings).history]
    assert len(list(islice(CrossValidation(settings, tmp_path).run(), reports))) == reports
    resumed = CrossValidation(settings, tmp_path)
    assert [outcome(report) for report in resumed.history] == whole[:reports]
    assert [outcome(report) for report in resumed.run()] == whole[reports:]
    assert [outcome(report) for report in resumed.history] == whole


def outcome(report):
    """What does not depend on how long it took."""
    metrics = {name: value for name, value in report.metrics.items() if not name.startswith(("time.", "memory."))}
    return report.step, metrics, report.confusion, report.correct


def test_a_torn_checkpoint_of_a_fold_falls_back_to_the_fold_before(tmp_path):
    whole = [outcome(report) for report in cross_validated().history]
    list(islice(CrossValidation(SETTINGS, tmp_path).run(), 4))  # to the first checkpoint of the second fold
    content = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match="going on from"):
        resumed = CrossValidation(SETTINGS, tmp_path)
    assert [outcome(report) for report in resumed.run()] == whole[3:]


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    cross_validated(directory=tmp_path)
    with pytest.raises(CheckpointError, match="another configuration"):
        CrossValidation(SETTINGS.model_copy(update={"seed": 1}), tmp_path)
    with pytest.raises(CheckpointError, match="another configuration"):
        Trainer(config(), tmp_path)


def test_no_model_of_a_part_of_the_labels_is_kept(tmp_path):
    cross_validated(directory=tmp_path)
    assert not (tmp_path / BEST_MODEL).exists()


def test_a_training_without_a_fold_has_all_labels():
    trainer = finished(SETTINGS)
    assert len(trainer.split.labeled) == 30
    assert "validation.teacher_error" not in trainer.history[-1].metrics
    assert results(trainer)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"validation": 0}, r"validation is 0.*set folds \(5.*or raise validation"),
        ({"validation": 10, "folds": 5}, r"folds \(5\) and validation \(10\) clash.*validation: 0, or take folds out"),
        ({"validation": 10, "fold": 1}, r"fold \(1\) is one of folds.*take it out"),
        ({"validation": 0, "folds": 3, "fold": 3}, r"fold \(3\) must be below folds \(3\)"),
        ({"validation": 0, "folds": 1}, r"greater than or equal to 2"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(dataset, message):
    with pytest.raises(ValidationError, match=message):
        config(dataset={"name": "digits", "labels": 30, **dataset})
