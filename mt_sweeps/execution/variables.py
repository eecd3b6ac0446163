"""Set variables of the environment for a while: processes that are started meanwhile have them."""

import os
from collections.abc import Mapping

Before = dict[str, str | None]


def set_variables(variables: Mapping[str, str]) -> Before:
    """Set variables; return what each was before, None if it was not set."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    return before


def restore_variables(before: Before) -> None:
    """Undo `set_variables`."""
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
