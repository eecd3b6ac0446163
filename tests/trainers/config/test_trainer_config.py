import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from tests.helpers.training import in_fresh_process
from trainers import TrainerConfig

LEAST = {"dataset": {"name": "digits", "labels": 50, "validation": 300}, "steps": 1000}


def changed(key: str, value: Any, start: dict[str, Any] = LEAST) -> dict[str, Any]:
    """`start` with the dotted key set."""
    settings = json.loads(json.dumps(start))
    *groups, last = key.split(".")
    group = settings
    for name in groups:
        group = group.setdefault(name, {})
    group[last] = value
    return settings


def test_the_least_one_must_say_is_the_data_and_the_length():
    assert TrainerConfig.model_validate(LEAST).method == "mean_teacher"
    for key in ("steps", "dataset"):
        with pytest.raises(ValidationError, match=key):
            TrainerConfig.model_validate({name: value for name, value in LEAST.items() if name != key})
    for key in ("name", "labels", "validation"):
        dataset = {name: value for name, value in LEAST["dataset"].items() if name != key}
        with pytest.raises(ValidationError):
            TrainerConfig.model_validate(LEAST | {"dataset": dataset})


@pytest.mark.parametrize(
    "key",
    [
        "epochs",
        "dataset.label",
        "model.depth",
        "augmentation.cutout",
        "consistency.ramp_up_epochs",
        "ema.alpha",
        "teacher.momentum",
        "ensemble.alpha",
        "optimizer.lr",
        "schedule.gamma",
    ],
)
def test_an_unknown_key_is_refused_by_name(key):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted") as error:
        TrainerConfig.model_validate(changed(key, 1, LEAST | {"model": {"name": "small_cnn"}}))
    assert error.value.errors()[0]["loc"][-1] == key.split(".")[-1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("method", "ict"),
        ("steps", 0),
        ("batch_size", 1),
        ("labeled_batch_fraction", 0.0),
        ("labeled_batch_fraction", 1.01),
        ("class_loss_normalizer", "mean"),
        ("dataset.labels", 0),
        ("dataset.labels", "some"),
        ("dataset.validation", 0),
        ("dataset.verdict", -1),
        ("dataset.split_seed", -1),
        ("dataset.name", "mnist"),
        ("model.width", 0),
        ("model.dropout", 1.0),
        ("model.dropout", -0.1),
        ("augmentation.translate", -1),
        ("augmentation.noise", -0.1),
        ("consistency.loss", "mae"),
        ("consistency.weight", -1.0),
        ("consistency.ramp_up", "cosine"),
        ("consistency.ramp_up_steps", -1),
        ("consistency.images", "labeled"),
        ("consistency.heads", 0),
        ("consistency.heads", 3),
        ("consistency.logit_distance_weight", -0.1),
        ("ema.decay", 1.0),
        ("ema.decay", -0.1),
        ("ema.ramp_up_decay", 1.0),
        ("teacher.dropout", 1.0),
        ("teacher.noise", -0.1),
        ("teacher.start", "zero"),
        ("teacher.mode", "test"),
        ("teacher.batch_norm", "shared"),
        ("ensemble.decay", 1.0),
        ("optimizer.name", "lars"),
        ("optimizer.learning_rate", 0.0),
        ("optimizer.momentum", 1.0),
        ("optimizer.weight_decay", -1e-4),
        ("optimizer.weight_decay_on", "norms"),
        ("optimizer", {"name": "adam", "beta1": 1.0}),
        ("optimizer", {"name": "adam", "beta2": -0.1}),
        ("optimizer", {"name": "adam", "epsilon": 0.0}),
        ("optimizer", {"name": "adam", "warm_up_beta2": 1.0}),
        ("optimizer", {"name": "adam", "ramp_down_beta1": 1.0}),
        ("optimizer", {"name": "adamw", "learning_rate": 0.0}),
        ("schedule.name", "cosine"),
        ("schedule.warm_up", "cosine"),
        ("schedule.warm_up_steps", -1),
        ("schedule.warm_up_from", 1.1),
        ("schedule.length", 0),
        ("schedule", {"name": "ramp_down"}),
        ("schedule", {"name": "ramp_down", "ramp_down_steps": 0}),
        ("schedule", {"name": "step_decay"}),
        ("schedule", {"name": "step_decay", "at": []}),
        ("schedule", {"name": "step_decay", "at": [0]}),
        ("schedule", {"name": "step_decay", "at": [10], "factor": 1.0}),
        ("precision", "fp16"),
        ("evaluate_every", 0),
        ("seed", -1),
        ("device", "tpu"),
    ],
)
def test_a_value_out_of_range_is_refused(key, value):
    with pytest.raises(ValidationError):
        TrainerConfig.model_validate(changed(key, value))


NUMBERS = [
    "consistency.weight",
    "consistency.logit_distance_weight",
    "ema.decay",
    "ensemble.decay",
    "schedule.warm_up_from",
    "optimizer.learning_rate",
    "optimizer.momentum",
    "optimizer.weight_decay",
    "augmentation.noise",
    "labeled_batch_fraction",
]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "0.5", True, None])
@pytest.mark.parametrize("key", NUMBERS)
def test_what_is_no_finite_number_is_refused(key, value):
    with pytest.raises(ValidationError):
        TrainerConfig.model_validate(changed(key, value))


@pytest.mark.parametrize("value", [True, 10.0, 10.5, "10"])
@pytest.mark.parametrize(
    "key", ["steps", "batch_size", "dataset.labels", "dataset.validation", "seed", "evaluate_every"]
)
def test_what_is_no_whole_number_is_refused(key, value):
    with pytest.raises(ValidationError):
        TrainerConfig.model_validate(changed(key, value))


@pytest.mark.parametrize("value", [0, 1, "yes"])
def test_what_is_no_truth_value_is_refused(value):
    with pytest.raises(ValidationError):
        TrainerConfig.model_validate(changed("augmentation.flip", value))


NAMES = {
    "optimizer.momentum": ("sgd", 0.5),
    "optimizer.nesterov": ("sgd", False),
    "optimizer.learning_rate": ("sgd", 0.5),
    "schedule.length": ("half_cosine", 2000),
    "schedule.warm_up_steps": ("half_cosine", 3),
    "model.width": ("small_cnn", 3),
}


@pytest.mark.parametrize("key", NAMES)
def test_settings_of_a_group_that_does_not_say_its_name_are_those_of_the_default(key):
    name, value = NAMES[key]
    group, field = key.split(".")
    settings = getattr(TrainerConfig.model_validate(changed(key, value)), group)
    assert settings.name == name
    assert getattr(settings, field) == value


@pytest.mark.parametrize(
    ("group", "name", "foreign"),
    [
        ("optimizer", "adam", "momentum"),
        ("optimizer", "adamw", "warm_up_beta2"),
        ("optimizer", "sgd", "beta1"),
        ("schedule", "constant", "length"),
        ("schedule", "half_cosine", "ramp_down_steps"),
        ("model", "conv_large", "width"),
    ],
)
def test_a_setting_of_another_choice_is_refused_by_name(group, name, foreign):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted") as error:
        TrainerConfig.model_validate(LEAST | {group: {"name": name, foreign: 1}})
    assert error.value.errors()[0]["loc"][-1] == foreign


def test_a_whole_number_serves_where_a_fraction_may_stand():
    assert TrainerConfig.model_validate(changed("consistency.weight", 30)).consistency.weight == 30.0


CIFAR10 = {"name": "cifar10", "labels": 4000, "validation": 5000}
FOLDER = {"name": "image_folder", "root": "/images", "labels": 10, "validation": 10, "image_size": 12}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset.labels": 9}, r"labels: 9 is fewer than the 10 classes of digits; use at least 10"),
        ({"dataset.validation": 1389}, r"labels \+ validation \+ verdict = 50 \+ 1389 \+ 0 .* 1,438 training images"),
        ({"dataset": CIFAR10 | {"verdict": 41_001}}, r"4000 \+ 5000 \+ 41001 is more than the 50,000"),
        ({"dataset.labels": "all", "dataset.validation": 1429}, r"labels \+ validation \+ verdict = all"),
        ({"consistency.ramp_up_steps": 1001}, r"ramp_up_steps \(1001\) is longer than steps \(1000\)"),
        ({"batch_size": 10, "labeled_batch_fraction": 0.04}, r"no labeled image in a batch; use at least 0\.1"),
        ({"augmentation.translate": 8}, r"augmentation\.translate \(8\) must be below the image size \(8 pixels\)"),
        ({"dataset": FOLDER, "augmentation.translate": 12}, r"must be below the image size \(12 pixels\)"),
        ({"model": {"name": "conv_large"}}, r"conv_large needs images of at least 12x12 pixels, these have 8x8"),
        (
            {"dataset": FOLDER | {"image_size": 11}, "model": {"name": "conv_large"}},
            r"at least 12x12 pixels, these have 11x11",
        ),
        ({"optimizer.momentum": 0.0}, r"nesterov: true needs a momentum above 0"),
        (
            {"dataset.verdict": 100, "verdict": True, "dataset.with_validation": True},
            r"verdict and dataset\.with_validation clash",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_with_what_to_do(changes, message):
    settings = LEAST
    for key, value in changes.items():
        settings = changed(key, value, settings)
    with pytest.raises(ValidationError, match=message):
        TrainerConfig.model_validate(settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset.labels": 10},
        {"dataset.validation": 1388, "labeled_batch_fraction": 1.0},
        {"dataset.validation": 1388 - 75},
        {"dataset.labels": "all", "dataset.validation": 1428, "labeled_batch_fraction": 1.0},
        {"dataset": CIFAR10 | {"verdict": 41_000}, "labeled_batch_fraction": 1.0},
        {"consistency.ramp_up_steps": 1000},
        {"batch_size": 10, "labeled_batch_fraction": 0.1},
        {"labeled_batch_fraction": 1.0},
        {"augmentation.translate": 7},
        {"dataset": FOLDER, "model": {"name": "conv_large"}},
        {"optimizer.name": "sgd", "optimizer.momentum": 0.0, "optimizer.nesterov": False},
    ],
)
def test_the_edges_of_what_fits_together_are_accepted(changes):
    settings = LEAST
    for key, value in changes.items():
        settings = changed(key, value, settings)
    assert TrainerConfig.model_validate(settings).model_dump(exclude_unset=True) == settings


def test_the_consistency_weight_is_reached_after_a_fifth_of_the_steps_unless_it_is_set():
    assert TrainerConfig.model_validate(LEAST).ramp_up_steps == 200
    assert TrainerConfig.model_validate(changed("consistency.ramp_up_steps", 0)).ramp_up_steps == 0
    assert TrainerConfig.model_validate(changed("consistency.ramp_up_steps", 7)).ramp_up_steps == 7


@pytest.mark.parametrize("steps", [1, 5, 19, 20, 400, 1000])
def test_a_run_is_evaluated_twenty_times_or_at_every_step_of_a_shorter_one(steps):
    interval = TrainerConfig.model_validate(LEAST | {"steps": steps}).evaluation_interval
    assert math.ceil(steps / interval) == min(20, steps)


@pytest.mark.parametrize("steps", [21, 39, 41, 1001, 10_019])
def test_a_run_that_twenty_does_not_divide_is_evaluated_at_most_twenty_times(steps):
    interval = TrainerConfig.model_validate(LEAST | {"steps": steps}).evaluation_interval
    assert 10 <= math.ceil(steps / interval) <= 20


def test_a_batch_holds_the_labeled_share_and_a_supervised_one_nothing_else():
    settings = LEAST | {"batch_size": 50, "labeled_batch_fraction": 0.24}
    assert TrainerConfig.model_validate(settings).labeled_per_batch == 12
    assert TrainerConfig.model_validate(settings | {"method": "supervised"}).labeled_per_batch == 50


@pytest.mark.parametrize("method", ["mean_teacher", "pi_model", "temporal_ensembling", "supervised"])
def test_a_network_has_the_heads_asked_for_and_a_supervised_one_has_one(method):
    for heads in (1, 2):
        config = TrainerConfig.model_validate(LEAST | {"method": method, "consistency": {"heads": heads}})
        assert config.heads == (1 if method == "supervised" else heads)


@pytest.mark.parametrize(
    ("dataset", "model"),
    [
        (LEAST["dataset"], {"name": "small_cnn", "width": 3}),
        (CIFAR10, {"name": "conv_large", "dropout": 0.1}),
        (FOLDER | {"labels": "all"}, {"name": "small_cnn"}),
    ],
)
def test_a_configuration_survives_json(dataset, model):
    config = TrainerConfig.model_validate(LEAST | {"dataset": dataset, "model": model, "evaluate_every": 3})
    assert TrainerConfig.model_validate_json(config.model_dump_json()) == config


def test_a_configuration_cannot_be_changed():
    config = TrainerConfig.model_validate(LEAST)
    with pytest.raises(ValidationError, match="frozen"):
        config.steps = 2
    with pytest.raises(ValidationError, match="frozen"):
        config.ema.decay = 0.5


def test_a_configuration_can_be_read_where_there_is_no_time_to_import_torch():
    script = """
import sys
import trainers
from trainers import Report, TrainerConfig
print(sorted({"torch", "numpy", "sklearn", "torchvision", "PIL"} & set(sys.modules)))
"""
    assert in_fresh_process(script) == "[]\n"


def test_the_package_has_no_other_names():
    import trainers

    with pytest.raises(AttributeError, match="module 'trainers' has no attribute 'Teacher'"):
        _ = trainers.Teacher
