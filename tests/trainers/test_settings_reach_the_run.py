import json
from typing import get_args

import pytest

from tests.helpers.training import REVISITED, config, finished
from trainers import TrainerConfig
from trainers.config import Settings

SLOWER = {"name": "ramp_down", "ramp_down_steps": 4}
EVAL = {"mode": "eval", "batch_norm": "copied"}
REACHING = [  # (what it is changed from, the change): each changes the losses
    ({}, {"method": "pi_model"}),
    ({}, {"dataset": {"labels": 30}}),
    ({}, {"dataset": {"validation": 70}}),
    ({}, {"dataset": {"verdict": 1000}}),
    ({}, {"dataset": {"split_seed": 1}}),
    ({}, {"dataset": {"label_seed": 0}}),
    ({}, {"dataset": {"with_validation": True}}),
    ({"dataset": {"labels": 90}}, {"dataset": {"draw": "random"}}),
    ({}, {"dataset": {"unlabeled": 100}}),
    ({}, {"normalization": "per_image"}),
    ({}, {"normalization": "zca"}),
    ({"model": {"name": "wide_resnet", "depth": 10, "width": 1}}, {"model": {"depth": 16}}),
    ({}, {"model": {"width": 5}}),
    ({}, {"model": {"dropout": 0.1}}),
    ({}, {"steps": 14}),
    ({}, {"batch_size": 24}),
    ({}, {"labeled_batch_fraction": 0.5}),
    ({}, {"class_loss_normalizer": "whole_batch"}),
    ({}, {"augmentation": {"translate": 1}}),
    ({}, {"augmentation": {"flip": True}}),
    ({}, {"augmentation": {"noise": 0.01}}),
    ({}, {"augmentation": {"crop": 7}}),
    ({"augmentation": {"crop": 7}}, {"augmentation": {"smallest_crop": 0.5}}),
    ({}, {"augmentation": {"rotate": 10.0}}),
    ({}, {"augmentation": {"brightness": 0.3}}),
    ({}, {"augmentation": {"contrast": 0.3}}),
    ({}, {"consistency": {"loss": "kl"}}),
    ({}, {"consistency": {"weight": 11.0}}),
    ({}, {"consistency": {"ramp_up": "linear"}}),
    ({}, {"consistency": {"ramp_up_steps": 3}}),
    ({}, {"consistency": {"images": "unlabeled"}}),
    ({}, {"consistency": {"heads": 2}}),
    ({"consistency": {"heads": 2}}, {"consistency": {"logit_distance_weight": 0.02}}),
    ({}, {"ema": {"decay": 0.6}}),
    ({"ema": {"decay": 0.6}, "consistency": {"ramp_up_steps": 9}}, {"ema": {"ramp_up_decay": 0.3}}),
    ({}, {"teacher": {"dropout": 0.2}}),
    ({}, {"teacher": {"noise": 0.2}}),
    ({"method": "pi_model"}, {"teacher": {"dropout": 0.2}}),
    ({"method": "pi_model"}, {"teacher": {"noise": 0.2}}),
    ({}, {"teacher": {"start": "independent"}}),
    ({}, {"teacher": EVAL}),
    ({"teacher": EVAL}, {"teacher": {"batch_norm": "averaged"}}),
    ({"method": "temporal_ensembling", "dataset": REVISITED}, {"ensemble": {"decay": 0.5}}),
    ({}, {"optimizer": {"learning_rate": 0.06}}),
    ({}, {"optimizer": {"momentum": 0.8}}),
    ({}, {"optimizer": {"nesterov": False}}),
    ({}, {"optimizer": {"weight_decay": 0.01}}),
    ({"optimizer": {"weight_decay": 0.1}}, {"optimizer": {"weight_decay_on": "weights"}}),
    ({"optimizer": {"name": "adam"}}, {"optimizer": {"learning_rate": 0.004}}),
    ({"optimizer": {"name": "adam"}}, {"optimizer": {"beta1": 0.8}}),
    ({"optimizer": {"name": "adam"}}, {"optimizer": {"beta2": 0.9}}),
    ({"optimizer": {"name": "adam"}}, {"optimizer": {"epsilon": 1e-3}}),
    ({"optimizer": {"name": "adam"}}, {"optimizer": {"weight_decay": 0.1}}),
    ({"optimizer": {"name": "adam"}, "schedule": {"warm_up_steps": 4}}, {"optimizer": {"warm_up_beta2": 0.9}}),
    ({"optimizer": {"name": "adam"}, "schedule": SLOWER}, {"optimizer": {"ramp_down_beta1": 0.3}}),
    ({"optimizer": {"name": "adam", "weight_decay": 0.1}}, {"optimizer": {"name": "adamw", "learning_rate": 0.003}}),
    ({}, {"schedule": {"name": "constant"}}),
    ({}, {"schedule": {"name": "quarter_cosine"}}),
    ({}, {"schedule": {"length": 20}}),
    ({"schedule": {"name": "quarter_cosine"}}, {"schedule": {"length": 20}}),
    ({}, {"schedule": {"warm_up_steps": 4}}),
    ({"schedule": {"warm_up_steps": 4}}, {"schedule": {"warm_up": "sigmoid"}}),
    ({"schedule": {"warm_up_steps": 4}}, {"schedule": {"warm_up_from": 0.1}}),
    ({"schedule": {"name": "constant"}}, {"schedule": SLOWER}),
    ({"schedule": SLOWER}, {"schedule": {"ramp_down_steps": 6}}),
    ({"schedule": {"name": "constant"}}, {"schedule": {"name": "step_decay", "at": [5]}}),
    ({"schedule": {"name": "step_decay", "at": [5]}}, {"schedule": {"at": [6]}}),
    ({"schedule": {"name": "step_decay", "at": [5]}}, {"schedule": {"factor": 0.5}}),
    ({}, {"precision": "bf16"}),
    ({}, {"seed": 1}),
]


@pytest.mark.filterwarnings("ignore:precision. bf16 is slower")
@pytest.mark.parametrize(("base", "change"), REACHING, ids=json.dumps)
def test_every_setting_reaches_the_run(base, change):
    def losses(*changes):
        settings = {"dataset": {"name": "digits", "labels": 20, "validation": 60}, "steps": 12, "evaluate_every": 3}
        settings["model"] = {"name": "small_cnn", "width": 4}
        for each in changes:
            for key, value in each.items():
                settings[key] = settings.get(key, {}) | value if isinstance(value, dict) else value
        return [report.metrics["train.loss"] for report in finished(config(**settings)).history]

    assert losses(base, change) != losses(base)


def test_every_setting_that_can_change_a_run_was_seen_to():
    def keys(annotation, prefix=""):
        """The dotted keys of settings, or of a union of settings."""
        if isinstance(annotation, type) and issubclass(annotation, Settings):
            for name, field in annotation.model_fields.items():
                yield from keys(field.annotation, f"{prefix}.{name}".lstrip("."))
        elif any(isinstance(one, type) and issubclass(one, Settings) for one in get_args(annotation)):
            for one in get_args(annotation):
                yield from keys(one, prefix)
        else:
            yield prefix

    changed = {
        f"{key}.{inner}" if isinstance(value, dict) else key
        for _, change in REACHING
        for key, value in change.items()
        for inner in (value if isinstance(value, dict) else [""])
    }
    # These say where images and work are, how fast it goes, and when one looks.
    others = {"channels_last", "compile", "device", "evaluate_every", "model.name", "verdict"}
    others |= {"dataset.name", "dataset.root", "dataset.image_size", "images"}
    # And these need other images than the digits: they are tested where they are.
    others |= {"dataset.extra", "dataset.label_file", "dataset.unreadable", "model.norm", "model.stem"}
    others |= {"augmentation.saturation", "augmentation.hue"}
    assert changed | others == set(keys(TrainerConfig))
    assert not changed & others
