"""The private attributes of Optuna that mt-sweeps needs. No other module uses one.

Optuna's storages find trials and studies by ids, which Optuna's public classes do not show.
`tests/mt_sweeps/storage/test_optuna_private.py` fails when a new version of Optuna names them differently.
"""

import json

from optuna.distributions import distribution_to_json
from optuna.storages import BaseStorage
from optuna.storages._rdb import models
from optuna.study import Study
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from sqlalchemy.orm import Session

__all__ = ["FrozenStudy", "add_trial", "storage_of", "study_id", "trial_id"]


def trial_id(trial: FrozenTrial) -> int:
    """Return the id of a trial in its storage."""
    return trial._trial_id


def study_id(study: Study | FrozenStudy) -> int:
    """Return the id of a study in its storage."""
    return study._study_id


def storage_of(study: Study) -> BaseStorage:
    """Return the storage that holds a study."""
    return study._storage


def add_trial(session: Session, study: int, trial: FrozenTrial) -> int:
    """Add a trial that has not ended to a study, and return its id; the caller commits.

    Its parameters are not compared with those of earlier trials, whose distributions never change in a sweep.
    """
    rows, params = models.TrialModel, models.TrialParamModel
    models.StudyModel.find_or_raise_by_id(study, session, for_update=True)  # so that two never get one number
    newest = session.query(rows.number).filter(rows.study_id == study).order_by(rows.trial_id.desc()).first()
    row = rows(
        study_id=study,
        number=newest.number + 1 if newest is not None else 0,
        state=trial.state,
        datetime_start=trial.datetime_start,
    )
    session.add(row)
    session.flush()
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        session.add(
            params(
                trial_id=row.trial_id,
                param_name=name,
                param_value=distribution.to_internal_repr(value),
                distribution_json=distribution_to_json(distribution),
            )
        )
    for kept, attributes in (
        (models.TrialUserAttributeModel, trial.user_attrs),
        (models.TrialSystemAttributeModel, trial.system_attrs),
    ):
        for key, value in attributes.items():
            session.add(kept(trial_id=row.trial_id, key=key, value_json=json.dumps(value)))
    return int(row.trial_id)
