"""The MLflow of a home, a SQLite file and a folder: made, brought up to this version, and found wherever the home is.

MLflow keeps absolute addresses of files. When a home is opened whose store has those of another place, because the home
was moved or copied, they are changed to where it is now.
"""

import errno
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from filelock import FileLock

from mt_sweeps.errors import InputError
from mt_sweeps.program import program
from mt_sweeps.storage.home import Home
from mt_sweeps.storage.rdb import sqlite_url
from mt_sweeps.terminal import print
from trainers.files import cache_folder

_LOCK_SECONDS = 600  # that another process may take to make the store, or to bring it up to date
_PASSING = (  # errors of SQLite that say nothing of what the file holds: a full disk, say
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
)
# Every column of MLflow's tables that may hold the address of a file.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
# Experiments that mt-sweeps made: with runs of a sweep, or none yet. Others may be anywhere, and stay as they are.
_OWN_ROOTS = """
SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE 'file:///%/artifacts' AND (
  experiment_id NOT IN (SELECT experiment_id FROM runs)
  OR experiment_id IN (SELECT experiment_id FROM runs JOIN tags USING (run_uuid) WHERE key = 'mt.sweep')
)
"""


def embedded_uri(home: Home) -> str:
    """Return the address of the embedded store of a home, as MLflow takes it.

    MLflow makes the folder of an address as it is written, before SQLAlchemy decodes it. So a path with a character
    that must be encoded is reached by a link in the cache folder.

    Raises:
        InputError: the cache folder has such a path, too.
    """
    file = home.mlflow_db
    return f"sqlite:///{file if _is_plain(file) else _link(home.path) / file.name}"


@contextmanager
def opened(mlflow: Any, home: Home) -> Iterator[str]:
    """Make the embedded store ready, and yield its address. Within the block, no other process does so.

    Args:
        mlflow: the module.
        home: whose store it is; its folder must exist.

    Raises:
        InputError: the store is damaged or of a newer version, or the home is gone or cannot be written.
    """
    if not home.path.is_dir():
        raise InputError(f"{home.path}: the home is gone: it was removed or moved")
    try:
        with FileLock(home.path / "mlflow.lock", timeout=_LOCK_SECONDS):
            if home.mlflow_db.exists():
                _upgrade(home)
                _rebase(home)
            else:
                _create(mlflow, home)
            yield embedded_uri(home)
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        raise InputError(damage_text(home, str(error))) from None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR):
            raise
        raise InputError(
            f"{error.filename or home.path}: cannot be used ({error.strerror}); make it writable"
        ) from None


def damage_text(home: Home, problem: str) -> str:
    """Return the message for a store that cannot be used.

    Args:
        home: whose store it is.
        problem: what is wrong.
    """
    return (
        f"{home.mlflow_db}: is no MLflow store that can be used ({problem}); put back what was here, or move it away: "
        f"`{program()} sync SWEEP` makes the runs of a sweep again"
    )


def is_damage(error: BaseException) -> bool:
    """Return True if an error of MLflow says that the store itself is damaged, so that it does not go away."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    for cause in causes:
        if isinstance(cause, sqlite3.Error):
            return getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in _PASSING
    return any(type(cause).__module__.startswith("mlflow.") for cause in causes)


def _create(mlflow: Any, home: Home) -> None:
    """Create the store. Its tables are made in many steps: the file gets its name last, so that it is whole."""
    unfinished = home.path / ".mlflow.db.unfinished"
    unfinished.unlink(missing_ok=True)
    address = embedded_uri(home).removesuffix(home.mlflow_db.name) + unfinished.name
    mlflow.MlflowClient(address).search_experiments(max_results=1)
    unfinished.replace(home.mlflow_db)


def _upgrade(home: Home) -> None:
    """Bring a store of an older MLflow up to this one, after a copy was kept beside it.

    Raises:
        InputError: a newer MLflow wrote it, or it cannot be upgraded.
    """
    import mlflow.store.db_migrations
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    migrations = str(Path(mlflow.store.db_migrations.__file__).parent)
    scripts = ScriptDirectory(migrations)
    if not home.mlflow_db.is_file():
        raise InputError(damage_text(home, "it is not a file"))
    with closing(sqlite3.connect(home.mlflow_db)) as store:
        revision = store.execute("SELECT version_num FROM alembic_version").fetchone()
        newest = scripts.get_current_head()
        if revision == (newest,):
            return
        known = {script.revision for script in scripts.walk_revisions()}
        if revision is None or revision[0] not in known:
            problem = f"its schema {revision and revision[0]} is not one that MLflow {mlflow.__version__} knows"
            raise InputError(f"{home.mlflow_db}: {problem}; use the version of MLflow that wrote it, or a newer one")
        kept, work = (home.path / f"{name}.{revision[0]}" for name in ("mlflow.db", ".mlflow.db.upgrading"))
        for copy in (work, kept):
            copy.unlink(missing_ok=True)
            with closing(sqlite3.connect(copy)) as to:
                store.backup(to)
    config = Config()
    config.set_main_option("script_location", migrations.replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", sqlite_url(work).replace("%", "%%"))
    command.upgrade(config, "heads")
    work.replace(home.mlflow_db)
    print(f"note: {home.mlflow_db} was brought up to MLflow {mlflow.__version__}; as it was: {kept}", flush=True)


def _rebase(home: Home) -> None:
    """Change the addresses of files that belong to the home to where it is now, all of them or none."""
    here = home.artifacts.as_uri()
    with closing(sqlite3.connect(home.mlflow_db, timeout=60)) as store, store:
        roots = [root for (root,) in store.execute(_OWN_ROOTS) if root != here and not _is_same(root, home.artifacts)]
        for root in roots:
            for table, column in _ADDRESSES:
                store.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 (names from this file)
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (here, len(root) + 1, root, len(root) + 1, f"{root}/"),
                )


def _is_same(root: str, artifacts: Path) -> bool:
    """Return True if an address is that of the same folder, by a link or another mount."""
    try:
        return Path(url2pathname(urlparse(root).path)).samefile(artifacts)
    except OSError:
        return False


def _is_plain(file: Path) -> bool:
    return not any(character in str(file) for character in "%?")


def _link(folder: Path) -> Path:
    """Return a link to a folder whose own path is plain.

    Raises:
        InputError: there is no place for one.
    """
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    link = cache_folder().absolute() / "homes" / name
    if not _is_plain(link):
        raise InputError(f"{link}: MLflow takes no path with % or ?; set MT_SWEEP_CACHE to one without")
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        with suppress(FileExistsError):  # another process was quicker
            link.symlink_to(folder, target_is_directory=True)
    return link
