"""The errors that end a command, with their exit status, and parts of their messages."""

import errno
import sqlite3
from collections.abc import Callable
from difflib import get_close_matches


class InputError(Exception):
    """What the user typed, or wrote in a file, cannot be done. Exit status 2.

    Args:
        problems: one line each: what is wrong, where, what is allowed, what to do.
    """

    exit_status = 2

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SweepError(Exception):
    """The sweep ended without a result. Exit status 1."""

    exit_status = 1


class Unfinished(SweepError):
    """The sweep was interrupted (Ray died, the disk is full), and `resume` continues it. Exit status 1."""


def did_you_mean(word: str, known: list[str]) -> str:
    """Return advice for an unknown word: the most similar known word, if there is one, and all known words."""
    close = get_close_matches(word[:100], known, n=1)
    question = f"did you mean {close[0]!r}? " if close else ""
    return f"{question}Known: {', '.join(sorted(known))}"


def short_repr(value: object, to_text: Callable[[object], str] = repr) -> str:
    """Return the representation of a value in one line of at most 60 characters.

    Args:
        value: any.
        to_text: `str` for a value without quotes.
    """
    try:
        text = to_text(value)
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return f"a value of type {type(value).__name__} too long to print"
    from trainers.errors import escaped  # brings pydantic, which the help does without

    text = escaped(text)
    return text if len(text) <= 60 else text[:57] + "..."


def trainer_error_text(error: Exception) -> str:
    """Return a trainer's error with `trainer` before it; a key becomes the key of the search-space file."""
    text = str(error)
    return f"trainer.{text}" if text.startswith(("dataset.", "model.")) else f"trainer: {text}"


def is_disk_full(error: BaseException | None) -> bool:
    """Return True if an error, or one that it was raised from, is a full disk or an exhausted quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def disk_full_text(cause: str, how_to_resume: str) -> str:
    """Return the message for a sweep that a full disk ended.

    Args:
        cause: what could not be written.
        how_to_resume: how the user continues the sweep.
    """
    return f"the disk is full ({cause}); make room, then {how_to_resume}"
