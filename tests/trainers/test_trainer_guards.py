"""A run that cannot give a result ends with the reason; one that can, learns."""

import dataclasses
import itertools
import statistics

import numpy as np
import pytest
import torch

from tests.helpers.training import METHODS, REVISITED, config, evaluation, finished, write_image
from trainers import Trainer, TrainerConfig, losses
from trainers import trainer as trainer_module
from trainers.data import training_data
from trainers.data.augmentation import ViewAugmenter
from trainers.errors import Collapsed, ConsistencyMissing, Diverged, NoLabels
from trainers.methods import TemporalEnsembling
from trainers.optimizer import Optimizer

WITH_CONSISTENCY = METHODS[1:]
FIRST_PASS = 2  # steps over the 40 unlabeled images of REVISITED, 15 a batch, an incomplete one dropped
NOISELESS = {"augmentation": {"translate": 0}}


# --- diverged


@pytest.mark.parametrize("rate", [1e4, 1e10, 1e30])
@pytest.mark.parametrize("method", METHODS)
def test_an_enormous_learning_rate_ends_as_diverged(method, rate):
    # Losses that are finite but absurd count too, as in the authors' code (above 1e5); and the softmax, saturated by
    # then, must not be taken for a missing consistency term.
    with pytest.raises(Diverged, match=r"train\.\w+_loss is .* by step") as ended:
        finished(config(method=method, dataset=REVISITED, optimizer={"learning_rate": rate}))
    assert ended.value.reason == "diverged"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("method", WITH_CONSISTENCY)
def test_a_consistency_loss_that_is_not_finite_ends_as_diverged(monkeypatch, method, value):
    monkeypatch.setitem(losses.CONSISTENCY, "mse", lambda logits, _: logits.sum(1) * 0 + value)
    with pytest.raises(Diverged, match=r"train\.\w*loss is (nan|-?inf)"):
        finished(config(method=method, dataset=REVISITED))


def test_a_weight_that_overflows_in_the_last_step_of_an_interval_ends_as_diverged(tmp_path):
    # The losses were taken before the update, and are those of any first step.
    with pytest.raises(Diverged, match="a weight of the student is not finite at step 1") as ended:
        finished(config(optimizer={"learning_rate": 1e20, "weight_decay": 1e30}, evaluate_every=1), tmp_path)
    assert ended.value.reason == "diverged"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_diverges_later_keeps_its_last_good_checkpoint(tmp_path, monkeypatch, method):
    take_step, taken = Optimizer.step, itertools.count(1)

    def breaking(self, now):
        take_step(self, now)
        if next(taken) == 6:  # the last of the second interval
            with torch.no_grad():
                trainer._student.classifier.weight[0, 0] = float("nan")

    settings = config(method=method, dataset=REVISITED, steps=9, evaluate_every=3)
    trainer = Trainer(settings, tmp_path)
    monkeypatch.setattr(Optimizer, "step", breaking)
    with pytest.raises(Diverged, match="a weight of the student is not finite at step 6"):
        list(trainer.run())
    assert [report.step for report in trainer.history] == [3]
    assert Trainer(settings, tmp_path).history == trainer.history


# --- collapsed


def scripted(monkeypatch, student: list[float], teacher: list[float]) -> None:
    """Make the evaluations of the networks return these errors."""
    scripts = {True: iter(student), False: iter(teacher)}

    def evaluate(network, _take, indices, *_):
        return evaluation(next(scripts[next(network.parameters()).requires_grad]), len(indices))

    monkeypatch.setattr(trainer_module, "evaluate", evaluate)


def test_a_teacher_that_falls_back_to_chance_ends_as_collapsed_and_leaves_what_was_good(tmp_path, monkeypatch):
    scripted(monkeypatch, student=[0.3] * 3, teacher=[0.8, 0.3, 0.9])
    trainer = Trainer(config(), tmp_path)
    with pytest.raises(Collapsed, match=r"90\.0% of the validation images at step 6, .* after 30\.0%") as ended:
        list(trainer.run())
    assert ended.value.reason == "collapsed"
    assert [report.step for report in trainer.history] == [2, 4]
    resumed = Trainer(config(), tmp_path)
    assert resumed.history == trainer.history
    assert (tmp_path / "best.safetensors").exists()


def test_a_collapse_is_noticed_across_a_resume(tmp_path, monkeypatch):
    scripted(monkeypatch, student=[0.3] * 3, teacher=[0.3, 0.9])
    next(Trainer(config(), tmp_path).run())
    with pytest.raises(Collapsed):
        next(Trainer(config(), tmp_path).run())


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ([0.9, 0.9, 0.9], [0.9, 0.9, 0.9]),  # it has not begun to learn
        ([0.3, 0.9, 0.9], [0.4, 0.5, 0.4]),  # it is the student that fell
        ([0.3, 0.3, 0.3], [0.3, 0.6, 0.7]),  # it is worse than it was, and no chance
    ],
)
def test_a_teacher_that_did_not_fall_to_chance_goes_on(monkeypatch, student, teacher):
    scripted(monkeypatch, student, teacher)
    assert len(finished(config()).history) == 3


# --- no_consistency

BROKEN = {
    "a constant of 0": lambda logits, _: logits.sum(1) * 0,
    "the student against itself": lambda logits, _: losses.mse(logits, logits.softmax(1)),
    "the target against itself": lambda _, target: (target - target.detach()).square().mean(1),
}


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("method", WITH_CONSISTENCY)
def test_a_consistency_loss_of_zero_is_refused(monkeypatch, method, name, every):
    monkeypatch.setitem(losses.CONSISTENCY, "mse", BROKEN[name])
    with pytest.raises(ConsistencyMissing, match=r"train\.consistency_loss is 0.*consistency\.weight is 10") as ended:
        finished(config(method=method, dataset=REVISITED, evaluate_every=every))
    assert ended.value.reason == "no_consistency"


@pytest.mark.parametrize("method", WITH_CONSISTENCY)
def test_a_consistency_loss_that_moves_nothing_is_refused(monkeypatch, method):
    monkeypatch.setitem(losses.CONSISTENCY, "mse", lambda logits, target: losses.mse(logits, target).detach())
    with pytest.raises(ConsistencyMissing, match=r"train\.consistency_gradient_norm is 0"):
        finished(config(method=method, dataset=REVISITED))


def test_a_student_that_sees_the_same_view_twice_is_refused(monkeypatch):
    draw = ViewAugmenter.draw

    def the_same(self, images, indices):
        first, second = draw(self, images, indices)
        assert not torch.equal(first, second)
        return first, first

    monkeypatch.setattr(ViewAugmenter, "draw", the_same)
    with pytest.raises(ConsistencyMissing):
        finished(config(method="pi_model"))


@pytest.mark.parametrize("method", WITH_CONSISTENCY)
def test_a_pair_that_once_differed_and_later_agrees_to_the_last_bit_is_not_refused(monkeypatch, method):
    trainer = Trainer(config(method=method, dataset=REVISITED, steps=12, evaluate_every=6))
    reports = trainer.run()
    assert next(reports).metrics["train.consistency_loss"] > 0
    monkeypatch.setitem(losses.CONSISTENCY, "mse", BROKEN["a constant of 0"])
    assert next(reports).metrics["train.consistency_loss"] == 0


@pytest.mark.parametrize("method", WITH_CONSISTENCY)
def test_a_consistency_weight_of_zero_needs_no_consistency(monkeypatch, method):
    monkeypatch.setitem(losses.CONSISTENCY, "mse", BROKEN["a constant of 0"])
    trainer = finished(config(method=method, dataset=REVISITED, consistency={"weight": 0.0}))
    assert trainer.history[-1].metrics["train.consistency_loss"] == 0


@pytest.mark.parametrize("warm_up", ["linear", "sigmoid"])
@pytest.mark.parametrize("ramp_up", ["linear", "sigmoid"])
def test_a_run_without_noise_whose_learning_rate_and_weight_rise_from_zero_is_not_refused(warm_up, ramp_up):
    # The teacher begins as a copy that sees the same, and a first learning rate of 0 leaves the student where it was.
    settings = config(
        **NOISELESS,
        steps=1000,
        evaluate_every=1,
        schedule={"warm_up": warm_up, "warm_up_steps": 1000},
        consistency={"ramp_up": ramp_up, "ramp_up_steps": 1000},
    )
    reports = [report.metrics for report, _ in zip(Trainer(settings).run(), range(6), strict=False)]
    assert reports[0]["train.consistency_loss"] == 0
    assert (reports[1]["train.consistency_loss"] == 0) is (warm_up == "linear")
    assert all(metrics["train.consistency_loss"] > 0 for metrics in reports[2:])


def test_temporal_ensembling_is_not_refused_while_it_sees_its_images_for_the_first_time():
    history = finished(
        config(
            **NOISELESS,
            method="temporal_ensembling",
            dataset=REVISITED,
            consistency={"images": "unlabeled"},
            steps=8,
            evaluate_every=1,
        )
    ).history
    assert [report.metrics["train.consistency_loss"] == 0 for report in history] == [True] * FIRST_PASS + [False] * 6


def test_temporal_ensembling_that_keeps_nothing_is_refused_once_it_should_have_targets(monkeypatch):
    monkeypatch.setattr(TemporalEnsembling, "after_step", lambda *_: {})
    trainer = Trainer(config(method="temporal_ensembling", dataset=REVISITED, evaluate_every=1))
    with pytest.raises(ConsistencyMissing, match="at step 5 "):
        list(trainer.run())
    assert len(trainer.history) == 4  # after which every labeled image was seen, and before that every unlabeled one


# --- no_labels


def test_a_split_without_labeled_images_is_refused(monkeypatch):
    split_for = training_data.split_for
    nothing = np.array([], np.int64)
    monkeypatch.setattr(
        training_data, "split_for", lambda *given: dataclasses.replace(split_for(*given), labeled=nothing)
    )
    with pytest.raises(NoLabels) as ended:
        Trainer(config())
    assert ended.value.reason == "no_labels"


def test_an_unlabeled_image_among_the_labeled_ones_is_refused(tmp_path, monkeypatch):
    for i in range(30):
        part = f"train/{'ab'[i % 2]}" if i < 20 else "unlabeled"
        write_image(tmp_path / f"{part}/{i}.png", np.full((8, 8, 3), i, np.uint8))
    split_for = training_data.split_for

    def mistaken(*given):
        split = split_for(*given)
        return dataclasses.replace(split, labeled=np.append(split.labeled[1:], split.unlabeled[-1]))

    settings = config(
        dataset={"name": "image_folder", "root": str(tmp_path), "labels": 4, "validation": 4}, batch_size=4
    )
    Trainer(settings)
    monkeypatch.setattr(training_data, "split_for", mistaken)
    with pytest.raises(NoLabels, match="an image without a label"):
        Trainer(settings)


# --- learning


@pytest.mark.system
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

    taught, alone = ([error(method, seed) for seed in range(4)] for method in ("mean_teacher", "supervised"))
    assert statistics.mean(taught) < statistics.mean(alone), (taught, alone)
    assert statistics.mean(alone) < 0.25  # the baseline is no straw man: chance is 0.9
