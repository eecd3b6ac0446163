"""How much of many trials is drawn: a report on a thousand trials is to be read as quickly as one on sixteen."""

from collections.abc import Sequence
from typing import TypeVar

MOST_LINES = 100  # trials that are drawn as lines, spread evenly over their ranks
MOST_DOTS = 300  # that are drawn as dots, likewise

T = TypeVar("T")


def spread(items: Sequence[T], most: int = MOST_LINES) -> list[T]:
    """Return at most so many of the items, evenly spread, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
