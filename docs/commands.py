"""Write docs/commands.md, the help of every command: `uv run --group dev python docs/commands.py`."""

from pathlib import Path

from click.testing import CliRunner

from mt_sweeps.cli import cli

PAGE = Path(__file__).with_suffix(".md")
WIDTH = 100  # columns, whatever the terminal has
INTRODUCTION = """\
# The commands

*For everyone who types commands. It answers what each takes: this is what `mt-sweep COMMAND --help` prints.*

If you leave SWEEP out, the newest is meant.

| exit status | meaning |
|---|---|
| 0 | done, also when a budget ended the sweep |
| 1 | the sweep failed, `doctor` saw a problem, or you answered `rm` with no |
| 2 | wrong input |
| 130 | interrupted, and `mt-sweep resume` goes on |

This page is generated: `uv run --group dev python docs/commands.py`.

## Completion

A shell completes commands, options, search-space files and the names of sweeps with one line in its start-up file:

| shell | in | line |
|---|---|---|
| bash 4.4 or newer | `~/.bashrc` | `eval "$(mt-sweep --show-completion bash)"` |
| zsh | `~/.zshrc`, below `compinit` | `eval "$(mt-sweep --show-completion zsh)"` |
| fish | once, in a terminal | `mt-sweep --show-completion fish > ~/.config/fish/completions/mt-sweep.fish` |

The shell must find the program as `mt-sweep`, so activate its environment first (`. .venv/bin/activate`). After
`uv run`, uv completes, and it does not know the commands. The sweeps are those of `--home`, `MT_SWEEP_HOME` or
`./sweeps`. Those of a home in PostgreSQL are not offered, since a shell does not wait for a database.

## mt-sweep
"""


def commands_page() -> str:
    """Return the content of docs/commands.md as it should be for the commands of today."""
    sections = [INTRODUCTION, f"```\n{_help()}```\n"]
    sections += [f"## {name}\n\n```\n{_help(name)}```\n" for name in sorted(cli.commands)]
    return "\n".join(sections)


def _help(*command: str) -> str:
    shown = CliRunner().invoke(
        cli,
        [*command, "--help"],
        prog_name="mt-sweep",
        catch_exceptions=False,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
    )
    return shown.output


if __name__ == "__main__":
    PAGE.write_text(commands_page(), encoding="utf-8")
