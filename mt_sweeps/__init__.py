"""Sweeps over the hyper-parameters of `trainers`: search, ledger, execution and results.

From Python: `mt_sweeps.run("file.yaml")` and `mt_sweeps.load("name")`, both of which return a `Sweep`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mt_sweeps.api import Sweep, load, run

__all__ = ["run", "load", "Sweep"]


def __getattr__(name: str) -> Any:
    """Import the interface when it is first used: the commands, and every worker, import this package too."""
    if name in __all__:
        from mt_sweeps import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
