from pathlib import Path

import pytest
from pydantic import ValidationError

from trainers import TrainerConfig, recipes


def config(name):
    return TrainerConfig.model_validate(recipes.settings(name, {"dataset": {"root": "anywhere"}}))


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_is_a_whole_configuration_once_its_images_are_found(name):
    assert config(name).steps > 5_000


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_says_in_its_first_lines_what_was_published_and_where(name):
    comment = (Path(recipes.__file__).parent / f"{name}.yaml").read_text().partition("\n")[0]
    assert comment.startswith("# ")
    assert " %" in comment or "no published figure" in comment


def test_a_recipe_of_images_that_are_nowhere_by_default_asks_for_their_folder():
    with pytest.raises(ValidationError, match=r"dataset\.imagenet\.root\n +Field required"):
        TrainerConfig.model_validate(recipes.settings("resnext_imagenet_10percent"))


def test_a_recipe_that_builds_on_another_differs_in_what_its_file_says_and_in_nothing_else():
    base, other = recipes.settings("conv_large_cifar10_4000"), recipes.settings("conv_large_cifar10_1000")
    changes = {"dataset": {"labels": 1000}, "labeled_batch_fraction": 0.02, "consistency": {"weight": 2.0}}
    assert other == recipes.merged(base, changes)
    assert other != base


def test_recipes_that_build_on_each_other_in_a_circle_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "_FOLDER", tmp_path)
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"recipe: {other}\n")
    with pytest.raises(ValueError, match="recipes in a circle: a -> b -> a"):
        recipes.settings("a")


@pytest.mark.parametrize("name", [name for name in recipes.names() if name.endswith("_supervised")])
def test_a_supervised_twin_warms_up_in_proportion_to_its_length_and_ramps_down_as_published(name):
    twin, whole = config(name), config(name.removesuffix("_supervised"))
    assert (twin.method, twin.labeled_per_batch, twin.optimizer) == ("supervised", 100, whole.optimizer)
    scaled = whole.schedule.warm_up_steps * twin.steps / whole.steps
    assert twin.schedule.warm_up_steps == pytest.approx(scaled, abs=0.5)
    published = {7_500: 1_000, 15_000: 2_000, 30_000: 4_000, 40_000: 10_000}
    assert twin.schedule.ramp_down_steps == published.get(twin.steps, 25_000)


@pytest.mark.parametrize("name", [name for name in recipes.names() if name.endswith("_no_augmentation")])
def test_a_twin_without_augmentation_differs_in_that_alone(name):
    twin, whole = config(name), config(name.removesuffix("_no_augmentation"))
    assert (twin.augmentation.translate, twin.augmentation.flip) == (0, False)
    assert twin.augmentation.noise == whole.augmentation.noise > 0
    assert twin.model_copy(update={"augmentation": whole.augmentation}) == whole


def test_with_extra_images_there_are_as_many_more_unlabeled_ones_as_published():
    alone = config("conv_large_svhn_500").dataset.unlabeled_count(73_257)
    for name, more, steps in (("100k", 100_000, 400_000), ("500k", 500_000, 600_000)):
        extra = config(f"conv_large_svhn_500_extra_{name}")
        assert (extra.dataset.unlabeled, extra.steps) == (alone + more, steps)


def test_a_recipe_has_the_published_values():
    config = TrainerConfig.model_validate(recipes.settings("shake_cifar10_4000"))
    assert (config.batch_size, config.labeled_per_batch, config.steps) == (512, 124, 300 * 118)
    assert (config.optimizer.learning_rate, config.ema.decay, config.consistency.weight) == (0.2, 0.99, 100.0)
    oliver = TrainerConfig.model_validate(recipes.settings("wrn_cifar10_4000"))
    assert (oliver.class_loss_normalizer, oliver.consistency.images) == ("whole_batch", "unlabeled")
    assert (oliver.normalization, oliver.optimizer.learning_rate, oliver.ema.decay) == ("zca", 0.0004, 0.95)
    long = TrainerConfig.model_validate(recipes.settings("wrn_cifar10_4000_long"))
    assert long.schedule.length == round(long.steps * 8 / 7)  # cos(7 pi / 16) at the end


def test_an_epoch_of_imagenet_is_a_pass_over_its_images_without_labels():
    found = config("resnext_imagenet_10percent")
    unlabeled = 1_281_167 - found.dataset.label_count(1_281_167)
    epoch = unlabeled // (found.batch_size - found.labeled_per_batch)
    assert epoch == 5_765
    lengths = (found.steps, found.ramp_up_steps, found.schedule.length, found.schedule.warm_up_steps)
    assert lengths == (60 * epoch, 5 * epoch, 75 * epoch, 2 * epoch)


@pytest.mark.parametrize("name", [name for name in recipes.names() if "_all" in name and "augmentation" not in name])
def test_with_all_labels_there_are_four_seeds(name):
    assert "4 seeds" in (Path(recipes.__file__).parent / f"{name}.yaml").read_text().partition("\n")[0]


def test_what_is_written_beside_a_recipe_comes_first():
    merged = recipes.settings("shake_cifar10_4000", {"steps": 7, "ema": {"decay": 0.5}, "dataset": {"labels": 1000}})
    assert (merged["steps"], merged["ema"]) == (7, {"decay": 0.5})
    assert merged["dataset"] == {"name": "cifar10", "labels": 1000, "validation": 5000}
    assert merged["batch_size"] == 512


def test_a_group_of_another_kind_replaces_that_of_the_recipe():
    other = {"name": "adam", "learning_rate": 0.001}
    assert recipes.settings("shake_cifar10_4000", {"optimizer": other})["optimizer"] == other


def test_a_recipe_that_is_not_there_is_told_with_the_nearest():
    with pytest.raises(ValueError, match=r"'shake_cifar10' is no recipe; did you mean 'shake_cifar10_\d000'"):
        recipes.settings("shake_cifar10")
