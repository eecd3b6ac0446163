"""How commands print their answers and write their files."""

import json
import sys
from pathlib import Path

import click

from mt_sweeps.errors import InputError
from mt_sweeps.terminal import fitted, printable


def print_text(text: object, err: bool = False) -> None:
    """Print a text that may repeat what a user wrote, or what a file is called."""
    click.echo(fitted(printable(text), sys.stderr if err else sys.stdout), err=err)


def print_json(content: object) -> None:
    """Print the answer to a script."""
    click.echo(json.dumps(content, indent=2))


def not_replaced(output: Path, reason: str) -> InputError:
    """Return the error that says why a file is left as it is, and what to do."""
    return InputError(f"{output}: {reason}; choose another name with -o, or add --force")


def write_text(output: Path | None, text: str, force: bool, then: str) -> None:
    """Write a text to a file and say what is next, or print it.

    Args:
        output: the file; None: print the text.
        text: to write.
        force: replace a file that is there, and say so.
        then: what is next.

    Raises:
        InputError: there is a file, or it cannot be written.
    """
    from trainers.files import write_atomically

    if output is None:
        click.echo(text, nl=False)
        return
    if output.exists() and not force:
        raise not_replaced(output, "is there already")
    where = f"{output}, in the place of the file that was there" if output.is_file() else str(output)
    try:
        write_atomically(output, text)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}") from None
    print_text(f"written to {where}; {then}")
