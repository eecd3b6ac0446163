"""The command line: options, exit statuses, nothing else."""

import io
import os
import signal
import sys
from typing import NoReturn

import click

from mt_sweeps import bytecode
from mt_sweeps.cli import completion, preparing, reading, running, training
from mt_sweeps.cli.output import print_text
from mt_sweeps.cli.sections import Sections, with_examples
from mt_sweeps.errors import InputError, SweepError

_WITH_TORCH = {"init", "run", "resume", "plan", "validate", "preview", "train", "predict", "doctor", "inspect"}
_LINE = 4_000  # characters of an error; the longest that is meant to be read lists all settings


def _show_completion(context: click.Context, _: click.Parameter, shell: str | None) -> None:
    if shell is not None and not context.resilient_parsing:
        click.echo(completion.script(shell))
        context.exit()


@click.group(cls=Sections, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mt-sweeps")
@click.option(
    "--show-completion",
    type=click.Choice(completion.SHELLS),
    metavar="SHELL",
    expose_value=False,
    is_eager=True,
    callback=_show_completion,
    help="For bash, zsh or fish: print what completes commands. See docs/commands.md.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Find the best Mean Teacher hyper-parameters for your images and labels.

    Start with: mt-sweep run search_spaces/digits.yaml
    """
    if context.invoked_subcommand in _WITH_TORCH and (note := bytecode.note()) is not None:
        print_text(note, err=True)


# Each command is a function of one of these modules, and is called as click names it.
for _commands in (preparing, running, reading, training):
    for _command in vars(_commands).values():
        if isinstance(_command, click.Command):
            cli.add_command(_command)
with_examples(cli.commands)


def main() -> None:
    """Run a command; print errors as messages, and exit with 1, 2 or 130 (see the README)."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        cli(standalone_mode=False)
        _leave(0)
    except (InputError, SweepError) as error:
        print_text("\n".join(line[:_LINE] for line in f"error: {error}".split("\n")), err=True)
        _leave(error.exit_status)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        print_text(shown.getvalue().rstrip("\n"), err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        _leave(130)


def _leave(status: int) -> NoReturn:
    """Exit at once, without waiting for threads of libraries or printing their messages."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
