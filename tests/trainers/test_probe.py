"""The linear probe: what scikit-learn fits to the features, as a network of ours."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.helpers.training import config, finished, results, write_image
from trainers import Trainer
from trainers.checkpoint import load_model
from trainers.models import build
from trainers.probe import PENALTIES, features

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
    weights = {"0": 20.0, "1": 20.0}
    trainer = finished(settings.model_copy(update={"class_weights": weights}))
    (report,) = trainer.history
    data, factors = trainer._data, np.array([weights.get(str(number), 1.0) for number in range(10)])
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
