"""What is said to the person at the terminal, and with which exit status."""


class InputError(Exception):
    """What was typed or written cannot be done. Exit status 2.

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
    """The machine failed the sweep (Ray died, the disk is full); `resume` goes on where it was. Exit status 1."""
