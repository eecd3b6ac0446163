"""A thread that brings MLflow up to date: no outage stops, slows or loses a sweep."""

import threading
import time
from collections.abc import Callable

from mt_sweeps.tracking.client import first_line


class BackgroundWriter:
    """Calls something every few seconds in a thread of its own, whatever becomes of the calls.

    Args:
        sync: brings the window up to date.
        every: seconds between calls.

    Attributes:
        trouble: why the last call failed; empty: it did not.
        on_change: told once when calls begin to fail, and once when they succeed again.
    """

    def __init__(self, sync: Callable[[], object], every: float = 3.0) -> None:
        self.error = ""
        self.on_change: Callable[[str], None] = lambda _: None
        self._catch_up = sync
        self._every = every
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="window", daemon=True)

    def start(self) -> None:
        """Begin; the first call is made at once."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether a call is still under way, or more are to come."""
        return self._thread.is_alive()

    def stop(self, seconds: float) -> bool:
        """No more calls once one succeeds; whether one did within so many seconds, else `trouble` says why not."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        if self.running:
            self.error = self.error or f"not done within {seconds:g} seconds"
        return not self.running

    def _work(self) -> None:
        while True:  # once at least, also where it is stopped as soon as it starts
            before = self.error
            try:
                self._catch_up()
                self.error = ""
            except Exception as error:  # the window may not stop the sweep
                self.error = first_line(error)
            if bool(before) != bool(self.error):
                self.on_change(
                    f"MLflow is behind, and catches up later: {self.error}"
                    if self.error
                    else "MLflow is up to date again"
                )
            if self._ending.wait(self._every):
                if not self.error:
                    return
                time.sleep(min(1.0, self._every))


def finish(writer: BackgroundWriter, last_call: Callable[[], object], seconds: float) -> str:
    """End a writer, then have a last call made by one of its own.

    Args:
        writer: that was started, or not.
        last_call: it.
        seconds: that each of the two may take.

    Returns:
        Why the window is not complete; empty: it is.
    """
    if not writer.stop(seconds):
        return writer.error
    last = BackgroundWriter(last_call, every=1.0)
    last.start()
    last.stop(seconds)
    return last.error
