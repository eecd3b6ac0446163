"""Run a command of the user's with the status of a sweep as JSON on its standard input."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from mt_sweeps.errors import InputError
from mt_sweeps.results.status import sweep_status
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.terminal import print

SECONDS = 30  # that the command may take; then it is ended

Event = Literal["ended", "trial_failed"]


class Notifier:
    """Runs a command when a sweep has ended, however it did, and once when a trial has failed.

    What goes wrong with the command is printed, and changes nothing for the sweep.

    Args:
        command: as a shell takes it; None: nothing is run.
        sweep: the sweep.
    """

    def __init__(self, command: str | None, sweep: SweepStore) -> None:
        self._command = command
        self._sweep = sweep
        self._has_failed = False

    @contextmanager
    def at_the_end(self) -> Iterator[None]:
        """Run the command when the block has ended, unless the sweep was refused before anything started."""
        try:
            yield
        except InputError:
            raise
        except BaseException:
            self._notify("ended")
            raise
        self._notify("ended")

    def trial_failed(self) -> None:
        """Run the command in the background since a trial has failed; only the first time."""
        if not self._has_failed:
            self._has_failed = True
            threading.Thread(target=self._notify, args=("trial_failed",), name="notify", daemon=True).start()

    def _notify(self, event: Event) -> None:
        if self._command is None or self._sweep.is_gone:
            return
        try:
            content = json.dumps({"event": event, **sweep_status(self._sweep).as_json()})
            done = subprocess.run(  # noqa: S602 (it is the user's own command, from the command line alone)
                self._command, shell=True, input=content, text=True, capture_output=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            print(f"--notify: the command did not end within {SECONDS} s, and was ended", flush=True)
        except Exception as error:  # of a ledger that cannot be read, or of the system: it is no fault of the sweep
            print(f"--notify: the command was not run ({type(error).__name__}: {error})", flush=True)
        else:
            if done.returncode:
                first = (done.stderr or done.stdout).strip().partition("\n")[0]
                why = f": {first}" if first else ""
                print(f"--notify: the command ended with status {done.returncode}{why}", flush=True)
