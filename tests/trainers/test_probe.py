"""The linear probe: what scikit-learn fits to the features, as a network of ours and as the start of a training."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.helpers.training import METHODS, assert_same, config, finished, results, weights, write_image
from trainers import Trainer
from trainers.checkpoint import load_model
from trainers.models import build
from trainers.probe import PENALTIES, START_PENALTY, features

TINY = {"name": "timm", "architecture": "test_resnet"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.manual_seed(0)
    torch.save(build(config(model=TINY).model, 1, 10).features.state_dict(), path)
    return config(
        method="probe",
        model={**TINY, "weights": str(path)},
        dataset={"name": "digits", "labels": 60, "validation": 200},
    )


def test_a_probe_is_scikit_learns_regression_with_the_penalty_that_errs_least(settings, tmp_path):
    trainer = finished(settings)
    (report,) = trainer.history
    trainer.save_model(tmp_path / "model.safetensors")
    model = load_model(tmp_path / "model.safetensors")
    data = trainer._data
    sets = [
        (images, features(model.network, images, model.normalization, None))
        for images in (data.labeled, data.validation)
    ]
    (labeled, known), (validation, held_out) = sets
    errors = {}
    for penalty in PENALTIES:
        fit = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=1000))
        predicted = fit.fit(known, labeled.labels).predict(held_out)
        errors[penalty] = np.mean(predicted != validation.labels.numpy())
    assert report.metrics["validation.student_error"] == min(errors.values()) < 0.7
    assert report.metrics["train.penalty"] == max(one for one in errors if errors[one] == min(errors.values()))
    logits = model.network.classifier(torch.from_numpy(held_out).float())
    assert (logits.argmax(1) != validation.labels).double().mean() == min(errors.values())


def test_a_probe_weighs_classes_in_its_fit_and_in_the_choice_of_its_penalty(settings):
    class_weights = {"0": 20.0, "1": 20.0}
    trainer = finished(settings.model_copy(update={"class_weights": class_weights}))
    (report,) = trainer.history
    data, factors = trainer._data, np.array([class_weights.get(str(number), 1.0) for number in range(10)])
    (known, labels), (held_out, truth) = (
        (features(trainer._student, images, data.normalization, None), images.labels.numpy())
        for images in (data.labeled, data.validation)
    )
    scaler, errors = StandardScaler().fit(known), {}
    for penalty in PENALTIES:
        fit = LogisticRegression(C=1 / penalty, max_iter=1000).fit(scaler.transform(known), labels, factors[labels])
        errors[penalty] = factors[truth][fit.predict(scaler.transform(held_out)) != truth].sum()
    assert report.metrics["train.penalty"] == max(one for one in errors if errors[one] == min(errors.values()))
    (plain,) = finished(settings).history
    assert report.metrics["train.loss"] != plain.metrics["train.loss"]


def test_a_probe_has_one_report_and_is_not_repeated(settings, tmp_path):
    first = finished(settings, tmp_path)
    assert [report.step for report in first.history] == [settings.steps]
    again = Trainer(settings, tmp_path)
    assert list(again.run()) == []
    assert results(again) == results(first)


def test_two_classes_have_logits_of_their_own(settings, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 100, (40, 16, 16, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        write_image(tmp_path / f"train/{'ab'[i % 2]}/{i}.png", image + (i % 2) * 100)
    dataset = {"name": "image_folder", "root": str(tmp_path), "labels": 10, "validation": 20}
    two = settings.model_copy(update={"dataset": config(dataset=dataset).dataset})
    assert finished(two).history[0].metrics["validation.student_error"] == 0


def test_a_probe_needs_features_and_validation_images(settings):
    with pytest.raises(ValidationError, match=r"method: probe needs pre-trained features; set model\.weights"):
        config(method="probe")
    with pytest.raises(ValidationError, match="the validation images choose the penalty"):
        config(
            method="probe",
            model=settings.model.model_dump(),
            dataset={"name": "digits", "labels": 60, "validation": 200, "with_validation": True},
        )


def test_settings_of_other_methods_are_no_mistake(settings):
    of_a_sweep = {"consistency": {"weight": 3.0, "ramp_up_steps": 999}, "labeled_batch_fraction": 0.001}
    probe = config(method="probe", model=settings.model.model_dump(), **of_a_sweep)
    assert (probe.labeled_per_batch, probe.heads, probe.evaluation_interval) == (probe.batch_size, 1, probe.steps)
    with pytest.raises(ValidationError, match="is longer than steps"):  # where they do concern the run
        config(**of_a_sweep)


def from_probe(settings, **changes):
    """The settings of a training that starts from a probe, with the batch norm of its first weights."""
    model = settings.model.model_dump() | {"head": "probe", "batch_norm": "of_weights"} | changes.pop("model", {})
    dataset = {"name": "digits", "labels": 60, "validation": 200, "unlabeled": 30}
    optimizer = {"name": "adamw", "learning_rate": 0.0003}
    return config(model=model, dataset=dataset, optimizer=optimizer, **changes)


@pytest.mark.parametrize("class_weights", ["none", {"0": 20.0}])
def test_a_training_can_start_from_a_probe_of_a_fixed_penalty(settings, class_weights):
    trainer = Trainer(from_probe(settings, consistency={"heads": 2}, class_weights=class_weights))
    data, student, teacher = trainer._data, trainer._student, trainer._method.teacher
    known, held_out = (
        features(student, images, data.normalization, None) for images in (data.labeled, data.validation)
    )
    scaler, labels = StandardScaler().fit(known), data.labeled.labels.numpy()
    factors = np.where((labels == 0) & (class_weights != "none"), 20.0, 1.0)
    fit = LogisticRegression(C=1 / START_PENALTY, max_iter=1000).fit(scaler.transform(known), labels, factors)
    wanted = fit.decision_function(scaler.transform(held_out))
    for head in (student.classifier, student.agreement, teacher.classifier, teacher.agreement):
        logits = head(torch.from_numpy(held_out).float()).detach().double().numpy()
        assert np.median(np.abs(logits - wanted)) < 0.01, "both are solved in steps, and in other coordinates"
        assert np.mean(logits.argmax(1) == wanted.argmax(1)) > 0.98


@pytest.mark.parametrize("method", METHODS)
def test_a_training_that_started_from_a_probe_is_resumed_exactly(settings, method, tmp_path):
    of_method = from_probe(settings, method=method)
    expected = finished(of_method)
    next(Trainer(of_method, tmp_path / "stopped").run())
    resumed = finished(of_method, tmp_path / "stopped")
    assert results(resumed) == results(expected)
    assert_same(weights(resumed, tmp_path / "resumed"), weights(expected, tmp_path / "expected"))


@pytest.mark.parametrize("kind", ["of_weights", "batch"])
def test_the_statistics_of_batch_norm_can_stay_those_of_the_first_weights(settings, kind):
    started = Trainer(from_probe(settings, model={"batch_norm": kind}))
    before = {name: tensor.clone() for name, tensor in started._student.state_dict().items()}
    for _ in started.run():
        pass
    for network in (started._student, started._method.teacher):
        after = network.state_dict()
        statistics = [name for name in after if "running_" in name]
        changed = [name for name in after if not torch.equal(after[name], before[name])]
        assert statistics
        assert set(changed) & set(statistics) == (set(statistics) if kind == "batch" else set())
        assert {name for name, _ in network.named_parameters()} <= set(changed), "weights learn either way"
        assert network.training


def test_a_teacher_normalises_by_the_first_statistics_too(settings):
    trainer = Trainer(from_probe(settings))
    images = trainer._data.validation
    pixels = trainer._data.normalization(images.take(images.indices[:20]))
    for network in (trainer._student, trainer._method.teacher):
        in_train_mode = network(pixels)
        torch.testing.assert_close(network.eval()(pixels), in_train_mode)


@pytest.mark.parametrize(
    ("key", "value", "default"), [("head", "probe", "random"), ("batch_norm", "of_weights", "batch")]
)
def test_what_comes_with_first_weights_needs_them(key, value, default):
    with pytest.raises(
        ValidationError, match=rf"{key}: {value} needs first weights; set weights, or use {key}: {default}"
    ):
        config(model={**TINY, key: value})


def test_a_probe_starts_both_networks_alike(settings):
    with pytest.raises(ValidationError, match=r"teacher\.start.*model\.head: probe starts both networks"):
        from_probe(settings, teacher={"start": "independent"})
