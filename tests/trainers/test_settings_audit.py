import json
from typing import Any

import pytest

from tests.helpers.training import config
from trainers import TrainerConfig
from trainers.config import Adam, ConvLarge, HalfCosine, Sgd, SmallCnn, StepDecay
from trainers.config.compatibility import idle_settings, is_idle
from trainers.errors import UnreadSetting
from trainers.settings_audit import Watched


def keys(settings: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys of a configuration, those of the data set left out."""
    result = []
    for name, value in settings.items():
        result += keys(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return [key for key in result if not key.startswith("dataset.")]


def all_keys(settings: TrainerConfig) -> list[str]:
    return keys(json.loads(settings.model_dump_json()))


def read(watched: Watched, key: str) -> Any:
    value: Any = watched.config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def read_all_but(settings: TrainerConfig, *left_out: str) -> Watched:
    watched = Watched(settings)
    for key in all_keys(settings):
        if key not in left_out:
            read(watched, key)
    return watched


# One in which every key has an effect, but for what other methods read, and for colours, which digits do not have.
FULL = config(
    augmentation={"crop": 8},
    consistency={"heads": 2},
    optimizer={"name": "adam"},
    schedule={"name": "ramp_down", "ramp_down_steps": 2, "warm_up_steps": 1},
)


def test_a_configuration_that_was_read_throughout_is_fine():
    read_all_but(FULL).check()


@pytest.mark.parametrize("key", [key for key in all_keys(FULL) if not is_idle(key, idle_settings(FULL))])
def test_a_setting_that_nothing_has_read_is_refused_by_name(key):
    with pytest.raises(UnreadSetting, match=rf"^{key} is a setting of this run, and nothing has read it") as error:
        read_all_but(FULL, key).check()
    assert error.value.reason == "unread_setting"


def test_reading_a_group_is_not_reading_what_is_in_it():
    watched = read_all_but(FULL, "ema.decay")
    _ = watched.config.ema
    with pytest.raises(UnreadSetting, match=r"ema\.decay"):
        watched.check()


def test_a_setting_may_be_read_later_and_through_a_group_that_was_kept():
    watched = read_all_but(FULL, "ema.decay")
    group = watched.config.ema
    with pytest.raises(UnreadSetting):
        watched.check()
    _ = group.decay
    watched.check()


@pytest.mark.parametrize(
    ("name", "behind"),
    [
        ("labeled_per_batch", ["method", "labeled_batch_fraction", "batch_size"]),
        ("heads", ["method", "consistency.heads"]),
        ("ramp_up_steps", ["consistency.ramp_up_steps", "steps"]),
        ("evaluation_interval", ["evaluate_every"]),
    ],
)
def test_reading_a_property_is_reading_the_settings_behind_it(name, behind):
    watched = read_all_but(FULL, *behind)
    assert getattr(watched.config, name) == getattr(FULL, name)
    watched.check()


def test_reading_a_property_is_reading_no_other_settings():
    watched = read_all_but(FULL, "batch_size", "seed")
    _ = watched.config.labeled_per_batch
    with pytest.raises(UnreadSetting, match="seed"):
        watched.check()


def test_asking_for_the_kind_of_a_group_works_and_is_reading_its_name():
    settings = config(optimizer={"name": "adam"}, schedule={"name": "step_decay", "at": [2]})
    watched = read_all_but(settings, "optimizer.name", "schedule.name", "model.name")
    with pytest.raises(UnreadSetting):
        watched.check()
    seen = watched.config
    assert isinstance(seen, TrainerConfig)
    assert isinstance(seen.optimizer, Adam)
    assert not isinstance(seen.optimizer, Sgd)
    assert isinstance(seen.schedule, StepDecay)
    assert not isinstance(seen.schedule, HalfCosine)
    assert isinstance(seen.model, SmallCnn)
    assert not isinstance(seen.model, ConvLarge)
    watched.check()


def test_what_is_read_is_what_was_set():
    seen = Watched(FULL).config
    for key in all_keys(FULL):
        plain: Any = FULL
        for name in key.split("."):
            plain = getattr(plain, name)
        assert read(Watched(FULL), key) == plain
    assert seen.model_dump_json() == FULL.model_dump_json()
    assert seen.model.weights == FULL.model.weights
    with pytest.raises(AttributeError, match="epochs"):
        _ = seen.epochs


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ({}, ["ensemble.decay"]),
        ({"consistency": {"heads": 1}}, ["ensemble.decay", "consistency.logit_distance_weight"]),
        (
            {"method": "pi_model"},
            ["ema.decay", "ema.ramp_up_decay", "teacher.start", "teacher.mode", "teacher.batch_norm"],
        ),
        ({"method": "temporal_ensembling"}, ["ema.decay", "ema.ramp_up_decay", "teacher.dropout", "teacher.noise"]),
        (
            {"method": "supervised"},
            ["consistency.loss", "class_loss_normalizer", "labeled_batch_fraction", "ema.decay", "ensemble.decay"],
        ),
        ({"schedule": {"warm_up": "sigmoid"}}, ["schedule.warm_up_from"]),
    ],
)
def test_a_setting_without_effect_need_not_be_read(changes, idle):
    settings = config(**{"consistency": {"heads": 2}, "steps": 100} | changes)
    assert set(idle) <= set(all_keys(settings))
    read_all_but(settings, *idle).check()


@pytest.mark.parametrize(("method", "key"), [("temporal_ensembling", "ensemble.decay"), ("pi_model", "teacher.noise")])
def test_what_one_method_need_not_read_another_must(method, key):
    with pytest.raises(UnreadSetting, match=key):
        read_all_but(config(method=method, steps=100), key).check()


def test_the_settings_of_the_data_are_not_asked_for():
    watched = read_all_but(FULL)
    assert not any(key.startswith("dataset.") for key in all_keys(FULL))
    watched.check()
