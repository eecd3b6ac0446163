import pytest

from trainers import TrainerConfig, recipes
from trainers.recipes.published import published_settings

CIFAR = {
    "dataset": {"name": "cifar10", "labels": 4000, "validation": 2000},
    "model": {"name": "conv_large"},
    "steps": 40_000,
    "seed": 7,
    "precision": "bf16",
    "optimizer": {"name": "sgd", "learning_rate": 0.05},
}


def config(changes, classes=10, unlabeled=40_000):
    return TrainerConfig.model_validate(published_settings({**CIFAR, **changes}, classes, unlabeled))


def test_where_a_recipe_is_there_for_images_labels_and_network_they_are_its_values():
    recipe = TrainerConfig.model_validate(recipes.settings("conv_large_cifar10_4000"))
    found = config({})
    for group in ("model", "augmentation", "normalization", "optimizer", "ema", "labeled_batch_fraction"):
        assert getattr(found, group) == getattr(recipe, group)
    assert found.consistency.weight == 8.0


def test_a_recipe_keeps_the_proportions_of_its_lengths():
    found = config({})
    assert (found.steps, found.consistency.ramp_up_steps) == (40_000, round(40_000 * 40 / 150))
    assert (found.schedule.warm_up_steps, found.schedule.ramp_down_steps) == (10_667, 6_667)
    shake = config({"model": {"name": "shake_shake"}, "steps": 11_800})
    assert (shake.schedule.length, shake.consistency.ramp_up_steps) == (round(11_800 * 350 / 300), 197)


def test_images_seed_and_precision_are_those_of_the_run():
    found = config({})
    assert (found.dataset.validation, found.seed, found.precision) == (2000, 7, "bf16")


def test_of_two_recipes_the_one_with_the_nearer_length_is_taken():
    network = {"model": {"name": "wide_resnet"}}
    short, long = config({**network, "steps": 50_000}), config({**network, "steps": 1_000_000})
    assert (short.schedule.name, short.schedule.at, short.ema.decay) == ("step_decay", [40_000], 0.95)
    assert (long.schedule.name, long.ema.decay) == ("quarter_cosine", 0.999)


@pytest.mark.parametrize("steps", [2, 5_000_000])
@pytest.mark.parametrize(
    "name", [name for name in recipes.names() if not name.endswith(("_supervised", "_augmentation"))]
)
def test_a_recipe_is_valid_at_any_length(name, steps):
    whole = recipes.settings(name, {"dataset": {"root": "anywhere"}})
    unlabeled = 0 if whole["dataset"]["labels"] == "all" else 40_000
    found = TrainerConfig.model_validate(published_settings(whole | {"steps": steps}, 10, unlabeled))
    assert found.steps == steps
    assert found.consistency.weight != 10**1.5, "it is no rule of thumb"


def test_labels_may_be_said_as_a_share():
    dataset = {**CIFAR["dataset"], "labels": 0.08}
    assert config({"dataset": dataset}).normalization == "zca"


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": {**CIFAR["dataset"], "labels": 3000}},
        {"dataset": {**CIFAR["dataset"], "unlabeled": 10_000}},
        {"model": {"name": "resnet18"}},
        {"model": {}},
    ],
    ids=["labels", "unlabeled", "network", "default network"],
)
def test_elsewhere_they_are_the_rules_of_thumb_on_what_is_fixed(other):
    found = config(other)
    assert (found.ema.decay, found.consistency.loss, found.labeled_batch_fraction) == (0.999, "mse", 0.375)
    assert found.consistency.weight == pytest.approx(10 * 10**0.5)
    assert found.ramp_up_steps == 8_000
    assert found.optimizer.learning_rate == 0.05


def test_the_weight_grows_with_the_classes():
    assert config({"model": {}}, classes=100).consistency.weight == 1000.0


def test_with_too_few_unlabeled_images_for_a_batch_all_of_it_is_labeled():
    fixed = {
        "dataset": {"name": "digits", "labels": "all", "validation": 300},
        "model": {},
        "consistency": {"images": "unlabeled"},
    }
    found = config(fixed, unlabeled=0)
    assert (found.labeled_batch_fraction, found.consistency.images) == (1.0, "all")


def test_it_is_mean_teacher_whatever_the_run_is():
    fixed = {"model": {}, "method": "temporal_ensembling", "ensemble": {"decay": 0.7}}
    assert config(fixed).method == "mean_teacher"


def test_with_more_than_a_hundred_classes_the_rule_is_their_imagenets():
    fixed = {"dataset": {"name": "image_folder", "labels": 1000}, "steps": 100, "class_loss_normalizer": "whole_batch"}
    few, many = (published_settings(fixed, classes, 10_000) for classes in (100, 101))
    assert (few["consistency"]["loss"], few["consistency"]["weight"]) == ("mse", 1000.0)
    assert (many["consistency"]["loss"], many["consistency"]["weight"]) == ("kl", 10.0)
    assert few["class_loss_normalizer"] == "labeled"


def test_settings_that_are_newer_than_the_authors_rules_are_not_theirs():
    fixed = {
        "dataset": {"name": "digits", "labels": 50, "validation": 300},
        "steps": 20,
        "consistency": {"confidence": 0.9, "start": 5},
        "teacher": {"augmentation": "weak"},
        "augmentation": {"noise": 0.1},
    }
    config = TrainerConfig.model_validate(published_settings(fixed, 10, 1000))
    assert (config.consistency.confidence, config.consistency.start, config.teacher.augmentation) == (0, 0, "same")
