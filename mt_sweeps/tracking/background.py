"""A thread that keeps MLflow up to date: no outage of MLflow stops, slows or loses a sweep."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from mt_sweeps.errors import InputError
from mt_sweeps.tracking.mlflow_errors import first_line

T = TypeVar("T")


class BackgroundWriter:
    """Calls a function every few seconds in a thread of its own. An error of a call is kept, and the next call made.

    Args:
        sync: brings MLflow up to date.
        every: seconds between two calls.

    Attributes:
        error: why the last call failed, or None if it did not.
        is_permanent: True if that does not go away by itself: the end of the sweep does not wait for it.
        on_change: called with a message when the calls begin to fail, and when they succeed again.
    """

    def __init__(self, sync: Callable[[], object], every: float = 3.0) -> None:
        self.error: str | None = None
        self.is_permanent = False
        self.on_change: Callable[[str], None] = lambda _: None
        self._sync = sync
        self._every = every
        self._stopping = threading.Event()
        self._abandoned = False
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def start(self) -> None:
        """Start the thread; it makes its first call at once."""
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether a call is under way, or more are to come."""
        return self._thread.is_alive()

    def stop(self, seconds: float) -> bool:
        """Let the thread end after its next call that succeeds.

        Args:
            seconds: to wait for that.

        Returns:
            True if the thread has ended and its last call succeeded; else `error` says why not.
        """
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        if self.is_running:
            self.error = self.error or f"not done within {seconds:g} seconds"
        return not self.is_running and not self.is_permanent

    def abandon(self) -> None:
        """Make no more calls after the one that is under way."""
        self._abandoned = True
        self._stopping.set()

    def _work(self) -> None:
        while not self._abandoned:  # makes at least one call, even if it is stopped as soon as it starts
            error = self._call()
            if (error is None) != (self.error is None):
                text = (
                    "MLflow is up to date again"
                    if error is None
                    else f"MLflow is not up to date: {error}"
                    if self.is_permanent
                    else f"MLflow is behind, and catches up later: {error}"
                )
                self.on_change(text)
            self.error = error
            if self._stopping.wait(self._every):
                if error is None or self.is_permanent:
                    return
                time.sleep(min(1.0, self._every))

    def _call(self) -> str | None:
        self.is_permanent = False
        try:
            self._sync()
        except InputError as error:
            self.is_permanent = True
            return str(error)
        except Exception as error:  # of MLflow's client, its store or the network: none of them may stop the sweep
            return first_line(error)
        return None


def finish(
    writer: BackgroundWriter, last_call: Callable[[], T], seconds: float, how_to_complete: str = "try again later"
) -> tuple[T | None, str | None]:
    """Stop a writer, then make a last call in the same way.

    Args:
        writer: started or not.
        last_call: what is to be done at the end.
        seconds: that each of the two may take.
        how_to_complete: what the user can do if MLflow does not answer now.

    Returns:
        What the last call returned, and None; or None, and that MLflow is not complete, why, and what to do.
    """
    results: list[T] = []
    if not writer.stop(seconds):
        return None, _give_up(writer, how_to_complete)
    last = BackgroundWriter(lambda: results.append(last_call()), every=1.0)
    last.start()
    if not last.stop(seconds):
        return None, _give_up(last, how_to_complete)
    return results[-1], None


def _give_up(writer: BackgroundWriter, how_to_complete: str) -> str:
    writer.abandon()
    if writer.is_permanent:
        return f"MLflow is not up to date: {writer.error}"
    return f"MLflow is not up to date ({writer.error}); {how_to_complete}"
