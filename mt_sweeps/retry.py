"""Calls to servers that may be away for a while: they are made again."""

from collections.abc import Callable
from typing import TypeVar

RETRY_SECONDS = 600.0  # that a server of a team may be away; a sweep that waits longer ends, and can be resumed
_T = TypeVar("_T")


def retrying(
    call: Callable[[], _T], is_transient: Callable[[BaseException], bool], seconds: float = RETRY_SECONDS
) -> _T:
    """Return what a call returns, and make it again, at growing intervals, while it fails with a transient error.

    Args:
        call: may be made more than once.
        is_transient: returns True for an error that may go away by itself.
        seconds: after which no new try is made.

    Raises:
        Exception: the error of the last try.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential  # brings asyncio

    tries = Retrying(
        retry=retry_if_exception(is_transient),
        stop=stop_after_delay(seconds),
        wait=wait_exponential(0.1, max=3),
        reraise=True,
    )
    return tries(call)
