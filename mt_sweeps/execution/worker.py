"""The Ray actor in which trials run, one after another, so that a process imports torch once."""

import ctypes
import signal
import sys
from typing import Any

from ray.tune import Trainable

from mt_sweeps.execution.attempt import Attempt


class TrialWorker(Trainable):  # type: ignore[misc]
    """Tune's side of an attempt. The process lives on for the next one, unless its GPU is lost: then Tune ends it."""

    def setup(self, config: dict[str, Any]) -> None:
        """Begin in a new process; the configuration is `{"assignment": Assignment}`."""
        _die_with_parent()
        self._attempt = Attempt(config["assignment"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial in the same process."""
        self._attempt.close()
        self._attempt = Attempt(new_config["assignment"])
        return True

    def step(self) -> dict[str, Any]:
        """Train to the next evaluation; the result is `{"outcome": Outcome}`, and Tune's own `done`."""
        outcome = self._attempt.advance()
        return {"outcome": outcome, "done": outcome.done}

    def cleanup(self) -> None:
        """End with the process."""
        self._attempt.close()


def _die_with_parent() -> None:
    """Have the kernel end this process with its parent.

    Ray's own way to end a worker whose node process was killed may hang, and leave it with its memory and its GPU.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
