"""Optuna may rename its private attributes in any version. These tests name the one that is missing."""

import inspect
import re
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, RDBStorage

import mt_sweeps
from mt_sweeps.storage import optuna_private
from mt_sweeps.storage.rdb import RetryingStorage


@pytest.fixture
def study():
    return optuna.create_study()


def checked(function, attribute, owner):
    """What a function of `optuna_private` returns; fails with the name of the attribute that Optuna no longer has."""
    try:
        return function(owner)
    except AttributeError:
        pytest.fail(f"Optuna {optuna.__version__}: {type(owner).__name__}.{attribute} is gone; see optuna_private.py")


def test_a_study_has_its_storage_and_its_id(study):
    storage = checked(optuna_private.storage_of, "_storage", study)
    assert isinstance(storage, BaseStorage)
    study_id = checked(optuna_private.study_id, "_study_id", study)
    assert storage.get_study_name_from_id(study_id) == study.study_name


def test_a_study_that_a_storage_lists_has_its_id(study):
    (frozen,) = optuna_private.storage_of(study).get_all_studies()
    assert isinstance(frozen, optuna_private.FrozenStudy)
    assert checked(optuna_private.study_id, "_study_id", frozen) == optuna_private.study_id(study)


def test_a_trial_has_its_id(study):
    study.ask()
    (frozen,) = study.get_trials()
    trial_id = checked(optuna_private.trial_id, "_trial_id", frozen)
    assert optuna_private.storage_of(study).get_trial(trial_id).number == frozen.number


def test_no_other_module_uses_a_private_attribute_of_optuna():
    for file in Path(mt_sweeps.__file__).parent.rglob("*.py"):
        uses = re.findall(r"(?<!self)\._(?:trial_id|study_id|storage)\b|optuna[\w.]*\._\w+", file.read_text())
        assert not uses or file.name == "optuna_private.py", f"{file}: {uses}"


def test_the_storage_repeats_calls_under_the_names_and_parameters_that_optuna_has():
    for name, method in vars(RetryingStorage).items():
        if inspect.isfunction(method) and name != "_retrying":
            theirs = getattr(RDBStorage, name, None)
            assert theirs is not None, f"Optuna {optuna.__version__}: RDBStorage.{name} is gone; see rdb.py"
            assert list(inspect.signature(method).parameters) == list(inspect.signature(theirs).parameters), name
