"""The private attributes of Optuna that mt-sweeps needs. No other module uses one.

Optuna's storages find trials and studies by ids, which Optuna's public classes do not show.
`tests/mt_sweeps/storage/test_optuna_private.py` fails when a new version of Optuna names them differently.
"""

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial

__all__ = ["FrozenStudy", "storage_of", "study_id", "trial_id"]


def trial_id(trial: FrozenTrial) -> int:
    """Return the id of a trial in its storage."""
    return trial._trial_id


def study_id(study: Study | FrozenStudy) -> int:
    """Return the id of a study in its storage."""
    return study._study_id


def storage_of(study: Study) -> BaseStorage:
    """Return the storage that holds a study."""
    return study._storage
