"""A run that cannot give a result ends with the reason; one that can, learns."""

import statistics

import pytest

from tests.trainers.support import config, finished
from trainers import TrainerConfig, losses
from trainers.errors import ConsistencyMissing, Diverged


@pytest.mark.parametrize("rate", [1e4, 1e10, 1e30])
@pytest.mark.parametrize("method", ["mean_teacher", "supervised"])
def test_an_enormous_learning_rate_ends_as_diverged(method, rate):
    # Losses that are finite but absurd count too, as in the authors' code (above 1e5); and the softmax, saturated by
    # then, must not be taken for a missing consistency term.
    with pytest.raises(Diverged, match=r"train\.\w+_loss is .* by step"):
        finished(config(method=method, optimizer={"learning_rate": rate}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_consistency_loss_that_is_not_finite_ends_as_diverged(monkeypatch, value):
    monkeypatch.setitem(losses.CONSISTENCY, "mse", lambda student, _: student.sum() * 0 + value)
    with pytest.raises(Diverged, match=rf"train\.consistency_loss is {value}"):
        finished(config())


BROKEN = {
    "a constant of 0": lambda student, _: student.sum() * 0,
    "the student against itself": lambda student, _: losses.mse(student, student),
    "the teacher against itself": lambda _, teacher: losses.mse(teacher, teacher),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_consistency_loss_of_zero_is_refused(monkeypatch, name):
    monkeypatch.setitem(losses.CONSISTENCY, "mse", BROKEN[name])
    with pytest.raises(ConsistencyMissing, match=r"train\.consistency_loss is 0.*consistency\.weight is 10"):
        finished(config())


def test_a_consistency_loss_that_moves_nothing_is_refused(monkeypatch):
    monkeypatch.setitem(losses.CONSISTENCY, "mse", lambda student, teacher: losses.mse(student, teacher).detach())
    with pytest.raises(ConsistencyMissing, match=r"train\.consistency_gradient_norm is 0"):
        finished(config())


def test_a_consistency_weight_of_zero_needs_no_consistency(monkeypatch):
    monkeypatch.setitem(losses.CONSISTENCY, "mse", BROKEN["a constant of 0"])
    assert finished(config(consistency={"weight": 0.0})).history[-1].metrics["train.consistency_loss"] == 0


def test_a_run_without_any_noise_may_begin_with_a_student_that_equals_its_teacher():
    # A short run is evaluated at every step, and before the first one the two have the same weights and see the same.
    history = finished(config(augmentation={"translate": 0}, steps=20, evaluate_every=None)).history
    assert history[0].metrics["train.consistency_loss"] == 0
    assert history[-1].metrics["train.consistency_loss"] > 0


@pytest.mark.slow
def test_mean_teacher_learns_more_from_fifty_labels_than_the_supervised_baseline():
    def error(method: str, seed: int) -> float:
        settings = TrainerConfig.model_validate(
            {
                "method": method,
                "dataset": {"name": "digits", "labels": 50, "validation": 300, "verdict": 300, "split_seed": seed},
                "steps": 300,
                "seed": seed,
                "labeled_batch_fraction": 0.5,
                "ema": {"decay": 0.95},
                "consistency": {"weight": 30.0},
                "augmentation": {"translate": 1, "noise": 0.1},
                "optimizer": {"learning_rate": 0.2},
                "evaluate_every": 300,
                "device": "cpu",
            }
        )
        metrics = finished(settings).history[-1].metrics
        return metrics["validation.teacher_error" if method == "mean_teacher" else "validation.student_error"]

    taught, alone = ([error(method, seed) for seed in range(3)] for method in ("mean_teacher", "supervised"))
    assert statistics.mean(taught) < statistics.mean(alone), (taught, alone)
    assert statistics.mean(alone) < 0.25  # the baseline is no straw man: chance is 0.9
