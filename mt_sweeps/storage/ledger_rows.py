"""What a ledger holds, as rows, and how to read them from a SQLite file.

Commands that only show something read the tables of the file directly: to load Optuna and SQLAlchemy takes a second,
and to make Optuna's objects of ten thousand trials takes four.
"""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mt_sweeps.errors import InputError

TABLES = "v3.2.0.a"
"""Version of Optuna's tables that `rows_of_file` reads."""


RANKED = "ranked/"
"""What the attributes of trials begin with that hold what the pruner compares at a step; the step follows."""


@dataclass(frozen=True)
class TrialRow:
    """One trial in the storage.

    Attributes:
        id: in the storage.
        number: in its study, from 0.
        state: the name that Optuna has for it.
        step: of its last report, 0 if it has none.
        attributes: as JSON, by name; those of `RANKED` are not read from a file either.
        values: of its reports, by step; not read from a file, as what is shown does not need them.
    """

    id: int
    number: int
    state: str
    step: int
    attributes: dict[str, str] = field(default_factory=dict)
    values: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyRows:
    """One study in the storage.

    Attributes:
        id: in the storage.
        attributes: by name.
        trials: in the order in which they were created.
    """

    id: int
    attributes: dict[str, Any]
    trials: list[TrialRow]


def check_file(file: Path) -> None:
    """Make sure that a ledger may be read, before SQLite makes an empty one in its place.

    Raises:
        InputError: there is no file.
    """
    if not file.exists():
        raise InputError(f"{file}: the ledger is missing, and with it all results of this sweep; start a new one")
    if not file.is_file() or not file.stat().st_size:
        raise InputError(f"{file}: is {'empty' if file.is_file() else 'not a file'}; put back the ledger that was here")


def rows_of_file(file: Path, names: Sequence[str]) -> list[StudyRows]:
    """Return the studies of these names from a SQLite file, all as they are at one moment.

    Raises:
        InputError: there is no file.
        sqlite3.Error: it is no ledger, or damaged.
        KeyError: a study is missing.
        TypeError: an attribute of a study is no text.
        ValueError: it is no JSON, or another version of Optuna has made the tables.
    """
    check_file(file)
    # Like Optuna, this may have to undo what a killed driver left half written, so the file is not opened as read-only.
    uri = f"{file.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, timeout=60, uri=True)) as store:
        store.execute("BEGIN")
        (tables,) = store.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
        if tables != TABLES:
            raise ValueError(f"its tables are of version {tables}, this version of mt-sweeps reads {TABLES}")
        ids = dict(store.execute("SELECT study_name, study_id FROM studies"))
        return [_study(store, ids[name]) for name in names]


def attributes_of_file(file: Path, name: str) -> dict[str, Any]:
    """Return the attributes of a study from a SQLite file, or nothing if it cannot be read."""
    uri = f"{file.absolute().as_uri()}?mode=rw"
    query = "SELECT key, value_json FROM study_user_attributes JOIN studies USING (study_id) WHERE study_name = ?"
    try:
        with closing(sqlite3.connect(uri, timeout=60, uri=True)) as store:
            return {key: json.loads(value) for key, value in store.execute(query, (name,))}
    except (sqlite3.Error, TypeError, ValueError):
        return {}


def _study(store: sqlite3.Connection, study: int) -> StudyRows:
    attributes = store.execute("SELECT key, value_json FROM study_user_attributes WHERE study_id = ?", (study,))
    steps = "SELECT max(step) FROM trial_intermediate_values AS report WHERE report.trial_id = trials.trial_id"
    trials = {
        row[0]: TrialRow(*row)
        for row in store.execute(
            f"SELECT trial_id, number, state, ifnull(({steps}), 0) FROM trials WHERE study_id = ? ORDER BY trial_id",  # noqa: S608
            (study,),
        )
    }
    for trial, key, value in store.execute(
        "SELECT trial_id, key, value_json FROM trial_user_attributes JOIN trials USING (trial_id) "
        "WHERE study_id = ? AND substr(key, 1, ?) <> ?",
        (study, len(RANKED), RANKED),
    ):
        trials[trial].attributes[key] = value
    return StudyRows(study, {key: json.loads(value) for key, value in attributes}, list(trials.values()))
