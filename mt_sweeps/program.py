"""How this program is called, for the commands that it prints."""

import os


def program() -> str:
    """Return how the user calls this program: by uv, where uv started it.

    It is for commands that are typed where this was printed. What is typed elsewhere, such as the command that a report
    has to reproduce a sweep, has plain `mt-sweep`.
    """
    return "uv run mt-sweep" if "UV_RUN_RECURSION_DEPTH" in os.environ else "mt-sweep"
