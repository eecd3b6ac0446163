"""What a shell offers after TAB: sweeps by name, search-space files. The user waits, so nothing heavy is imported."""

import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SHELLS = ("bash", "zsh", "fish")
_SUFFIXES = (".yaml", ".yml")
_MOST_ENTRIES = 2_000  # of a folder that are looked at: one of images may hold a million


def sweeps(context: click.Context, _: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Return the sweeps of the home whose names begin so."""
    from click.shell_completion import CompletionItem  # brings asyncio

    from mt_sweeps.storage.folder import names_at

    try:
        names = names_at(context.params.get("home"))
    except (OSError, RuntimeError):  # a folder that may not be read, `~` of a user who is not there
        return []
    return [CompletionItem(name) for name in reversed(names) if name.startswith(incomplete)]


def yaml_files(_: click.Context, __: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Return the YAML files whose paths begin so, also those a folder further down; if there are none, any path."""
    from click.shell_completion import CompletionItem

    above, begun = incomplete[: incomplete.rfind("/") + 1], incomplete[incomplete.rfind("/") + 1 :]
    files = []
    for entry in _entries(above or "."):
        if not entry.name.startswith(begun) or entry.name.startswith(".") > begun.startswith("."):
            continue
        below = _entries(entry.path) if _is_folder(entry) else ()
        files += [above + entry.name] if entry.name.endswith(_SUFFIXES) else []
        files += [f"{above}{entry.name}/{one.name}" for one in below if one.name.endswith(_SUFFIXES)]
    return [CompletionItem(file) for file in sorted(files)] or [CompletionItem(incomplete, type="file")]


def script(shell: str) -> str:
    """Return what a shell has to run so that it completes the commands.

    Args:
        shell: one of `SHELLS`.
    """
    from click.shell_completion import get_completion_class

    from mt_sweeps.cli import cli

    found = get_completion_class(shell)
    assert found is not None  # click has all of SHELLS
    return found(cli, {}, "mt-sweep", "_MT_SWEEP_COMPLETE").source()


def _entries(folder: str) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            yield from islice(entries, _MOST_ENTRIES)
    except OSError:  # no folder, or one that may not be read
        return


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
