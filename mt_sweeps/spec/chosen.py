"""Values that `init` chooses for a search-space file, each with its reason."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Chosen:
    """A value of the search-space file, and why it is that one."""

    value: Any
    why: str = ""


Entries = dict[tuple[str, ...], Chosen]
"""Entries of a file by their paths in it, in order. A searched key is one part of its path."""
