"""Servers that are away for a while: what was asked of them is asked again."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

RETRY_SECONDS = 600.0  # seconds that a server of a team may be away, before a sweep ends, resumable
_T = TypeVar("_T")


def retrying(call: Callable[[], _T], may_pass: Callable[[BaseException], bool], seconds: float = RETRY_SECONDS) -> _T:
    """What a call that may be made again returns.

    Args:
        call: made again, at growing intervals, for as long as it fails by something that may pass.
        may_pass: whether an error may go away by itself.
        seconds: after which the last error is raised.
    """
    again = Retrying(
        retry=retry_if_exception(may_pass),
        stop=stop_after_delay(seconds),
        wait=wait_exponential(0.1, max=3),
        reraise=True,
    )
    return again(call)
