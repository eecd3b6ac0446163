"""How this program is called, for the commands that it prints."""

import os


def program() -> str:
    """Return how the user calls this program: by uv, where uv started it."""
    return "uv run mt-sweep" if "UV_RUN_RECURSION_DEPTH" in os.environ else "mt-sweep"
