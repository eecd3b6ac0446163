"""The clock that decisions of a sweep depend on. Python's module `time` is one; a simulation has its own."""

from typing import Protocol


class Clock(Protocol):
    """Tells the time, in two ways."""

    def time(self) -> float:
        """Return seconds since 1970. People and other machines know this time; it may be set, and so jump."""

    def monotonic(self) -> float:
        """Return seconds since some moment. It never jumps, and means nothing to another process."""
