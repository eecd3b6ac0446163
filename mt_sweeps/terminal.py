"""What is sent to a terminal: keys, values, paths and names of classes may hold commands for it."""

import builtins
import os
import shutil
import sys
import textwrap
from typing import TextIO


def printable(text: object) -> str:
    """Return a text as it may be sent to a terminal: line by line, control characters shown as `\\x1b`."""
    from trainers.errors import escaped  # brings pydantic, which the help does without

    return "\n".join(map(escaped, str(text).split("\n")))


def fitted(text: str, stream: TextIO) -> str:
    """Return a text whose lines break between words where a terminal is too narrow for them, and keep their indent.

    Args:
        text: what is printed.
        stream: where; what is no terminal gets the lines as they are.
    """
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(part for line in text.split("\n") for part in _parts(line, width))


def _parts(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    indent = " " * min(len(line) - len(line.lstrip()), width // 2)
    return textwrap.wrap(
        line, width, subsequent_indent=indent, replace_whitespace=False, break_long_words=False, break_on_hyphens=False
    )


def print(text: object, *, file: TextIO | None = None, flush: bool = False) -> None:  # noqa: A001 (it stands for it)
    """Print a text as the built-in function does, with control characters shown, and fitted to the terminal."""
    builtins.print(fitted(printable(text), file or sys.stdout), file=file, flush=flush)


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
