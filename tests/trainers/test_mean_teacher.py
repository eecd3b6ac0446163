import copy
import json
import statistics

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.trainers.support import assert_same, config, finished, results, weights, write_image
from trainers import Trainer, mean_teacher
from trainers.checkpoint import load_model
from trainers.data import resident
from trainers.data.augmentation import Views
from trainers.data.splits import split
from trainers.errors import DataError
from trainers.evaluation import Error


@pytest.fixture
def drawn(monkeypatch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(indices, view) of all that is drawn; of a step first the student's, then the teacher's."""
    views = []
    draw = Views.draw

    def recording(self, indices):
        view = draw(self, indices)
        views.append((indices.clone(), view.clone()))
        return view

    monkeypatch.setattr(Views, "draw", recording)
    return views


# --- the step


@pytest.mark.parametrize(("loss", "normalizer"), [("mse", "labeled"), ("kl", "whole_batch")])
def test_a_run_is_the_algorithm_of_the_paper_recomputed_by_hand_in_float64(tmp_path, drawn, loss, normalizer):
    labeled, batch, steps, ramp_up, alpha, weight = 5, 20, 5, 4, 0.7, 20.0
    settings = config(
        steps=steps,
        batch_size=batch,
        labeled_batch_fraction=labeled / batch,
        class_loss_normalizer=normalizer,
        augmentation={"translate": 2, "noise": 0.2},
        consistency={"loss": loss, "weight": weight, "ramp_up_steps": ramp_up},
        ema={"decay": alpha},
        optimizer={"learning_rate": 0.1, "momentum": 0.8, "weight_decay": 0.01},
        evaluate_every=1,
    )
    trainer = Trainer(settings)
    trainer.save_model(tmp_path / "start")
    labels = resident.load(settings.dataset).train_labels
    student = load_model(tmp_path / "start").network.double().train()
    teacher = copy.deepcopy(student)
    velocities = [torch.zeros_like(parameter) for parameter in student.parameters()]

    for t, report in enumerate(trainer.run()):
        (indices, student_view), (teacher_indices, teacher_view) = drawn[2 * t], drawn[2 * t + 1]
        assert torch.equal(indices, teacher_indices)
        assert not torch.equal(student_view, teacher_view)

        logits = student(student_view.double())
        logits.retain_grad()
        p = logits.exp() / logits.exp().sum(1, keepdim=True)
        with torch.no_grad():
            powers = teacher(teacher_view.double()).exp()
            q = powers / powers.sum(1, keepdim=True)
        of_labels = p[torch.arange(labeled), labels[indices[:labeled]]]
        class_loss = -of_labels.log().sum() / (labeled if normalizer == "labeled" else batch)
        consistency = ((p - q) ** 2).sum() / (10 * batch) if loss == "mse" else (q * (q / p).log()).sum() / batch
        w = weight * np.exp(-5 * (1 - min(1, t / ramp_up)) ** 2)
        rate = 0.1 * (1 + np.cos(np.pi * t / steps)) / 2
        (gradient,) = torch.autograd.grad(consistency, logits, retain_graph=True)

        student.zero_grad()
        (class_loss + w * consistency).backward()
        decay = min(1 - 1 / (t + 2), alpha)
        with torch.no_grad():
            for parameter, velocity, average in zip(
                student.parameters(), velocities, teacher.parameters(), strict=True
            ):
                force = parameter.grad + 0.01 * parameter
                velocity.mul_(0.8).add_(force)
                parameter.sub_(rate * (force + 0.8 * velocity))  # Nesterov's
                average.mul_(decay).add_((1 - decay) * parameter)

        expected = {
            "train.class_loss": class_loss.item(),
            "train.consistency_loss": consistency.item(),
            "train.consistency_weight": w,
            "train.consistency_gradient_norm": gradient.norm().item(),
            "train.learning_rate": rate,
            "train.ema_decay": decay,
        }
        measured = {name: value for name, value in report.metrics.items() if name.startswith("train.")}
        assert measured == pytest.approx(expected, rel=1e-4)

    trainer.save_model(tmp_path / "end")
    of_the_run = load_model(tmp_path / "end").network.state_dict()
    for name, value in teacher.state_dict().items():  # the batch-norm statistics are the teacher's own
        np.testing.assert_allclose(of_the_run[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_report_has_the_mean_losses_since_the_report_before():
    reports = [finished(config(steps=6, evaluate_every=every)).history for every in (1, 3)]
    for name in ("train.class_loss", "train.consistency_loss"):
        each, means = ([report.metrics[name] for report in history] for history in reports)
        assert means == pytest.approx([statistics.mean(each[:3]), statistics.mean(each[3:])], rel=1e-6)


def test_the_whole_batch_normaliser_scales_the_class_loss_by_the_labeled_fraction():
    first = {
        normalizer: finished(config(class_loss_normalizer=normalizer, steps=1, labeled_batch_fraction=0.25))
        for normalizer in ("labeled", "whole_batch")
    }
    of_labeled, of_batch = (first[name].history[0].metrics["train.class_loss"] for name in first)
    assert of_batch == pytest.approx(0.25 * of_labeled, rel=1e-6)
    assert of_labeled > 1


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
        {"consistency": {"loss": "kl", "weight": 3.0, "ramp_up_steps": 2}},
        {"ema": {"decay": 0.5}},
    ],
)
def test_a_supervised_run_does_not_depend_on_the_settings_of_the_teacher(changes):
    assert results(finished(config(method="supervised", **changes))) == results(finished(config(method="supervised")))


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"dataset": {"name": "digits", "labels": 20, "validation": 60, "split_seed": 1}},
        {"model": {"name": "small_cnn", "width": 5}},
        {"model": {"name": "small_cnn", "width": 4, "dropout": 0.1}},
        {"batch_size": 24},
        {"labeled_batch_fraction": 0.5},
        {"class_loss_normalizer": "whole_batch"},
        {"augmentation": {"translate": 1}},
        {"augmentation": {"flip": True}},
        {"augmentation": {"noise": 0.01}},
        {"consistency": {"loss": "kl"}},
        {"consistency": {"weight": 11.0}},
        {"consistency": {"ramp_up_steps": 3}},
        {"ema": {"decay": 0.6}},
        {"optimizer": {"learning_rate": 0.06}},
        {"optimizer": {"momentum": 0.8}},
        {"optimizer": {"nesterov": False}},
        {"optimizer": {"weight_decay": 0.01}},
    ],
    ids=json.dumps,
)
def test_every_setting_reaches_the_run(changes):
    def losses_of(trainer):
        return [[r["train.class_loss"], r["train.consistency_loss"]] for r in results(trainer)]

    assert losses_of(finished(config(**changes))) != losses_of(finished(config()))


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
    evaluate = mean_teacher.evaluate
    monkeypatch.setattr(
        mean_teacher, "evaluate", lambda net, images, *rest: evaluated.append(images) or evaluate(net, images, *rest)
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
    model, data = load_model(tmp_path / "teacher"), resident.load(settings.dataset)
    validation = split(data.train_labels.numpy(), 10, settings.dataset).validation
    with torch.no_grad():
        guesses = model.network(model.normalization(data.train[validation])).argmax(1)
    rate = (guesses != data.train_labels[validation]).double().mean().item()
    metrics = trainer.history[-1].metrics
    assert metrics["validation.teacher_error"] == pytest.approx(rate)
    assert metrics["validation.teacher_standard_error"] == pytest.approx((rate * (1 - rate) / 60) ** 0.5)


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


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("method", ["mean_teacher", "supervised"])
def test_the_best_model_is_the_one_judged_at_the_first_of_its_lowest_errors(tmp_path, monkeypatch, method, stopped):
    settings = config(method=method, steps=10, evaluate_every=2)
    student, teacher = [0.7, 0.8, 0.2, 0.9, 0.6], [0.5, 0.3, 0.4, 0.3, 0.6]
    best = 1 if method == "mean_teacher" else 2
    scripts = {True: iter(student), False: iter(teacher)}

    def scripted(network, images, *_):
        return Error(next(scripts[next(network.parameters()).requires_grad]), len(images))

    monkeypatch.setattr(mean_teacher, "evaluate", scripted)
    trainer, kept = Trainer(settings, tmp_path), []
    while len(kept) < 5:
        for _ in trainer.run():
            kept.append(weights(trainer, tmp_path / "now"))
            if stopped:
                trainer = Trainer(settings, tmp_path)
                break
    assert_same(load_file(tmp_path / "best.safetensors"), kept[best])
    others = [i for i in range(5) if torch.equal(kept[i]["network.9.weight"], kept[best]["network.9.weight"])]
    assert others == [best]


def test_the_checkpoint_of_a_report_is_on_disk_before_it_is_yielded(tmp_path):
    for report in Trainer(config(), tmp_path).run():
        assert Trainer(config(), tmp_path).history[-1] == report


def test_without_a_directory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished(config())
    assert list(tmp_path.iterdir()) == []
