"""A run depends on its configuration alone, also if it is resumed, repeated, or interleaved with another run."""

import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.training import (
    EVERY_NOISE,
    METHODS,
    assert_same,
    config,
    finished,
    in_fresh_process,
    results,
    saved_state,
    weights,
)
from trainers import Trainer, TrainerConfig, profiling
from trainers.data.augmentation import ViewAugmenter
from trainers.errors import CheckpointError

# Every method and whatever else keeps a state, with every source of randomness switched on.
NOISY = EVERY_NOISE | {"steps": 12, "evaluate_every": 3}
AUTHORS_ADAM = {"name": "adam", "warm_up_beta2": 0.99, "ramp_down_beta1": 0.5}
ARMS = {method: NOISY | {"method": method} for method in METHODS} | {
    "kl on the unlabeled": NOISY | {"consistency": {"loss": "kl", "images": "unlabeled"}},
    "two heads": NOISY | {"consistency": {"heads": 2}},
    "adam": NOISY
    | {"optimizer": AUTHORS_ADAM, "schedule": {"name": "ramp_down", "ramp_down_steps": 5, "warm_up_steps": 4}}
    | {"consistency": {"ramp_up_steps": 5}, "ema": {"decay": 0.9, "ramp_up_decay": 0.5}},
    "adamw": NOISY | {"optimizer": {"name": "adamw"}, "schedule": {"warm_up_steps": 4}},
    "averaged batch norm": NOISY | {"teacher": {"mode": "eval", "batch_norm": "averaged"}},
    "copied batch norm": NOISY | {"teacher": {"mode": "eval", "batch_norm": "copied"}},
    "independent start": NOISY | {"teacher": {"start": "independent", "noise": 0.3, "dropout": 0.1}},
    "pi_model with other dropout": NOISY | {"method": "pi_model", "teacher": {"dropout": 0.5}},
    "pi_model with a gradient through its targets": NOISY
    | {"method": "pi_model", "consistency": {"target_gradient": True}},
    "strong views and a weak teacher": NOISY
    | {
        "augmentation": {"translate": 1, "strong": "trivial_augment", "erase": 0.5},
        "teacher": {"augmentation": "weak"},
    },
    "rand_augment": NOISY
    | {"method": "pi_model"}
    | {"augmentation": {"strong": "rand_augment", "rand_operations": 3, "rand_magnitude": 5, "noise": 0.1}},
    "whole batch": NOISY | {"class_loss_normalizer": "whole_batch"},
    "confident targets from a late start on": NOISY
    | {"consistency": {"confidence": 0.13, "start": 2, "ramp_up_steps": 1}},
    "classes drawn equally often": NOISY | {"sampling": "class_balanced", "batch_size": 17},
    "weighted classes": NOISY | {"class_weights": {"3": 2.0}},
    "batches without unlabeled images": NOISY | {"labeled_batch_fraction": 1.0},
}


def stopped_after(reports: int, settings: TrainerConfig, directory: Path) -> None:
    for _ in itertools.islice(Trainer(settings, directory).run(), reports):
        pass
    torch.rand(7)  # whatever else the process did meanwhile


def leaves(value: Any, key: str = "") -> dict[str, Any]:
    """Return the values in a checkpoint by their paths in it."""
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: leaf for at, one in inner for name, leaf in leaves(one, f"{key}/{at}").items()}
    return {key: value}


def assert_same_end(ours: Path, theirs: Path) -> None:
    """Assert that two runs wrote the same checkpoint, except for its times, and the same best model."""
    checkpoints = [saved_state(folder / "checkpoint.pt") for folder in (ours, theirs)]
    timeless = [
        {key: leaf for key, leaf in leaves(checkpoint).items() if not re.search(r"seconds|/time|memory", key)}
        for checkpoint in checkpoints
    ]
    assert timeless[0].keys() == timeless[1].keys()
    assert [
        key
        for key, leaf in timeless[0].items()
        if not (torch.equal(leaf, timeless[1][key]) if isinstance(leaf, torch.Tensor) else leaf == timeless[1][key])
    ] == []
    assert_same(load_file(ours / "best.safetensors"), load_file(theirs / "best.safetensors"))


@pytest.mark.parametrize(
    "arm", [arm if arm in METHODS else pytest.param(arm, marks=pytest.mark.system) for arm in ARMS]
)
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, arm):
    settings = config(**ARMS[arm])
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    uninterrupted = finished(settings, whole)
    stopped_after(1, settings, parts)
    stopped_after(2, settings, parts)
    resumed = finished(settings, parts)
    assert len(results(resumed)) == 4
    assert results(resumed) == results(uninterrupted)
    assert_same_end(parts, whole)


@pytest.mark.system
@pytest.mark.parametrize("arm", METHODS)
def test_a_run_that_goes_on_from_the_checkpoint_before_a_torn_one_equals_an_uninterrupted_one(tmp_path, arm):
    settings = config(**ARMS[arm])
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    uninterrupted = finished(settings, whole)
    stopped_after(3, settings, torn)
    content = (torn / "checkpoint.pt").read_bytes()
    (torn / "checkpoint.pt").write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=r"checkpoint\.pt cannot be read .* going on from .*checkpoint\.previous\.pt"):
        resumed = Trainer(settings, torn)
    assert [report.step for report in resumed.history] == [3, 6]
    list(resumed.run())
    assert results(resumed) == results(uninterrupted)
    assert_same_end(torn, whole)


def test_a_run_that_died_between_two_reports_goes_on_from_the_first_of_them(tmp_path, monkeypatch):
    settings = config(**ARMS["mean_teacher"])
    uninterrupted = finished(settings)
    trainer, draw = Trainer(settings, tmp_path), ViewAugmenter.draw
    calls = []

    def dies(self, images, indices):
        calls.append(1)
        if len(calls) == 8:  # in the eighth of twelve steps
            raise MemoryError
        return draw(self, images, indices)

    monkeypatch.setattr(ViewAugmenter, "draw", dies)
    with pytest.raises(MemoryError):
        list(trainer.run())
    monkeypatch.undo()
    resumed = Trainer(settings, tmp_path)
    assert [report.step for report in resumed.history] == [3, 6]
    list(resumed.run())
    assert results(resumed) == results(uninterrupted)


def test_a_finished_run_that_is_resumed_has_its_history_and_nothing_to_do(tmp_path):
    trainer = finished(config(), tmp_path)
    content = (tmp_path / "checkpoint.pt").read_bytes()
    resumed = Trainer(config(), tmp_path)
    assert list(resumed.run()) == []
    assert resumed.history == trainer.history
    assert (tmp_path / "checkpoint.pt").read_bytes() == content


def test_the_seconds_of_a_run_go_on_where_they_stopped(tmp_path, monkeypatch):
    ticks = itertools.count()  # a clock that is a second later at every look
    monkeypatch.setattr(profiling, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    stopped_after(1, config(), tmp_path)
    metrics = [report.metrics for report in finished(config(), tmp_path).history]
    assert [of["time.data_seconds"] for of in metrics] == [2, 4, 6]  # two steps an interval, of a second each
    assert [of["time.step_seconds"] for of in metrics] == [2, 4, 6]
    assert [of["time.evaluation_seconds"] for of in metrics] == [1, 2, 3]
    assert [of["time.images_per_second"] for of in metrics] == [2 * 20 / 4] * 3  # without the evaluation


def test_a_checkpoint_of_another_run_is_refused_by_name(tmp_path):
    finished(config(), tmp_path)
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/checkpoint\.pt .*another configuration"):
        Trainer(config(seed=1), tmp_path)


ALONE = """
import json, os, sys
from pathlib import Path
from tests.helpers.training import finished, results
from trainers import TrainerConfig
for number, settings in enumerate(sys.argv[2:]):
    if os.fork() == 0:  # each in a process in which nothing was trained before; it is the imports that take time
        trainer = finished(TrainerConfig.model_validate_json(settings))
        trainer.save_model(Path(sys.argv[1]) / f"{number}.safetensors")
        Path(sys.argv[1], f"{number}.json").write_text(json.dumps(results(trainer)))
        os._exit(0)
    assert os.wait()[1] == 0
"""
ALONE_ARMS = [*METHODS, "two heads", "adam", "averaged batch norm", "independent start"]
ALONE_ARMS += ["strong views and a weak teacher"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """A folder with the results and the weights of each arm, trained in a fresh process."""
    folder = tmp_path_factory.mktemp("alone")
    in_fresh_process(ALONE, folder, *(config(**ARMS[arm]).model_dump_json() for arm in ALONE_ARMS))
    return folder


@pytest.mark.system
@pytest.mark.parametrize("arm", ALONE_ARMS)
def test_a_run_in_a_used_process_equals_one_in_a_fresh_process_bit_for_bit(tmp_path, alone, arm):
    settings = config(**ARMS[arm])
    first = finished(settings)
    finished(config(**ARMS["two heads"] | {"seed": 9, "model": {"name": "small_cnn", "width": 7, "dropout": 0.5}}))
    finished(config(**ARMS["pi_model with other dropout"]))
    second = finished(settings)
    fresh = alone / str(ALONE_ARMS.index(arm))
    assert results(first) == results(second) == json.loads(fresh.with_suffix(".json").read_text())
    for name, trainer in (("first", first), ("second", second)):
        assert_same(weights(trainer, tmp_path / name), load_file(fresh.with_suffix(".safetensors")))


@pytest.mark.system
@pytest.mark.parametrize("arm", METHODS)
def test_what_draws_random_numbers_between_two_reports_does_not_change_the_run(arm):
    settings = config(**ARMS[arm])
    disturbed = Trainer(settings)
    for _ in disturbed.run():
        torch.rand(3)  # a searcher, a plot, another trial
    assert results(disturbed) == results(finished(settings))


@pytest.mark.system
def test_two_runs_in_turns_equal_the_same_runs_one_after_the_other():
    for pair in itertools.pairwise(METHODS):
        settings = [config(**ARMS[method]) for method in pair]
        in_turns = [Trainer(each) for each in settings]
        for _ in zip(*(trainer.run() for trainer in in_turns), strict=True):
            pass
        assert [results(trainer) for trainer in in_turns] == [results(finished(each)) for each in settings]
