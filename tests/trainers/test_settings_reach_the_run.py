"""Every setting has an effect: changed alone, it changes the losses of a run, for each method that it concerns."""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest

from mt_sweeps.spec.validation_errors import dotted_keys
from tests.helpers.training import METHODS, REVISITED, config, finished, results, write_image
from trainers import TrainerConfig
from trainers.config.compatibility import idle_settings, is_idle
from trainers.errors import DataError

Values = dict[str, Any]
"""Settings by dotted key."""

RUN: Values = {"dataset": REVISITED, "steps": 6, "evaluate_every": 6}
PHOTOGRAPHS: Values = {
    "dataset": {"name": "image_folder", "root": "images", "labels": 8, "validation": 4},
    "batch_size": 8,
    "labeled_batch_fraction": 0.5,
}
"""Colour images of 32 pixels per side, which some settings need."""

BRIEFLY: Values = {"dataset.unlabeled": 3, "batch_size": 4, "steps": 2, "evaluate_every": 2}

KINDS: dict[str, dict[str, Values]] = {
    "model": {
        "small_cnn": {"model.width": 4},
        "conv_large": PHOTOGRAPHS | BRIEFLY | {"augmentation.crop": 12},
        "shake_shake": BRIEFLY | {"model.width": 4},
        "wide_resnet": BRIEFLY | {"model.depth": 10, "model.width": 1},
        "resnet18": PHOTOGRAPHS | BRIEFLY | {"model.stem": "large"},
        "timm": PHOTOGRAPHS | BRIEFLY | {"model.architecture": "test_resnet"},
    },
    "optimizer": {"sgd": {}, "adam": {}, "adamw": {}},
    "schedule": {
        "half_cosine": {},
        "quarter_cosine": {},
        "constant": {},
        "ramp_down": {"schedule.ramp_down_steps": 4},
        "step_decay": {"schedule.at": [2]},
    },
}
"""For each group with several kinds, the settings that a run with that kind needs."""

CHANGES: dict[str, tuple[Values, Any]] = {  # key: (what the setting needs to have an effect, another value)
    "augmentation.brightness": ({}, 0.3),
    "augmentation.contrast": ({}, 0.3),
    "augmentation.crop": ({}, 7),
    "augmentation.erase": ({}, 0.5),
    "augmentation.flip": ({}, True),
    "augmentation.hue": (PHOTOGRAPHS, 0.3),
    "augmentation.noise": ({}, 0.01),
    "augmentation.rand_magnitude": ({"augmentation.strong": "rand_augment"}, 20),
    "augmentation.rand_operations": ({"augmentation.strong": "rand_augment"}, 1),
    "augmentation.rotate": ({}, 10.0),
    "augmentation.saturation": (PHOTOGRAPHS, 0.5),
    "augmentation.smallest_crop": ({"augmentation.crop": 7}, 0.5),
    "augmentation.strong": ({}, "trivial_augment"),
    "augmentation.translate": ({}, 1),
    "batch_size": ({}, 24),
    "class_weights": ({}, {"3": 2.0}),
    "class_loss_normalizer": ({}, "whole_batch"),
    "consistency.confidence": ({}, 0.16),
    "consistency.heads": ({}, 2),
    "consistency.images": ({}, "unlabeled"),
    "consistency.logit_distance_weight": ({"consistency.heads": 2}, 0.02),
    "consistency.loss": ({}, "kl"),
    "consistency.ramp_up": ({"consistency.ramp_up_steps": 5}, "linear"),
    "consistency.ramp_up_steps": ({}, 5),
    "consistency.start": ({}, 5),
    "consistency.target_gradient": ({}, True),
    "consistency.weight": ({}, 11.0),
    "dataset.draw": ({"dataset.labels": 90, "dataset.verdict": 1000}, "random"),
    "dataset.image_size": (PHOTOGRAPHS, 16),
    "dataset.label_file": (PHOTOGRAPHS, "labels.txt"),
    "dataset.label_seed": ({}, 0),
    "dataset.labels": ({}, 30),
    "dataset.pixel_range": (PHOTOGRAPHS | {"dataset.root": "wide images"}, [0, 30000]),
    "dataset.root": (PHOTOGRAPHS, "other images"),
    "dataset.split_seed": ({}, 1),
    "dataset.unlabeled": ({}, 30),
    "dataset.unreadable": (PHOTOGRAPHS | {"dataset.root": "torn images"}, "skip"),
    "dataset.validation": ({}, 70),
    "dataset.verdict": ({}, 1300),
    "dataset.with_validation": ({}, True),
    "ema.decay": ({}, 0.6),
    "ema.ramp_up_decay": ({"ema.decay": 0.6, "consistency.ramp_up_steps": 5}, 0.3),
    "ensemble.decay": ({"steps": 12, "evaluate_every": 12}, 0.5),
    "labeled_batch_fraction": ({}, 0.5),
    "model.architecture": ({}, "test_efficientnet"),
    "model.depth": ({}, 16),
    "model.dropout": ({}, 0.1),
    "model.norm": ({}, "weight"),
    "model.stem": ({}, "small"),
    "model.width": ({}, 5),
    "normalization": ({}, "per_image"),
    "optimizer.beta1": ({}, 0.8),
    "optimizer.beta2": ({}, 0.9),
    "optimizer.body_learning_rate_factor": ({}, 0.5),
    "optimizer.epsilon": ({}, 1e-3),
    "optimizer.learning_rate": ({}, 0.04),
    "optimizer.momentum": ({}, 0.8),
    "optimizer.nesterov": ({}, False),
    "optimizer.ramp_down_beta1": ({"schedule.name": "ramp_down", "schedule.ramp_down_steps": 4}, 0.3),
    "optimizer.warm_up_beta2": ({"schedule.warm_up_steps": 4}, 0.9),
    "optimizer.weight_decay": ({}, 0.1),
    "optimizer.weight_decay_on": ({"optimizer.weight_decay": 0.1}, "weights"),
    "precision": ({}, "bf16"),
    "sampling": ({}, "class_balanced"),
    "schedule.at": ({}, [3]),
    "schedule.factor": ({}, 0.5),
    "schedule.length": ({}, 20),
    "schedule.ramp_down_steps": ({}, 5),
    "schedule.warm_up": ({"schedule.warm_up_steps": 4}, "sigmoid"),
    "schedule.warm_up_from": ({"schedule.warm_up_steps": 4}, 0.1),
    "schedule.warm_up_steps": ({}, 4),
    "seed": ({}, 1),
    "steps": ({}, 8),
    "teacher.augmentation": ({"augmentation.noise": 0.1}, "weak"),
    "teacher.dropout": ({}, 0.2),
    "teacher.noise": ({}, 0.2),
    "teacher.start": ({}, "independent"),
}

SLOW = ("model.architecture", "model.norm", "model.stem")  # they belong to large networks

SHOWN_BELOW = {
    *("model.name", "optimizer.name", "schedule.name", "dataset.name", "method"),
    *("teacher.mode", "teacher.batch_norm"),  # one cannot change without the other
    *("evaluate_every", "verdict"),  # they change the reports, not the losses
}
SHOWN_ELSEWHERE = {
    "channels_last": "the layout in memory; test_precision_and_compile.py",
    "compile": "the speed; test_precision_and_compile.py",
    "dataset.conflicts": "images under two classes; data/test_overlaps.py",
    "dataset.test_label_file": "the test images; data/test_label_table.py",
    "dataset.extra": "images that are downloaded; data/test_downloads.py",
    "dataset.fold": "what one training of a cross-validation holds out; data/test_folds.py",
    "dataset.folds": "a training per part of the labels; test_cross_validation.py",
    "dataset.groups": "what serves a purpose together; data/test_overlaps.py",
    "deterministic": "how CUDA computes; test_determinism.py",
    "device": "where the run computes; tests have the CPU alone",
    "images": "where the images lie; data/test_loaders.py",
    "model.batch_norm": "the statistics that came with first weights; test_probe.py",
    "model.head": "the heads of a network with first weights; test_probe.py",
    "model.weights": "the first weights, from a file; models/test_first_weights.py",
}
"""Settings that change no result, or that cannot be tested in this file: what they change, and where it is tested."""


def nested(values: Values) -> dict[str, Any]:
    """Turn settings by dotted key into nested settings."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        group, _, name = key.rpartition(".")
        target = result.setdefault(group, {}) if group else result
        target[name] = dict(value) if isinstance(value, dict) else value
    return result


def kinds_with(key: str) -> dict[str, Values]:
    """Return the kinds that have a setting, with the settings a run needs; one nameless kind if its group has none."""
    group, _, name = key.rpartition(".")
    if group not in KINDS:
        return {"": {}}
    members = get_args(TrainerConfig.model_fields[group].annotation)
    classes = {kind: member for member in members for kind in get_args(member.model_fields["name"].annotation)}
    return {
        kind: {f"{group}.name": kind} | needs
        for kind, needs in KINDS[group].items()
        if name in classes[kind].model_fields
    }


def has_idle(run: Values, keys: Iterable[str]) -> bool:
    """Return whether one of these settings has no effect on a run."""
    idle = idle_settings(config(**nested(run)))
    return any(is_idle(key, idle) for key in keys)


def cases() -> Iterator[Any]:
    """Yield (run, changed setting) for each setting, each kind that has it and each method that it concerns."""
    for key, (needs, value) in CHANGES.items():
        group, kinds = key.partition(".")[0], kinds_with(key)
        for kind, of_kind in kinds.items():
            # The images of a run are chosen before its method matters.
            for method in METHODS if group != "dataset" else ["mean_teacher"]:
                base = RUN | {"method": method} | of_kind
                if has_idle(base, needs) or has_idle(base | needs, [key]):
                    continue
                of_methods = group in ("consistency", "ema", "ensemble", "teacher")
                first = method == "mean_teacher" and kind == next(iter(kinds)) and key not in SLOW
                marks = [] if first or of_methods else [pytest.mark.system]
                name = "-".join(filter(None, (key, kind, method)))
                yield pytest.param(base | needs, {key: value}, id=name, marks=marks)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 30, 32, 32, 3), np.uint8)
    for images, name in zip(pixels, ("images", "other images", "torn images"), strict=True):
        for i, image in enumerate(images):
            write_image(folder / name / "train" / "ab"[i % 2] / f"{i}.png", image)
    torn = folder / "torn images" / "train" / "a" / "0.png"
    torn.write_bytes(torn.read_bytes()[:100])
    for i, image in enumerate(pixels[0, ..., 0].astype(np.uint16) * 257):
        write_image(folder / "wide images" / "train" / "ab"[i % 2] / f"{i}.png", image)
    (folder / "labels.txt").write_text("".join(f"{'ab'[i % 2]}/{i}.png {'ba'[i % 2]}\n" for i in range(20)))
    return folder


@pytest.fixture(autouse=True)
def _beside_the_photographs(photographs, monkeypatch):
    monkeypatch.chdir(photographs)


def losses(run: Values) -> list[float] | str:
    """Return the mean loss of each interval of a run, or "refused" if its images are."""
    return _losses(json.dumps(nested(run)))


@cache
def _losses(settings: str) -> list[float] | str:
    try:
        return [report.metrics["train.loss"] for report in finished(config(**json.loads(settings))).history]
    except DataError:
        return "refused"


@pytest.mark.filterwarnings("ignore:precision. bf16 is slower")
@pytest.mark.parametrize(("run", "change"), [*cases()])
def test_a_changed_setting_changes_the_losses(run, change):
    assert losses(run | change) != losses(run)


@pytest.mark.system
@pytest.mark.parametrize("group", ["optimizer", "schedule"])
@pytest.mark.parametrize("method", METHODS)
def test_each_kind_of_a_group_gives_losses_of_its_own(group, method):
    runs = [losses(RUN | {"method": method, f"{group}.name": kind} | needs) for kind, needs in KINDS[group].items()]
    assert all(one not in runs[:i] for i, one in enumerate(runs))


def test_each_method_network_and_data_set_gives_losses_of_its_own():
    changes = [{"method": method} for method in METHODS]
    changes += [KINDS["model"][name] | {"model.name": name} for name in ("shake_shake", "wide_resnet")]
    runs = [losses(RUN | change) for change in [*changes, PHOTOGRAPHS]]
    assert all(one not in runs[:i] for i, one in enumerate(runs))


def test_the_mode_and_the_batch_norm_of_the_teacher_change_the_losses():
    runs = [losses(RUN | {"teacher": {"mode": "eval", "batch_norm": kind}}) for kind in ("copied", "averaged")]
    assert all(one not in runs[:i] for i, one in enumerate([*runs, losses(RUN)]))


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_evaluated_every_so_many_steps(method):
    for every, steps in ((3, [3, 6]), (4, [4, 6])):
        assert [
            one["step"]
            for one in results(finished(config(**nested(RUN | {"method": method, "evaluate_every": every}))))
        ] == steps


def test_the_verdict_images_are_scored_if_the_run_is_one_of_a_finalist():
    assert [
        any(name.startswith("verdict.") for name in results(finished(config(**nested(RUN | {"verdict": verdict}))))[-1])
        for verdict in (False, True)
    ] == [False, True]


def test_every_setting_is_changed_in_one_of_these_tests():
    assert sorted([*CHANGES, *SHOWN_BELOW, *SHOWN_ELSEWHERE]) == dotted_keys(TrainerConfig)
    for group, kinds in KINDS.items():
        assert kinds_with(f"{group}.name").keys() == kinds.keys()
