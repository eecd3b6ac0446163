import statistics

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.training import (
    METHODS,
    REVISITED,
    assert_same,
    config,
    evaluation,
    finished,
    results,
    saved_state,
    weights,
    write_image,
)
from trainers import Trainer
from trainers import trainer as trainer_module
from trainers.checkpoint import load_model
from trainers.data import dataset
from trainers.data.augmentation import ViewAugmenter
from trainers.data.splits import split
from trainers.errors import DataError


@pytest.fixture
def drawn(monkeypatch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Record (indices, view) of each view; of each step the student's comes first, then the teacher's."""
    views = []
    draw = ViewAugmenter.draw

    def recording(self, images, indices):
        drawn = draw(self, images, indices)
        views.extend((indices.clone(), view.clone()) for view in drawn)
        return drawn

    monkeypatch.setattr(ViewAugmenter, "draw", recording)
    return views


# --- the step


def test_a_report_has_the_mean_losses_since_the_report_before():
    means = (
        "class_loss",
        "weighted_class_loss",
        "consistency_loss",
        "weighted_consistency_loss",
        "logit_distance",
        "weighted_logit_distance",
        "loss",
    )
    reports = [finished(config(steps=6, evaluate_every=every, consistency={"heads": 2})).history for every in (1, 3)]
    for name in means:
        each, of_three = ([report.metrics[f"train.{name}"] for report in history] for history in reports)
        assert of_three == pytest.approx([statistics.mean(each[:3]), statistics.mean(each[3:])], rel=1e-6)
    last = set(reports[0][0].metrics) - {f"train.{name}" for name in means}
    for name in (name for name in last if name.startswith("train.")):  # schedules, and what is measured at that step
        assert reports[1][0].metrics[name] == pytest.approx(reports[0][2].metrics[name], rel=1e-6)


OF_CONSISTENCY = {
    "train.consistency_loss",
    "train.weighted_consistency_loss",
    "train.consistency_weight",
    "train.effective_consistency_weight",
    "train.consistency_gradient_norm",
}
OF_A_NETWORK = (
    "error",
    "balanced_error",
    "macro_f1",
    "standard_error",
    "balanced_standard_error",
    "macro_f1_standard_error",
)
OF_TEACHER = {"train.ema_decay", *(f"validation.teacher_{name}" for name in OF_A_NETWORK)}
OF_TWO_HEADS = {"train.logit_distance", "train.weighted_logit_distance"}
OF_ALL = {
    "train.class_loss",
    "train.class_weight",
    "train.weighted_class_loss",
    "train.loss",
    "train.learning_rate",
    "validation.images",
    *(f"validation.student_{name}" for name in OF_A_NETWORK),
    "time.data_seconds",
    "time.step_seconds",
    "time.evaluation_seconds",
    "time.images_per_second",
    "memory.images_mib",
    "memory.peak_mib",
}


@pytest.mark.parametrize(
    ("method", "heads", "expected"),
    [
        ("supervised", 1, OF_ALL),
        ("pi_model", 1, OF_ALL | OF_CONSISTENCY),
        ("temporal_ensembling", 1, OF_ALL | OF_CONSISTENCY),
        ("mean_teacher", 1, OF_ALL | OF_CONSISTENCY | OF_TEACHER),
        ("mean_teacher", 2, OF_ALL | OF_CONSISTENCY | OF_TEACHER | OF_TWO_HEADS),
    ],
)
def test_every_report_has_the_measurements_of_its_method(method, heads, expected):
    trainer = finished(config(method=method, dataset=REVISITED, consistency={"heads": heads}))
    assert [set(report.metrics) for report in trainer.history] == [expected] * 3
    assert all(isinstance(value, float) for report in trainer.history for value in report.metrics.values())


@pytest.mark.parametrize("heads", [1, 2])
def test_the_loss_is_the_sum_of_its_weighted_parts(heads):
    metrics = finished(config(class_loss_normalizer="whole_batch", consistency={"heads": heads})).history[-1].metrics
    parts = ("class_loss", "consistency_loss") + (("logit_distance",) if heads == 2 else ())
    weighted = [metrics[f"train.weighted_{name}"] for name in parts]
    assert metrics["train.loss"] == pytest.approx(sum(weighted), rel=1e-5)
    assert min(weighted) > 0


def test_the_whole_batch_normaliser_scales_the_class_loss_by_the_labeled_fraction():
    of_labeled, of_batch = (
        finished(config(class_loss_normalizer=name, steps=1, labeled_batch_fraction=0.25)).history[0].metrics
        for name in ("labeled", "whole_batch")
    )
    assert of_batch["train.class_loss"] == of_labeled["train.class_loss"] > 1
    assert of_labeled["train.weighted_class_loss"] == of_labeled["train.class_loss"]
    assert of_batch["train.weighted_class_loss"] == pytest.approx(0.25 * of_batch["train.class_loss"], rel=1e-6)
    assert of_batch["train.loss"] - of_labeled["train.loss"] == pytest.approx(-0.75 * of_labeled["train.class_loss"])


def test_the_whole_batch_normaliser_scales_the_consistency_of_the_unlabeled_by_their_share():
    of_unlabeled, of_batch = (
        finished(
            config(
                class_loss_normalizer=name, steps=1, labeled_batch_fraction=0.25, consistency={"images": "unlabeled"}
            )
        ).history[0].metrics["train.consistency_loss"]
        for name in ("labeled", "whole_batch")
    )  # fmt: skip
    assert of_batch == pytest.approx(0.75 * of_unlabeled, rel=1e-6)
    assert of_batch > 0


def test_the_effective_consistency_weight_is_relative_to_that_of_the_class_loss():
    for name, times in (("labeled", 1), ("whole_batch", 4)):
        metrics = finished(config(class_loss_normalizer=name, labeled_batch_fraction=0.25)).history[-1].metrics
        assert metrics["train.consistency_weight"] == 10
        assert metrics["train.effective_consistency_weight"] == 10 * times


def test_a_consistency_weight_of_zero_on_labeled_batches_is_the_supervised_baseline_bit_for_bit():
    common = {"augmentation": {"translate": 2, "flip": True, "noise": 0.1}, "labeled_batch_fraction": 1.0}
    twin = finished(config(**common, consistency={"weight": 0.0}))
    baseline = finished(config(**common, method="supervised"))
    for ours, theirs in zip(results(twin), results(baseline), strict=True):
        assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.parametrize(
    "changes",
    [
        {"labeled_batch_fraction": 0.5},
        {"class_loss_normalizer": "whole_batch"},
        {"consistency": {"loss": "kl", "weight": 3.0, "ramp_up_steps": 2, "images": "unlabeled", "heads": 2}},
        {"ema": {"decay": 0.5}},
        {"teacher": {"dropout": 0.5, "noise": 0.5, "start": "independent"}},
        {"ensemble": {"decay": 0.5}},
    ],
)
def test_a_supervised_run_does_not_depend_on_the_settings_of_the_teacher(changes):
    assert results(finished(config(method="supervised", **changes))) == results(finished(config(method="supervised")))


# --- which image serves which purpose


def test_a_run_trains_on_the_images_of_no_other_purpose(tmp_path, drawn, monkeypatch):
    # Each image tells by its grey which one it is. 60 of train/, then 20 of unlabeled/, then 10 of test/.
    for i in range(60):
        write_image(tmp_path / f"train/{'abc'[i % 3]}/{i:02}.png", np.full((8, 8, 3), i, np.uint8))
    for i in range(60, 80):
        write_image(tmp_path / f"unlabeled/{i}.png", np.full((8, 8, 3), i, np.uint8))
    for i in range(80, 90):
        write_image(tmp_path / f"test/{'abc'[i % 3]}/{i}.png", np.full((8, 8, 3), i, np.uint8))
    dataset = {"name": "image_folder", "root": str(tmp_path), "labels": 6, "validation": 10, "verdict": 8}
    settings = config(
        dataset=dataset,
        augmentation={"translate": 0, "noise": 0.0},
        batch_size=10,
        labeled_batch_fraction=0.2,
        steps=7,  # an epoch: 60 - 6 - 10 - 8 + 20 unlabeled images, 8 a batch
        evaluate_every=7,
        model={"name": "small_cnn", "width": 2, "dropout": 0.1},
    )
    evaluated = []
    evaluate = trainer_module.evaluate
    monkeypatch.setattr(
        trainer_module,
        "evaluate",
        lambda net, take, indices, *rest: evaluated.append(take(indices)) or evaluate(net, take, indices, *rest),
    )
    trainer = finished(settings)
    trainer.save_model(tmp_path / "model")
    normalization = load_model(tmp_path / "model").normalization

    def ids(view: torch.Tensor) -> list[int]:
        return (view[:, 0, 0, 0] * normalization.std[0] + normalization.mean[0]).round().int().tolist()

    student = [ids(view) for _, view in drawn[::2]]
    assert [ids(view) for _, view in drawn[1::2]] == student
    labeled, unlabeled = ([i for batch in student for i in batch[part]] for part in (slice(0, 2), slice(2, 10)))
    validation = evaluated[0][:, 0, 0, 0].tolist()
    assert len(set(labeled)) == 6
    assert len(unlabeled) == len(set(unlabeled)) == 56
    assert len(set(validation)) == 10
    assert not set(labeled) & set(unlabeled)
    assert not set(validation) & (set(labeled) | set(unlabeled))
    assert set(labeled) | set(validation) <= set(range(60))
    assert set(range(60, 80)) <= set(unlabeled)
    verdict = set(range(60)) - set(labeled) - set(unlabeled) - set(validation)
    assert len(verdict) == 8  # drawn by no one, evaluated by no one
    assert all(images[:, 0, 0, 0].tolist() == validation for images in evaluated)

    trained_on = np.array(sorted(set(labeled) | set(unlabeled)), np.float64)
    assert normalization.mean[0].item() == pytest.approx(trained_on.mean(), rel=1e-6)
    assert normalization.std[0].item() == pytest.approx(trained_on.std(), rel=1e-6)

    trainer.test()
    assert sorted(evaluated[-1][:, 0, 0, 0].tolist()) == list(range(80, 90))


def test_test_measures_both_networks_on_all_test_images():
    errors = finished(config()).test()
    assert {name: error.n for name, error in errors.items()} == {"student": 359, "teacher": 359}
    assert list(finished(config(method="supervised")).test()) == ["student"]


def test_a_data_set_without_test_images_says_so(tmp_path):
    for i in range(20):
        write_image(tmp_path / f"train/{'ab'[i % 2]}/{i}.png", np.full((8, 8, 3), i, np.uint8))
    dataset = {"name": "image_folder", "root": str(tmp_path), "labels": 4, "validation": 4}
    trainer = Trainer(config(dataset=dataset, batch_size=4))
    assert not trainer.has_test_images
    assert Trainer(config()).has_test_images
    with pytest.raises(DataError, match="no test images"):
        trainer.test()


def test_reported_validation_errors_are_those_of_the_validation_images(tmp_path):
    settings = config()
    trainer = finished(settings)
    trainer.save_model(tmp_path / "teacher")
    model, data = load_model(tmp_path / "teacher"), dataset.load(settings.dataset)
    validation = split(data.train_labels.numpy(), data.classes, settings.dataset).validation
    with torch.no_grad():
        guesses = model.network(model.normalization(data.train[validation])).argmax(1)
    rate = (guesses != data.train_labels[validation]).double().mean().item()
    metrics = trainer.history[-1].metrics
    assert metrics["validation.images"] == 60
    assert metrics["validation.teacher_error"] == pytest.approx(rate)
    assert metrics["validation.teacher_standard_error"] == pytest.approx((60 * rate * (1 - rate) + 0.25) ** 0.5 / 61)


def test_a_run_that_trains_on_its_validation_images_reports_no_validation_errors_and_is_resumed_exactly(tmp_path):
    dataset = {"name": "digits", "labels": 20, "validation": 60, "with_validation": True}
    whole = finished(config(dataset=dataset))
    assert len(whole.split.labeled) == 80
    reported = whole.history[-1].metrics
    assert reported["validation.images"] == 0
    assert not [name for name in reported if name.startswith("validation.") and name.endswith("_error")]
    for _ in zip(range(2), Trainer(config(dataset=dataset), tmp_path).run(), strict=False):
        pass
    assert results(finished(config(dataset=dataset), tmp_path)) == results(whole)


def test_images_too_small_for_the_translation_are_refused_once_they_are_known(tmp_path):
    for i in range(20):
        write_image(tmp_path / f"train/{'ab'[i % 2]}/{i}.png", np.full((8, 8, 3), i, np.uint8))
    dataset = {"name": "image_folder", "root": str(tmp_path), "labels": 4, "validation": 4}
    with pytest.raises(DataError, match=r"augmentation\.translate \(8\) must be below the image size \(8 pixels\)"):
        Trainer(config(dataset=dataset, batch_size=4, augmentation={"translate": 8}))


# --- reports and files


@pytest.mark.parametrize(("steps", "every", "expected"), [(6, 2, [2, 4, 6]), (7, 3, [3, 6, 7]), (2, 5, [2])])
def test_a_run_reports_at_every_interval_and_at_its_end(steps, every, expected):
    trainer = finished(config(steps=steps, evaluate_every=every))
    assert [report.step for report in trainer.history] == expected


@pytest.mark.parametrize("method", METHODS)
def test_the_model_that_is_saved_is_the_teacher_or_where_there_is_none_the_student(tmp_path, method):
    trainer = finished(config(method=method, dataset=REVISITED), tmp_path)
    networks = saved_state(tmp_path / "checkpoint.pt")["networks"]
    assert list(networks) == (["student", "teacher"] if method == "mean_teacher" else ["student"])
    saved = weights(trainer, tmp_path / "model")
    *others, last = ({f"network.{name}": value for name, value in network.items()} for network in networks.values())
    assert_same({name: value for name, value in saved.items() if name.startswith("network.")}, last)
    assert not any(
        torch.equal(other["network.classifier.weight"], last["network.classifier.weight"]) for other in others
    )


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_the_best_model_is_the_one_judged_at_the_first_of_its_lowest_errors(tmp_path, monkeypatch, method, stopped):
    settings = config(method=method, dataset=REVISITED, steps=10, evaluate_every=2)
    student, teacher = [0.7, 0.8, 0.2, 0.9, 0.6], [0.5, 0.3, 0.4, 0.3, 0.6]
    best = 1 if method == "mean_teacher" else 2
    scripts = {True: iter(student), False: iter(teacher)}

    def scripted(network, _take, indices, *_):
        return evaluation(next(scripts[next(network.parameters()).requires_grad]), len(indices))

    monkeypatch.setattr(trainer_module, "evaluate", scripted)
    trainer, kept = Trainer(settings, tmp_path), []
    while len(kept) < 5:
        for _ in trainer.run():
            kept.append(weights(trainer, tmp_path / "now"))
            if stopped:
                trainer = Trainer(settings, tmp_path)
                break
    assert_same(load_file(tmp_path / "best.safetensors"), kept[best])
    others = [
        i
        for i in range(5)
        if torch.equal(kept[i]["network.classifier.weight"], kept[best]["network.classifier.weight"])
    ]
    assert others == [best]


def test_the_checkpoint_of_a_report_is_on_disk_before_it_is_yielded(tmp_path):
    for report in Trainer(config(), tmp_path).run():
        assert Trainer(config(), tmp_path).history[-1] == report


def test_without_a_directory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished(config())
    assert list(tmp_path.iterdir()) == []
