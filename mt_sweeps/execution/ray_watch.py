"""Watch the processes of the Ray that was started here: if one dies, Ray itself waits for minutes, or for ever."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

from mt_sweeps.errors import Unfinished
from mt_sweeps.execution import ray_private
from mt_sweeps.execution.ray_address import cluster_address

_INDISPENSABLE = ("raylet", "gcs_server")  # no trial can run without them
_START_SECONDS = 180  # that Ray may take to start; later it would abort the process, in words of its own
_INTERRUPT_SECONDS = 15  # that a call into Ray may need to notice an interrupt; then the process is ended


@contextlib.contextmanager
def watched_start(clean_up: Callable[[], object]) -> Iterator[None]:
    """End this process in words if Ray's start takes too long, or waits for a process that died: it would abort.

    Args:
        clean_up: is called before the process ends.
    """
    before, end = ray_private.local_node(), time.monotonic() + _START_SECONDS

    def watch(over: threading.Event) -> None:
        while not over.wait(0.2):
            dead = dead_process() if ray_private.local_node() not in (None, before) else None
            if time.monotonic() > end or (dead is not None and not over.wait(_INTERRUPT_SECONDS)):
                kill()
                clean_up()
                _leave(not_started(f"its {dead} has died" if dead else f"it has not within {_START_SECONDS} s"))
                return

    with _beside("ray-start-watch", watch):
        yield


def not_started(why: str) -> Unfinished:
    """Return the error that ends a command because Ray did not start."""
    return Unfinished(
        f"Ray does not start on this machine ({why}): something killed it, or the machine ran out of memory, of disk, "
        "or of files that may be open; nothing is lost, type the same command again"
    )


@contextlib.contextmanager
def watchdog(resume_command: str) -> Iterator[None]:
    """End the work of the main thread at once if a process dies that Ray cannot do without.

    Args:
        resume_command: what to type to go on.

    Raises:
        Unfinished: such a process died.
    """
    dead: str | None = None

    def death(name: str) -> Unfinished:
        return Unfinished(
            f"Ray's {name} has died: something killed it, or the machine ran out of memory; nothing is lost, resume "
            f"with `{resume_command}`"
        )

    def watch(over: threading.Event) -> None:
        nonlocal dead
        while not over.wait(0.2):
            dead = dead_process()
            if dead is not None:
                os.kill(os.getpid(), signal.SIGTERM)  # a KeyboardInterrupt in the main thread, whatever it waits for
                if not over.wait(_INTERRUPT_SECONDS):
                    _leave(death(dead))
                return

    with _beside("ray-watch", watch):
        try:
            yield
        except BaseException:
            name = dead or dead_process()
            if name is not None:
                kill()  # at once: what is left of Ray would go on to print its own logs
                raise death(name) from None
            raise


def dead_process() -> str | None:
    """Return the name of a process of Ray that died and that no trial can run without, or None if all are alive.

    In a cluster that was joined, Ray itself ends a driver whose node is gone, so this is None.
    """
    if cluster_address() is not None:
        return None
    node = ray_private.local_node()
    alive = ray_private.live_processes(node) if node is not None else _INDISPENSABLE
    return next((name for name in _INDISPENSABLE if name not in alive), None)


def kill() -> None:
    """Kill what is left of Ray: an orderly end would wait for the process that is gone."""
    node = ray_private.local_node()
    if node is not None:
        ray_private.kill_all_processes(node)


@contextlib.contextmanager
def _beside(name: str, work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run a function in a thread beside the block; its argument is set when the block is over."""
    over = threading.Event()
    threading.Thread(target=work, args=(over,), name=name, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _leave(error: Unfinished) -> None:
    """End this process at once, whatever its main thread waits for."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    os._exit(error.exit_status)
