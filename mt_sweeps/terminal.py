"""What is sent to a terminal: keys, values, paths and names of classes may hold commands for it."""

import builtins
import os
import sys
from typing import TextIO


def printable(text: object) -> str:
    """Return a text as it may be sent to a terminal: line by line, control characters shown as `\\x1b`."""
    from trainers.errors import escaped  # brings pydantic, which the help does without

    return "\n".join(map(escaped, str(text).split("\n")))


def print(text: object, *, file: TextIO | None = None, flush: bool = False) -> None:  # noqa: A001 (it stands for it)
    """Print a text as the built-in function does, with control characters shown."""
    builtins.print(printable(text), file=file, flush=flush)


def can_redraw(stream: TextIO | None = None) -> bool:
    """Return True if what is printed can be drawn over later: on a terminal, and not in the cell of a notebook.

    The commands of a cell (`!mt-sweep ...`) get a terminal, too, whose output is kept as it comes. They are known by
    what the kernel leaves in their environment: its parent, or the backend of its figures.

    Args:
        stream: where it is printed; None: standard output.
    """
    backend = os.environ.get("MPLBACKEND", "")
    is_notebook = "JPY_PARENT_PID" in os.environ or backend.startswith(("module://matplotlib_inline", "module://ipyk"))
    return (stream or sys.stdout).isatty() and not is_notebook
