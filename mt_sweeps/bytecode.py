"""Python compiles the libraries when it first imports them. That takes half a minute, so a message says it."""

import importlib.util
import os
import sys
from pathlib import Path


def note() -> str | None:
    """Return a message for the first start, while Python compiles the libraries; None if it has compiled them."""
    found = importlib.util.find_spec("torch")  # the largest; it is not imported here
    if found is None or found.origin is None:
        return None
    compiled = Path(importlib.util.cache_from_source(found.origin))
    if compiled.exists():
        return None
    if sys.dont_write_bytecode:
        return (
            "many commands start some seconds late: PYTHONDONTWRITEBYTECODE keeps Python from storing what it "
            "compiles; unset it"
        )
    if not os.access(compiled.parent if compiled.parent.exists() else compiled.parent.parent, os.W_OK):
        return (
            f"many commands start some seconds late: Python may not store what it compiles in {compiled.parent}; let "
            "it once, or set PYTHONPYCACHEPREFIX to a folder of yours"
        )
    return "first start here: Python compiles the libraries, once; it takes up to half a minute"
