import json

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.results import training_result
from mt_sweeps.results.training_result import RESULT, TrainingResult
from tests.helpers.training import config, evaluation

CLASSES = ["common", "rare"]


def result(**changes) -> TrainingResult:
    settings = {
        "sweep": "waste",
        "sweep_id": "abc",
        "trial": 3,
        "changed": [],
        "trainer": config(),
        "network": "teacher",
        "test": {"teacher": training_result.TestError.of(evaluation(0.25, 40), CLASSES)},
        "images": {},
        "data_fingerprint": "",
        "split_fingerprint": "",
        "versions": {},
        "time": 0.0,
        "classes": CLASSES,
    }
    return TrainingResult(**settings | changes)


def test_what_is_written_is_read_again(tmp_path):
    (tmp_path / RESULT).write_text(result().model_dump_json())
    assert training_result.load(tmp_path) == result()


def test_the_errors_of_the_classes_are_in_it():
    test = result().test["teacher"]
    assert test.class_errors == {"common": 0.25, "rare": 0.25}
    assert test.metrics["balanced_error"] == 0.25
    assert sum(name.endswith("standard_error") for name in test.metrics) == 3


def test_a_result_of_version_1_is_read_and_has_no_errors_of_classes(tmp_path):
    older = json.loads(result().model_dump_json(exclude={"classes"}))
    older["format"] = "mt-sweeps-trained/1"
    older["test"] = {"teacher": {"error": 0.25, "standard_error": 0.07, "images": 40}}
    (tmp_path / RESULT).write_text(json.dumps(older))
    read = training_result.load(tmp_path)
    assert read.test["teacher"].metrics == {"error": 0.25, "standard_error": 0.07}
    older["format"] = "mt-sweeps-trained/3"
    (tmp_path / RESULT).write_text(json.dumps(older))
    with pytest.raises(InputError, match="result of this version"):
        training_result.load(tmp_path)


def test_the_results_of_a_sweep_are_those_with_its_id(tmp_path):
    for i, sweep in enumerate(("abc", "other", "abc")):
        (tmp_path / f"{i}").mkdir()
        (tmp_path / f"{i}" / RESULT).write_text(result(sweep_id=sweep, trial=i).model_dump_json())
    (tmp_path / "unfinished").mkdir()
    assert [one.trial for one in training_result.of_sweep(tmp_path, "abc")] == [0, 2]
