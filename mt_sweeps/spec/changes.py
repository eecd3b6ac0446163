"""What may change in the specification of a sweep while it is interrupted."""

from typing import Any

from mt_sweeps.spec.dotted import dotted

CHANGEABLE_ON_RESUME = {"trials", "budget", "resources", "tracking"}
"""Sections of a specification that may change while a sweep is interrupted."""


def forbidden_changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the differences between two specifications that a resume does not allow, one line per key.

    Args:
        before: the specification that the sweep was started with, as JSON has it.
        after: the specification that it would go on with.
    """
    old, new = dotted(before), dotted(after)
    return [
        f"{key}: the sweep was started with {old.get(key, 'none')}, now it is {new.get(key, 'none')}"
        for key in {**old, **new}
        if key.split(".")[0] not in CHANGEABLE_ON_RESUME and old.get(key) != new.get(key)
    ]
