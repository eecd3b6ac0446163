"""What is sent to a terminal: keys, values, paths and names of classes may hold commands for it."""

import builtins
from typing import TextIO


def printable(text: object) -> str:
    """Return a text as it may be sent to a terminal: line by line, control characters shown as `\\x1b`."""
    from trainers.errors import escaped  # brings pydantic, which the help does without

    return "\n".join(map(escaped, str(text).split("\n")))


def print(text: object, *, file: TextIO | None = None, flush: bool = False) -> None:  # noqa: A001 (it stands for it)
    """Print a text as the built-in function does, with control characters shown."""
    builtins.print(printable(text), file=file, flush=flush)
