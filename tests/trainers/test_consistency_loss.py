"""Which images the consistency loss counts, and from when on."""

import pytest
import torch
from pydantic import ValidationError

from tests.helpers.training import config, finished, results, weights
from trainers.config import Consistency
from trainers.errors import ConsistencyMissing
from trainers.guards import check_consistency
from trainers.methods import Target
from trainers.report import Report
from trainers.schedules import consistency_weight
from trainers.trainer import Trainer


def metrics(**changes):
    return {"train.consistency_loss": 0.1, "train.consistency_gradient_norm": 0.1, "train.confident_share": 0.5} | {
        f"train.{name}": value for name, value in changes.items()
    }


def test_a_target_is_confident_above_the_threshold_and_not_at_it():
    target = Target(torch.tensor([[0.75, 0.25], [0.5, 0.5], [0.1, 0.9]]))
    assert target.is_confident(0.75).tolist() == [0, 0, 1]
    assert target.is_confident(0.74).tolist() == [1, 0, 1]


def test_confidence_counts_some_images_and_reports_their_share():
    shares = [
        finished(config(consistency={"confidence": threshold})).history[0].metrics["train.confident_share"]
        for threshold in (0.05, 0.16)
    ]
    assert shares[0] == 1
    assert 0 < shares[1] < 1
    assert "train.confident_share" not in finished(config()).history[0].metrics


def test_images_that_are_not_confident_count_as_nothing_in_the_mean():
    everything, some = (
        finished(config(steps=1, evaluate_every=1, ema={"decay": 0.0}, consistency={"confidence": threshold}))
        .history[0]
        .metrics
        for threshold in (0.05, 0.16)
    )
    # At the first step all weights are the same, so the same images have the same losses.
    assert some["train.class_loss"] == everything["train.class_loss"]
    assert 0 < some["train.consistency_loss"] < everything["train.consistency_loss"]


def test_a_run_in_which_no_image_ever_counts_learns_from_labels_alone():
    none, unweighted = (
        finished(config(consistency=consistency)).history for consistency in ({"confidence": 0.999}, {"weight": 0.0})
    )
    assert [report.metrics["train.confident_share"] for report in none] == [0, 0, 0]
    assert [report.metrics["train.consistency_loss"] for report in none] == [0, 0, 0]
    for name in ("train.loss", "validation.student_error", "validation.teacher_error"):
        assert [report.metrics[name] for report in none] == [report.metrics[name] for report in unweighted]


def test_the_loss_is_asked_for_once_at_the_first_evaluation_in_which_an_image_counted():
    settings = config(consistency={"confidence": 0.9})
    none, broken = metrics(consistency_loss=0.0, confident_share=0.0), metrics(consistency_loss=0.0)
    check_consistency(none, settings, 2, [], 1)
    check_consistency(none, settings, settings.steps, [Report(2, 0.0, none), Report(4, 0.0, none)], 1)
    for before in ([], [Report(2, 0.0, none)]):
        with pytest.raises(
            ConsistencyMissing, match=r"consistency_loss is 0\.0 at step 4 though consistency\.weight is 10"
        ):
            check_consistency(broken, settings, 4, before, 1)
    check_consistency(broken, settings, 2, [], 2)  # a teacher that began as a copy still agrees
    with pytest.raises(ConsistencyMissing):
        check_consistency(broken, settings, 4, [Report(2, 0.0, metrics())], 2)  # that was before there were targets
    check_consistency(broken, settings, 4, [Report(2, 0.0, metrics())], 1)  # confident networks may come to agree
    check_consistency(metrics(consistency_gradient_norm=0.0), settings, 4, [], 1)  # of a step without such an image


def test_the_ramp_up_begins_at_the_start():
    late = Consistency(weight=8.0, start=10, ramp_up="linear")
    assert [consistency_weight(step, late, 4) for step in (0, 9, 10, 12, 14, 20)] == [0, 0, 0, 4, 8, 8]
    assert consistency_weight(10, late, 0) == 8
    assert config(steps=60, consistency={"start": 10}).consistency_ramp_end == 20


def test_until_the_start_only_labels_are_learnt_from(tmp_path):
    late = config(consistency={"start": 4, "ramp_up_steps": 0})
    never = config(consistency={"weight": 0.0})
    first, second = (
        [(report.metrics["train.loss"], report.metrics["validation.student_error"]) for report in finished(one).history]
        for one in (late, never)
    )
    assert first[:2] == second[:2]
    assert first[2] != second[2]
    resumed = Trainer(late, tmp_path / "run")
    next(resumed.run())
    assert results(finished(late, tmp_path / "run")) == results(finished(late))
    assert weights(resumed, tmp_path / "model").keys()


def test_a_start_that_leaves_no_step_is_refused():
    with pytest.raises(ValidationError, match=r"consistency\.start \(6\) must be below steps \(6\)"):
        config(consistency={"start": 6})
    with pytest.raises(
        ValidationError, match=r"consistency\.start \+ ramp_up_steps \(4 \+ 3\) is longer than steps \(6\)"
    ):
        config(consistency={"start": 4, "ramp_up_steps": 3})
