"""A run is a function of its configuration: stopped and resumed, repeated, or beside another run."""

import itertools
import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from tests.trainers.support import assert_same, config, finished, in_fresh_process, results, weights
from trainers import Trainer, mean_teacher
from trainers.data.augmentation import Views
from trainers.errors import CheckpointError

# The arms and losses, with every source of randomness switched on.
NOISY = {
    "model": {"name": "small_cnn", "width": 4, "dropout": 0.3},
    "augmentation": {"translate": 2, "flip": True, "noise": 0.1},
    "steps": 12,
    "evaluate_every": 3,
}
ARMS = {
    "mse": NOISY | {"consistency": {"loss": "mse"}},
    "kl": NOISY | {"consistency": {"loss": "kl"}},
    "supervised": NOISY | {"method": "supervised"},
}


@pytest.mark.parametrize("arm", ARMS)
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, arm):
    settings = config(**ARMS[arm])
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    uninterrupted = finished(settings, whole)
    for reports in (1, 2):  # stopped after the first report, and after two more
        for _, _report in zip(range(reports), Trainer(settings, parts).run(), strict=False):
            pass
        torch.rand(7)  # whatever else the process did meanwhile
    resumed = finished(settings, parts)
    assert len(results(resumed)) == 4
    assert results(resumed) == results(uninterrupted)
    assert_same(weights(resumed, tmp_path / "a"), weights(uninterrupted, tmp_path / "b"))
    assert_same(load_file(parts / "best.safetensors"), load_file(whole / "best.safetensors"))


def test_a_run_that_died_between_two_reports_goes_on_from_the_first_of_them(tmp_path, monkeypatch):
    settings = config(**ARMS["mse"])
    uninterrupted = finished(settings)
    trainer, draw = Trainer(settings, tmp_path), Views.draw
    calls = []

    def dies(self, indices):
        calls.append(1)
        if len(calls) == 2 * 7 + 2:  # in the eighth of twelve steps, with the teacher's view
            raise MemoryError
        return draw(self, indices)

    monkeypatch.setattr(Views, "draw", dies)
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


def test_the_seconds_of_training_and_of_evaluation_go_on_where_they_stopped(tmp_path, monkeypatch):
    ticks = itertools.count()  # a clock that is a second later at every look
    monkeypatch.setattr(mean_teacher, "time", SimpleNamespace(time=lambda: 0.0, perf_counter=lambda: next(ticks)))
    next(Trainer(config(), tmp_path).run())
    resumed = finished(config(), tmp_path)
    for name in ("time.train_seconds", "time.evaluation_seconds"):
        assert [report.metrics[name] for report in resumed.history] == [1, 2, 3]


def test_a_checkpoint_of_another_run_is_refused_by_name(tmp_path):
    finished(config(), tmp_path)
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/checkpoint\.pt .*another configuration"):
        Trainer(config(seed=1), tmp_path)


ALONE = """
import json, sys
from pathlib import Path
from tests.trainers.support import results
from trainers import Trainer, TrainerConfig
trainer = Trainer(TrainerConfig.model_validate_json(sys.argv[1]))
for _ in trainer.run():
    pass
trainer.save_model(Path(sys.argv[2]))
print(json.dumps(results(trainer)))
"""


def test_a_run_in_a_used_process_equals_one_in_a_fresh_process_bit_for_bit(tmp_path):
    settings = config(**ARMS["mse"])
    first = finished(settings)
    finished(config(**ARMS["kl"] | {"seed": 9, "model": {"name": "small_cnn", "width": 7, "dropout": 0.5}}))
    finished(config(**ARMS["supervised"]))
    second = finished(settings)
    alone = json.loads(in_fresh_process(ALONE, settings.model_dump_json(), tmp_path / "alone"))
    assert results(first) == results(second) == alone
    assert_same(weights(first, tmp_path / "first"), load_file(tmp_path / "alone"))
    assert_same(weights(second, tmp_path / "second"), load_file(tmp_path / "alone"))


def test_what_draws_random_numbers_between_two_reports_does_not_change_the_run():
    settings = config(**ARMS["mse"])
    disturbed = Trainer(settings)
    for _ in disturbed.run():
        torch.rand(3)  # a searcher, a plot, another trial
    assert results(disturbed) == results(finished(settings))


def test_two_runs_in_turns_equal_the_same_runs_one_after_the_other():
    settings = [config(**ARMS["mse"]), config(**ARMS["kl"])]
    in_turns = [Trainer(each) for each in settings]
    for _ in zip(*(trainer.run() for trainer in in_turns), strict=True):
        pass
    assert [results(trainer) for trainer in in_turns] == [results(finished(each)) for each in settings]
