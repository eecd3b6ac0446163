import pytest

from trainers import TrainerConfig, recipes


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_is_a_whole_configuration(name):
    assert TrainerConfig.model_validate(recipes.settings(name)).steps > 10_000


def test_a_recipe_has_the_published_values():
    config = TrainerConfig.model_validate(recipes.settings("shake_cifar10_4000"))
    assert (config.batch_size, config.labeled_per_batch, config.steps) == (512, 124, 300 * 118)
    assert (config.optimizer.learning_rate, config.ema.decay, config.consistency.weight) == (0.2, 0.99, 100.0)
    long = TrainerConfig.model_validate(recipes.settings("wrn_cifar10_4000_long"))
    assert long.schedule.length == round(long.steps * 8 / 7)  # cos(7 pi / 16) at the end


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
