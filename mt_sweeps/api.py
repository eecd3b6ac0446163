"""Sweeps from Python, in a script or a notebook: `mt_sweeps.run`, `mt_sweeps.load`, and the `Sweep` that they return.

Heavy libraries are imported by the call that needs them.
"""

import html
import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mt_sweeps.errors import InputError
from mt_sweeps.formatting import duration, metric_text, value_text
from mt_sweeps.plugins import load_plugins
from mt_sweeps.results.best_file import BestFile, from_sweep
from mt_sweeps.results.finalists import Verdict, compare_finalists
from mt_sweeps.results.status import SweepStatus, sweep_status
from mt_sweeps.results.trials import table_columns, trial_rows
from mt_sweeps.search_space.space import Value
from mt_sweeps.storage.folder import names_at
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.storage.open import open_home
from mt_sweeps.study.ledger_view import ledger_of
from trainers.report import error_name

if TYPE_CHECKING:
    import pandas as pd

    from mt_sweeps.report.standalone import StandaloneFigure


def run(
    file: str | Path,
    *,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    trials: int | None = None,
    home: str | Path | None = None,
    in_process: bool = False,
) -> "Sweep":
    """Run a sweep to its end, as `mt-sweep run` does, and return it.

    Progress is printed. An interrupt (Ctrl+C, or the stop button of a notebook) ends the sweep, and
    `mt-sweep resume` goes on with it.

    Args:
        file: the search-space file.
        name: of the sweep; None: the name in the file, made unique.
        overrides: values for keys of the file, which are dotted: `{"trainer.steps": 100}`.
        trials: overrides the number of trials in the file.
        home: where sweeps live, a folder or `postgresql://...`; None: `MT_SWEEP_HOME`, or `./sweeps`.
        in_process: run the trials in this process, one after another, without Ray: for a debugger.

    Raises:
        InputError: the file or the machine cannot do it; nothing has started.
        SweepError: the sweep ended without a result.
    """
    _check_can_run()
    load_plugins(())
    address = None if home is None else str(home)
    if not Path(file).exists() and str(file) in names_at(address):
        raise InputError(
            f"{file}: is a sweep, and a file is needed here; look at it with mt_sweeps.load({str(file)!r})"
        )
    from mt_sweeps.commands.run import run_sweep  # loads MLflow's client and the trainer

    settings = tuple(f"{key}={_as_yaml(key, value)}" for key, value in (overrides or {}).items())
    with _terminated_as_interrupted():
        return Sweep(run_sweep(Path(file), open_home(address), name, settings, trials, in_process))


def load(name: str | None = None, *, home: str | Path | None = None) -> "Sweep":
    """Return a sweep, also one that still runs or was interrupted.

    Args:
        name: of the sweep; None: the newest.
        home: where sweeps live, a folder or `postgresql://...`; None: `MT_SWEEP_HOME`, or `./sweeps`.

    Raises:
        InputError: there is no such sweep.
    """
    load_plugins(())
    return Sweep(open_home(None if home is None else str(home)).sweep(name))


class Sweep:
    """What a sweep has found so far. Everything is read from its ledger when it is asked for.

    Args:
        store: of the sweep.

    Attributes:
        name: of the sweep.
    """

    def __init__(self, store: SweepStore) -> None:
        self.name = store.name
        self._store = store

    @property
    def status(self) -> dict[str, Any]:
        """What `mt-sweep status --json` prints: docs/json.md.

        Raises:
            InputError: the sweep cannot be read, as for all that follows.
        """
        return self._status().as_json()

    def trials(self) -> "pd.DataFrame":
        """Return all trials, the best of the search first: the columns of `mt-sweep trials --csv`, and their types.

        `started` is a time in UTC; errors are fractions; what a trial has no value for is missing.
        """
        import pandas as pd

        columns = table_columns(trial_rows(self._store))
        frame = pd.DataFrame({name: _series(values) for name, values in columns.items()})
        frame["started"] = pd.to_datetime(frame["started"], unit="s", utc=True)
        return frame.astype({"error": float, "standard_error": float})

    @property
    def best(self) -> BestFile:
        """The content of the best file that `mt-sweep export` writes: `searched` values, `validation` error, `trainer`.

        Raises:
            InputError: no trial has completed yet.
        """
        return from_sweep(self._store)

    @property
    def verdict(self) -> Verdict | None:
        """The mean errors of the finalists, with their comparisons; None while no contender has two seeds."""
        environment = self._store.load_environment()
        return compare_finalists(ledger_of(self._store), environment.images, environment.groups)

    @property
    def figures(self) -> "dict[str, StandaloneFigure]":
        """The figures of the report by title: SVG images, which a notebook shows and `save` writes."""
        from mt_sweeps.report.standalone import figures  # takes its time to load

        return figures(self._store)

    def __repr__(self) -> str:
        try:
            (_, state), *others = self._facts()
            return f"<Sweep {self.name}: {'; '.join([state, *(f'{name} {text}' for name, text in others)])}>"
        except InputError as error:
            return f"<Sweep {self.name}: cannot be read: {error}>"

    def _repr_html_(self) -> str:
        try:
            facts = [("sweep", self.name), *self._facts()]
            best = self._status().best
        except InputError:
            return html.escape(repr(self))
        facts += [] if best is None else [(key, value_text(value)) for key, value in best.values.items()]
        rows = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in facts)
        return f"<table>{rows}</table>"

    def _status(self) -> SweepStatus:
        return sweep_status(self._store)

    def _facts(self) -> list[tuple[str, str]]:
        """Return the sweep in a few lines, each with its name."""
        now, verdict = self._status(), self.verdict
        search = now.arms["search"]
        ended = search.complete + search.pruned + search.failed
        facts = [("state", f"{now.state}, {ended} of {search.total} trials, {duration(now.seconds)} of work")]
        if now.best is not None:
            error = metric_text(error_name(now.best.metric), (now.best.error, now.best.standard_error))
            facts.append(("best", f"trial {now.best.trial}, {error}"))
        if verdict is not None and verdict.gain is not None:
            facts.append(("gain", f"over the supervised baseline {verdict.gain}"))
        return facts


def _series(values: list[Value | None]) -> Any:
    """Return a column of a table; whole numbers and truth values stay what they are where some are missing."""
    import pandas as pd

    types = {type(value) for value in values}
    return pd.array(values) if types in ({int, type(None)}, {bool, type(None)}) else values


def _as_yaml(key: str, value: Any) -> str:
    """Return a value as an override of the file has it.

    Raises:
        InputError: it is none that a file can hold.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        allowed = "numbers, texts, True, False, None, and lists and dicts of them"
        raise InputError(f"overrides: {key}: {value!r} is nothing that a file can hold; use {allowed}") from None


def _check_can_run() -> None:
    """Make sure that a sweep can run in this thread of this process.

    Raises:
        InputError: it cannot; why, and what to do.
    """
    if threading.current_thread() is not threading.main_thread():
        raise InputError("mt_sweeps.run: runs in the main thread only, which is interrupted if Ray dies; call it there")
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        raise InputError("mt_sweeps.run: Ray runs in this process already; end it first with ray.shutdown()")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Make a SIGTERM an interrupt, as the command does: it ends the sweep, which can be resumed; the process stays."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
