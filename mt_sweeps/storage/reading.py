"""Reads the files of a home. What cannot be read is an error that names the file and says what to do."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mt_sweeps.errors import InputError

MAX_BYTES = 100_000_000  # of a file that is read whole: the largest, the result of a training, has a few megabytes


def read_bytes(file: Path, remedy: str) -> bytes:
    """Return the content of a file.

    Args:
        file: to read.
        remedy: what the user can do where the file cannot be read, for the error.

    Raises:
        InputError: the file is missing, empty, too large, no regular file, or cannot be read.
    """
    try:
        if file.exists() and not file.is_file():  # reading a pipe would wait for ever
            raise InputError(f"{file}: is not a file; {remedy}")
        if file.stat().st_size > MAX_BYTES:
            raise InputError(f"{file}: is larger than {MAX_BYTES:,} bytes, so mt-sweep did not write it; {remedy}")
        content = file.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{file}: is missing; {remedy}") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); {remedy}") from None
    if not content.strip(b"\0 \n"):
        raise InputError(f"{file}: is empty; {remedy}")
    return content


def read_text(file: Path, remedy: str) -> str:
    """Return the content of a UTF-8 file; arguments and errors as of `read_bytes`."""
    try:
        return read_bytes(file, remedy).decode()
    except UnicodeDecodeError:
        raise InputError(f"{file}: is not UTF-8 text; {remedy}") from None


def read_json(file: Path, remedy: str) -> Any:
    """Return the value in a JSON file; arguments and errors as of `read_bytes`."""
    text = read_text(file, remedy)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: is not JSON ({error}); {remedy}") from None


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Return the dotted key of the first value that does not fit (empty: all of it), and why it does not."""
    problem = error.errors()[0]
    return ".".join(map(str, problem["loc"])), problem["msg"]
