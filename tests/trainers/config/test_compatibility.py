"""Every refusal names the settings that clash and the legal values; these values are accepted."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from trainers import TrainerConfig
from trainers.config.compatibility import check_image_size, check_unlabeled, idle_settings, is_idle
from trainers.config.dataset import check_split_sizes

LEAST = {"dataset": {"name": "digits", "labels": 50, "validation": 300}, "steps": 1000}
METHODS = ("mean_teacher", "pi_model", "temporal_ensembling", "supervised")


def settings(changes: dict[str, Any]) -> dict[str, Any]:
    """Return a minimal configuration with these dotted keys set; a key that is set to None is removed."""
    result = json.loads(json.dumps(LEAST))
    for key, value in changes.items():
        *groups, last = key.split(".")
        group = result
        for name in groups:
            group = group.setdefault(name, {})
        group[last] = value
        if value is None:
            del group[last]
    return result


def config(**changes: Any) -> TrainerConfig:
    return TrainerConfig.model_validate(settings({key.replace("__", "."): value for key, value in changes.items()}))


def refusal(changes: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as error:
        TrainerConfig.model_validate(settings(changes))
    assert error.value.error_count() == 1
    return error.value.errors()[0]["msg"]


def accepted(changes: dict[str, Any]) -> bool:
    try:
        TrainerConfig.model_validate(settings(changes))
    except ValidationError:
        return False
    return True


# Each: what clashes, the phrases of the message, and the ways out that it names, the removal of a key written as None.
CLASHES: dict[str, tuple[dict[str, Any], list[str], list[dict[str, Any]]]] = {
    "a ramp-up longer than the run": (
        {"consistency.ramp_up_steps": 1001},
        ["consistency.ramp_up_steps (1001)", "steps (1000)", "lower it", "leave it out"],
        [{"consistency.ramp_up_steps": 1000}, {"consistency.ramp_up_steps": None}, {"steps": 1001}],
    ),
    "weights of classes with one label per batch": (
        {"class_weights": {"0": 2.0}, "batch_size": 8, "labeled_batch_fraction": 0.125},
        ["class_weights has no effect", "labeled_batch_fraction", "whole_batch"],
        [{"class_weights": "none"}, {"labeled_batch_fraction": 0.25}, {"class_loss_normalizer": "whole_batch"}],
    ),
    "balanced weights of classes with as many labels": (
        {"class_weights": "balanced"},
        ["class_weights: balanced", "dataset.draw: balanced", "about 1"],
        [
            {"dataset.draw": "random"},
            {"dataset.labels": "all", "labeled_batch_fraction": 1.0},
            {"class_weights": "none"},
        ],
    ),
    "a batch without labels": (
        {"labeled_batch_fraction": 0.04, "batch_size": 10},
        ["labeled_batch_fraction 0.04", "batch_size 10", "use at least 0.1"],
        [{"labeled_batch_fraction": 0.1}],
    ),
    "unlabeled images only, of which there are none": (
        {"consistency.images": "unlabeled", "labeled_batch_fraction": 1.0},
        ["consistency.images: unlabeled", "labeled_batch_fraction (1.0)", "lower", "use consistency.images: all"],
        [{"labeled_batch_fraction": 0.99}, {"consistency.images": "all"}],
    ),
    "two equal views": (
        {"method": "pi_model", "augmentation.translate": 0},
        ["method: pi_model", "augmentation without noise", "augmentation.translate", "flip", "noise", "model.dropout"],
        [
            {"augmentation.translate": 1},
            {"augmentation.flip": True},
            {"augmentation.noise": 0.1},
            {"augmentation.strong": "trivial_augment"},
            {"augmentation.erase": 0.1},
            {"model.dropout": 0.1},
            {"teacher.noise": 0.1},
            {"teacher.dropout": 0.1},
            {"consistency.weight": 0.0},
            {"method": "mean_teacher"},
        ],
    ),
    "a warm-up longer than the run": (
        {"schedule.warm_up_steps": 1001},
        ["schedule.warm_up_steps (1001)", "steps (1000)", "use at most 1000"],
        [{"schedule.warm_up_steps": 1000}],
    ),
    "a ramp-down longer than the run": (
        {"schedule.name": "ramp_down", "schedule.ramp_down_steps": 1001},
        ["schedule.ramp_down_steps (1001)", "steps (1000)", "use at most 1000"],
        [{"schedule.ramp_down_steps": 1000}],
    ),
    "a half cosine shorter than the run": (
        {"schedule.name": "half_cosine", "schedule.length": 999},
        ["schedule.length (999)", "steps (1000)", "raise it", "leave it out"],
        [{"schedule.length": 1000}, {"schedule.length": None}],
    ),
    "a quarter cosine shorter than the run": (
        {"schedule.name": "quarter_cosine", "schedule.length": 999},
        ["schedule.length (999)", "steps (1000)", "raise it", "leave it out"],
        [{"schedule.length": 1143}, {"schedule.length": None}],
    ),
    "steps of a decay that fall": (
        {"schedule.name": "step_decay", "schedule.at": [200, 100]},
        ["schedule.at ([200, 100])", "rise", "below steps (1000)"],
        [{"schedule.at": [100, 200]}],
    ),
    "steps of a decay that repeat": (
        {"schedule.name": "step_decay", "schedule.at": [100, 100]},
        ["schedule.at ([100, 100])", "rise", "below steps (1000)"],
        [{"schedule.at": [100]}],
    ),
    "steps of a decay after the run": (
        {"schedule.name": "step_decay", "schedule.at": [100, 1000]},
        ["schedule.at ([100, 1000])", "below steps (1000)"],
        [{"schedule.at": [100, 999]}],
    ),
    "a beta1 that has no ramp-down to follow": (
        {"optimizer.name": "adam", "optimizer.ramp_down_beta1": 0.5},
        ["optimizer.ramp_down_beta1", "schedule.name: half_cosine", "use schedule.name: ramp_down", "remove"],
        [
            {"schedule.name": "ramp_down", "schedule.ramp_down_steps": 100},
            {"optimizer.ramp_down_beta1": None},
        ],
    ),
    "Nesterov without momentum": (
        {"optimizer.momentum": 0.0},
        ["nesterov: true", "momentum above 0", "set nesterov: false"],
        [{"optimizer.nesterov": False}, {"optimizer.momentum": 0.1}],
    ),
    "a teacher that evaluates with statistics of its own": (
        {"teacher.mode": "eval"},
        ["mode: eval", "batch_norm: own", "use batch_norm: copied or averaged", "mode: train"],
        [{"teacher.batch_norm": "copied"}, {"teacher.batch_norm": "averaged"}, {"teacher.mode": "train"}],
    ),
    "a teacher that trains with copied statistics": (
        {"teacher.batch_norm": "copied"},
        ["mode: train", "batch_norm: copied", "use mode: eval", "batch_norm: own"],
        [{"teacher.mode": "eval"}, {"teacher.batch_norm": "own"}],
    ),
    "a teacher that trains with averaged statistics": (
        {"teacher.batch_norm": "averaged"},
        ["mode: train", "batch_norm: averaged", "use mode: eval", "batch_norm: own"],
        [{"teacher.mode": "eval"}, {"teacher.batch_norm": "own"}],
    ),
    "a dropout that never drops": (
        {"teacher.mode": "eval", "teacher.batch_norm": "copied", "teacher.dropout": 0.25},
        ["dropout", "mode: eval", "use mode: train"],
        [{"teacher.mode": "train", "teacher.batch_norm": "own"}, {"teacher.dropout": None}],
    ),
    "an ensemble that is not averaged": (
        {"ensemble.decay": 0.7},
        ["ensemble.decay (0.7)", "method: mean_teacher", "use method: temporal_ensembling", "remove ensemble.decay"],
        [{"method": "temporal_ensembling"}, {"ensemble.decay": None}],
    ),
    "an ensemble that the student does not average": (
        {"method": "pi_model", "ensemble.decay": 0.7},
        ["ensemble.decay (0.7)", "method: pi_model", "use method: temporal_ensembling", "remove ensemble.decay"],
        [{"method": "temporal_ensembling"}, {"ensemble.decay": None}],
    ),
    "the distance of one head": (
        {"consistency.logit_distance_weight": 0.1},
        ["consistency.logit_distance_weight (0.1)", "consistency.heads: 1", "use consistency.heads: 2", "remove"],
        [{"consistency.heads": 2}, {"consistency.logit_distance_weight": None}],
    ),
    "where a sigmoid does not begin": (
        {"schedule.warm_up": "sigmoid", "schedule.warm_up_steps": 9, "schedule.warm_up_from": 0.4},
        ["schedule.warm_up_from (0.4)", "schedule.warm_up: sigmoid", "use schedule.warm_up: linear", "remove"],
        [{"schedule.warm_up": "linear"}, {"schedule.warm_up_from": None}],
    ),
    "where no warm-up begins": (
        {"schedule.warm_up_from": 0.4},
        ["schedule.warm_up_from (0.4)", "schedule.warm_up_steps: 0", "raise schedule.warm_up_steps", "remove"],
        [{"schedule.warm_up_steps": 9}, {"schedule.warm_up_from": None}],
    ),
    "where no warm-up begins, without a consistency loss": (
        {"method": "supervised", "schedule.warm_up_from": 0.4},
        ["schedule.warm_up_from (0.4)", "schedule.warm_up_steps: 0"],
        [{"schedule.warm_up_steps": 9}],
    ),
    "beta2 of no warm-up": (
        {"optimizer.name": "adam", "optimizer.warm_up_beta2": 0.99},
        ["optimizer.warm_up_beta2 (0.99)", "schedule.warm_up_steps: 0", "raise schedule.warm_up_steps"],
        [{"schedule.warm_up_steps": 9}, {"optimizer.warm_up_beta2": None}],
    ),
    "operations of no RandAugment": (
        {"augmentation.rand_operations": 3},
        ["augmentation.rand_operations (3)", "augmentation.strong: none", "use augmentation.strong: rand_augment"],
        [{"augmentation.strong": "rand_augment"}, {"augmentation.rand_operations": None}],
    ),
    "a magnitude beside TrivialAugment, which draws its own": (
        {"augmentation.strong": "trivial_augment", "augmentation.rand_magnitude": 5},
        ["augmentation.rand_magnitude (5)", "augmentation.strong: trivial_augment", "remove"],
        [{"augmentation.strong": "rand_augment"}, {"augmentation.rand_magnitude": None}],
    ),
    "a weak view of what is weak already": (
        {"teacher.augmentation": "weak"},
        ["teacher.augmentation (weak)", "augmentation.strong: none", "set augmentation.strong", "remove"],
        [
            {"augmentation.strong": "trivial_augment"},
            {"augmentation.rotate": 5.0},
            {"augmentation.brightness": 0.1},
            {"augmentation.contrast": 0.1},
            {"augmentation.erase": 0.1},
            {"augmentation.noise": 0.1},
            {"teacher.augmentation": None},
        ],
    ),
    "a weak view whose noise is set": (
        {"method": "pi_model", "teacher.augmentation": "weak", "teacher.noise": 0.1, "augmentation.noise": 0.2},
        ["teacher.augmentation (weak)", "set augmentation.strong", "remove"],
        [{"teacher.noise": None}, {"augmentation.strong": "rand_augment"}],
    ),
    "a weak view of no second network": (
        {"method": "temporal_ensembling", "teacher.augmentation": "weak", "augmentation.noise": 0.1},
        ["teacher.augmentation (weak)", "method: temporal_ensembling", "use method: mean_teacher", "remove"],
        [{"method": "mean_teacher"}, {"teacher.augmentation": None}],
    ),
    "the decay of no ramp-up": (
        {"consistency.ramp_up_steps": 0, "ema.ramp_up_decay": 0.9},
        ["ema.ramp_up_decay (0.9)", "consistency.ramp_up_steps: 0", "raise consistency.ramp_up_steps"],
        [{"consistency.ramp_up_steps": 9}, {"ema.ramp_up_decay": None}],
    ),
    "a teacher that is the student": (
        {"ema.decay": 0.0, "augmentation.translate": 0},
        ["ema.decay: 0", "augmentation without noise", "augmentation.translate", "model.dropout"],
        [{"augmentation.translate": 1}, {"model.dropout": 0.1}, {"ema.decay": 0.5}],
    ),
    "the fewest labels": (
        {"dataset.labels": 9},
        ["labels: 9", "10 classes of digits", "use at least 10"],
        [{"dataset.labels": 10}],
    ),
    "more images than there are": (
        {"dataset.validation": 1388, "dataset.verdict": 1},
        ["labels + validation + verdict = 50 + 1388 + 1", "1,438 training images of digits", "lower one of them"],
        [{"dataset.verdict": 0, "labeled_batch_fraction": 1.0}],
    ),
    "more unlabeled images in a batch than there are": (
        {"dataset.validation": 1314},
        ["a batch takes 75 unlabeled images and 74 are left", "lower batch_size", "set labeled_batch_fraction: 1.0"],
        [{"dataset.validation": 1313}, {"batch_size": 98}, {"labeled_batch_fraction": 1.0}],
    ),
    "no second look at any image": (
        {"method": "temporal_ensembling", "steps": 14},  # 1088 unlabeled images, 75 a batch
        ["method: temporal_ensembling", "steps: 14", "raise steps, or batch_size"],
        [{"steps": 15}, {"batch_size": 200}],
    ),
    "images smaller than the network": (
        {"model.name": "conv_large"},
        ["model conv_large", "at least 12x12 pixels", "these have 8x8"],
        [{"model.name": "small_cnn"}],
    ),
    "a translation out of the image": (
        {"augmentation.translate": 8},
        ["augmentation.translate (8)", "must be below the image size (8 pixels)"],
        [{"augmentation.translate": 7}],
    ),
}
for _method, _use in (("pi_model", "method: mean_teacher"), ("temporal_ensembling", "method: mean_teacher")):
    for _key, _value in (
        ("ema.decay", 0.9),
        ("ema.ramp_up_decay", 0.9),
        ("teacher.start", "independent"),
        *((("teacher.dropout", 0.25), ("teacher.noise", 0.1)) if _method == "temporal_ensembling" else ()),
    ):
        CLASHES[f"{_key} beside {_method}"] = (
            {"method": _method, _key: _value},
            [f"{_key} ({_value})", f"method: {_method}", f"use {_use}", f"remove {_key}"],
            [{"method": "mean_teacher"}, {_key: None}],
        )
    CLASHES[f"a mode beside {_method}"] = (
        {"method": _method, "teacher.mode": "eval", "teacher.batch_norm": "copied"},
        ["teacher.mode (eval)", f"method: {_method}", f"use {_use}", "remove teacher.mode"],
        [{"method": "mean_teacher"}, {"teacher.mode": None, "teacher.batch_norm": None}],
    )


@pytest.mark.parametrize("name", CLASHES)
def test_settings_that_clash_are_refused_by_name_with_what_would_be_legal(name):
    changes, phrases, _ = CLASHES[name]
    message = refusal(changes)
    assert [phrase for phrase in phrases if phrase not in message] == []


@pytest.mark.parametrize(
    ("name", "way_out"), [(name, i) for name, (_, _, ways) in CLASHES.items() for i in range(len(ways))]
)
def test_every_way_out_that_a_refusal_names_is_accepted(name, way_out):
    changes, _, ways = CLASHES[name]
    assert accepted(changes | ways[way_out])


PAIRS = {("train", "own"), ("eval", "copied"), ("eval", "averaged")}


@pytest.mark.parametrize("batch_norm", ["own", "copied", "averaged"])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_three_pairs_of_mode_and_batch_norm_are_legal(mode, batch_norm):
    changes = {"teacher.mode": mode, "teacher.batch_norm": batch_norm}
    if (mode, batch_norm) in PAIRS:
        assert TrainerConfig.model_validate(settings(changes)).teacher.mode == mode
    else:
        assert f"mode: {mode} and batch_norm: {batch_norm} clash" in refusal(changes)


# --- settings without effect


def idle_keys(settings_of: TrainerConfig) -> set[str]:
    return set(idle_settings(settings_of))


ONE_HEAD = "consistency.logit_distance_weight"
OF_DIGITS = {"augmentation.saturation", "augmentation.hue", "augmentation.smallest_crop"}
FIXED = "consistency.target_gradient"
OF_DIGITS |= {"augmentation.rand_operations", "augmentation.rand_magnitude"}
WEAK = "teacher.augmentation"
NO_WARM_UP = {"schedule.warm_up_from", "optimizer.warm_up_beta2"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"ensemble.", ONE_HEAD, FIXED, WEAK} | NO_WARM_UP),
        ({"consistency__heads": 2}, {"ensemble.", FIXED, WEAK} | NO_WARM_UP),
        ({"augmentation__noise": 0.1}, {"ensemble.", ONE_HEAD, FIXED} | NO_WARM_UP),
        ({"schedule__warm_up_steps": 5}, {"ensemble.", ONE_HEAD, FIXED, WEAK}),
        ({"consistency__ramp_up_steps": 0}, {"ensemble.", "ema.ramp_up_decay", ONE_HEAD, FIXED, WEAK} | NO_WARM_UP),
        (
            {"method": "pi_model", "consistency__heads": 2},
            {"ensemble.", "ema.", "teacher.start", "teacher.mode", "teacher.batch_norm", WEAK} | NO_WARM_UP,
        ),
        ({"method": "temporal_ensembling"}, {"ema.", "teacher.", ONE_HEAD, FIXED} | NO_WARM_UP),
        (
            {"method": "supervised"},
            {"class_loss_normalizer", "consistency.", "ema.", "ensemble.", "labeled_batch_fraction", "teacher."}
            | NO_WARM_UP,
        ),
        (
            {"consistency__heads": 2, "schedule__warm_up": "sigmoid", "schedule__warm_up_steps": 5},
            {"ensemble.", "schedule.warm_up_from", FIXED, WEAK},
        ),
    ],
)
def test_the_settings_that_have_no_effect_are_known_of_every_method(changes, expected):
    assert idle_keys(config(**changes)) == expected | OF_DIGITS


def test_a_crop_takes_the_place_of_a_translation():
    found = idle_keys(config(augmentation__crop=6))
    assert "augmentation.translate" in found
    assert "augmentation.smallest_crop" not in found
    assert "augmentation.translate (1) has no effect: augmentation.crop: 6" in refusal(
        {"augmentation.crop": 6, "augmentation.translate": 1}
    )


@pytest.mark.parametrize("method", ["mean_teacher", "temporal_ensembling"])
def test_only_the_pi_model_has_a_gradient_through_its_targets(method):
    message = refusal({"method": method, "consistency.target_gradient": True})
    assert f"consistency.target_gradient (True) has no effect: method: {method} learns from fixed targets" in message


@pytest.mark.parametrize("key", ["saturation", "hue"])
def test_grey_images_have_no_colour_to_change(key):
    assert f"augmentation.{key} (0.3) has no effect: dataset.name: digits" in refusal({f"augmentation.{key}": 0.3})


@pytest.mark.parametrize("normalization", ["per_image", "zca"])
def test_colours_change_before_images_are_normalised_or_not_at_all(normalization):
    told = refusal({"augmentation.brightness": 0.3, "normalization": normalization})
    assert f"normalization: {normalization} and a jitter of colours clash" in told


@pytest.mark.parametrize("normalization", ["per_image", "zca"])
def test_strong_operations_come_before_the_normalisation_or_not_at_all(normalization):
    clashing = {"augmentation.strong": "rand_augment", "normalization": normalization}
    assert f"normalization: {normalization} and augmentation.strong: rand_augment clash" in refusal(clashing)
    assert accepted(clashing | {"augmentation.strong": "none", "augmentation.erase": 0.5})


def test_a_crop_is_no_larger_than_the_image():
    assert "augmentation.crop (9) must be at most the image size (8 pixels)" in refusal({"augmentation.crop": 9})


def test_a_network_must_take_what_is_cropped():
    told = refusal({"augmentation.crop": 6, "model": {"name": "wide_resnet"}})
    assert "model wide_resnet needs images of at least 8x8 pixels, these have 6x6" in told


@pytest.mark.parametrize("method", METHODS)
def test_a_setting_without_effect_has_a_reason_that_names_another_one(method):
    for key, reason in idle_settings(config(method=method)).items():
        assert ": " in reason
        assert key not in reason


@pytest.mark.parametrize(
    ("key", "idle"),
    [
        ("ema.decay", True),
        ("ema.ramp_up_decay", True),
        ("teacher.mode", True),
        ("teacher.model", False),
        ("teacher.mode.more", False),
        ("emanate", False),
        ("steps", False),
    ],
)
def test_an_idle_group_covers_its_keys_and_an_idle_key_itself(key, idle):
    assert is_idle(key, {"ema.": "why", "teacher.mode": "why"}) is idle


def test_a_setting_without_effect_may_be_set_to_its_default_or_to_nothing():
    for value in (0.01, 0.0):
        assert accepted({"consistency.logit_distance_weight": value})
    for value in (0.999, 0.0):
        assert accepted({"method": "pi_model", "ema.decay": value})
    for value in (0.6, 0.0):
        assert accepted({"ensemble.decay": value})
    assert accepted({"method": "temporal_ensembling", "teacher.mode": "train", "teacher.start": "copy"})


def test_a_supervised_run_takes_the_settings_of_the_run_it_is_compared_with():
    changes = {"consistency__weight": 3.0, "ema__decay": 0.9, "teacher__start": "independent", "ensemble__decay": 0.7}
    assert config(method="supervised", **changes).consistency.weight == 3.0


# --- a configuration that was accepted is accepted again

GROUPS = [
    {},
    {
        "optimizer": {"name": "adam", "warm_up_beta2": 0.99, "ramp_down_beta1": 0.5},
        "schedule": {"name": "ramp_down", "ramp_down_steps": 100, "warm_up": "sigmoid", "warm_up_steps": 10},
        "model": {"dropout": 0.5},
    },
    {
        "optimizer": {"name": "adamw", "weight_decay_on": "weights"},
        "schedule": {"name": "step_decay", "at": [10, 20], "warm_up_steps": 3, "warm_up_from": 0.1},
        "consistency": {"loss": "kl", "heads": 2, "images": "unlabeled", "ramp_up": "linear"},
    },
    {"schedule": {"name": "quarter_cosine", "length": 2000}, "precision": "bf16", "channels_last": False},
    {"schedule": {"name": "constant"}, "compile": True, "class_loss_normalizer": "whole_batch"},
]
OF_METHOD = {
    "mean_teacher": {
        "ema": {"decay": 0.99, "ramp_up_decay": 0.9},
        "teacher": {"start": "independent", "mode": "eval", "batch_norm": "averaged", "noise": 0.2},
    },
    "pi_model": {"teacher": {"dropout": 0.2, "noise": 0.1}},
    "temporal_ensembling": {"ensemble": {"decay": 0.9}},
    "supervised": {},
}


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("group", range(len(GROUPS)))
@pytest.mark.parametrize("method", METHODS)
def test_what_was_accepted_is_accepted_again_with_every_default_said(method, group, own):
    given = LEAST | {"method": method} | GROUPS[group] | (OF_METHOD[method] if own else {})
    accepted = TrainerConfig.model_validate(given)
    again = TrainerConfig.model_validate_json(accepted.model_dump_json())
    assert again == accepted
    assert TrainerConfig.model_validate(accepted.model_dump()) == accepted
    assert again.model_dump_json() == accepted.model_dump_json()


# --- the checks of what a data set can give, at their edges


def test_a_split_may_take_all_images_and_no_more():
    check_split_sizes(10, 50, 40, 100, 10, "some")
    check_split_sizes("all", 50, 40, 100, 10, "some")  # one a class is left
    for labels in (11, "all"):
        with pytest.raises(ValueError, match=rf"{labels} \+ 50 \+ 4[01] is more than the 100 training images of some"):
            check_split_sizes(labels, 50, 41 if labels == "all" else 40, 100, 10, "some")


def test_a_batch_may_take_all_unlabeled_images_and_no_more():
    check_unlabeled(config(), 75)
    with pytest.raises(ValueError, match="a batch takes 75 unlabeled images and 74 are left"):
        check_unlabeled(config(), 74)


def test_a_batch_without_unlabeled_images_needs_none():
    check_unlabeled(config(labeled_batch_fraction=1.0), 0)
    check_unlabeled(config(method="supervised"), 0)
    check_unlabeled(config(method="temporal_ensembling", labeled_batch_fraction=1.0), 0)


def test_temporal_ensembling_needs_a_step_after_the_first_look_at_all():
    settings_of = config(method="temporal_ensembling")  # 1000 steps of 75 unlabeled images
    check_unlabeled(settings_of, 75_000 - 1)
    with pytest.raises(ValueError, match=r"method: temporal_ensembling and steps: 1000 clash.*takes 1000 steps"):
        check_unlabeled(settings_of, 75_000)
    check_unlabeled(config(), 75_000)


@pytest.mark.parametrize(("model", "smallest"), [("small_cnn", 4), ("conv_large", 12)])
def test_images_may_be_as_small_as_the_network_takes(model, smallest):
    dataset = {"name": "image_folder", "root": "x", "labels": 10, "validation": 10}
    settings_of = config(dataset=dataset, model__name=model)
    check_image_size(settings_of, smallest)
    message = rf"model {model} needs images of at least {smallest}x{smallest} pixels, these have {smallest - 1}x"
    with pytest.raises(ValueError, match=message):
        check_image_size(settings_of, smallest - 1)


def test_images_of_one_pixel_are_too_small_for_a_network_first_of_all():
    with pytest.raises(ValueError, match="model small_cnn needs images of at least 4x4 pixels, these have 1x1"):
        check_image_size(config(), 1)
