"""Options and arguments that several commands have."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mt_sweeps.cli import completion
from mt_sweeps.errors import InputError

File = click.Path(path_type=Path)

F = TypeVar("F", bound=Callable[..., Any])

sweep_argument = click.argument("name", metavar="SWEEP", shell_complete=completion.sweeps)
newest_sweep_argument = click.argument("name", required=False, metavar="[SWEEP]", shell_complete=completion.sweeps)


def file_argument(*, best: bool = False, **settings: Any) -> Callable[[F], F]:
    """Return the argument for a YAML file, which answers the name of a sweep with what was meant.

    Args:
        best: True: for a best file; False: for a search-space file.
        settings: more of click's settings of an argument.
    """

    def check(context: click.Context, _: click.Parameter, value: Any) -> Any:
        for file in [] if context.resilient_parsing else value if isinstance(value, tuple) else [value]:
            if file is not None and not file.exists():
                _check_no_sweep(str(file), context.params.get("home"), best, context.info_name == "run")
        return value

    name = "files" if settings.get("nargs") == -1 else "file"
    return click.argument(name, type=File, callback=check, shell_complete=completion.yaml_files, **settings)


def _check_no_sweep(name: str, home: str | None, best: bool, is_run: bool) -> None:
    """Make sure that a name is not that of a sweep.

    Raises:
        InputError: it is; the message says how to get the file that is needed.
    """
    from mt_sweeps.storage.folder import names_at

    if name not in names_at(home):
        return
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    if best:
        way = f"write its best to one with `{sweep.command('export', name, '-o', 'best.yaml')}`"
    else:
        way = f"write its file with `{sweep.command('copy', name, '-o', f'{name}.yaml')}`"
    go_on = f"go on with it by `{sweep.resume_command}`, or " if is_run else ""
    raise InputError(f"{name}: is a sweep, and a file is needed here; {go_on}{way}")


name_option = click.option("--name", help="Name of the sweep. Default: the name in the file, made unique.")

set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override the file: trainer.steps=100."
)

trials_option = click.option("--trials", type=int, help="Number of search trials. Default: the number in the file.")

in_process_option = click.option(
    "--in-process", is_flag=True, help="Run the trials in this process, one after another, without Ray: for a debugger."
)

home_option = click.option(
    "--home",
    metavar="DIR",
    is_eager=True,  # before arguments: it says which sweeps there are
    help="Where sweeps live, or postgresql://...: docs/team.md. Default: MT_SWEEP_HOME, or ./sweeps.",
)

notify_option = click.option(
    "--notify",
    metavar="COMMAND",
    help="Run COMMAND at the end and when a trial fails, with the status as JSON on its standard input.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


def _load_plugins(context: click.Context, _: click.Parameter, modules: tuple[str, ...]) -> tuple[str, ...]:
    if not context.resilient_parsing:  # of a shell that completes a command
        from mt_sweeps.plugins import load_plugins

        load_plugins(modules)
    return modules


def plugin_option(expose_value: bool = False) -> Callable[[F], F]:
    """Return the option that names plugins, which are imported before the command begins.

    Args:
        expose_value: whether the command gets their names.
    """
    return click.option(
        "--plugin",
        "plugins",
        multiple=True,
        metavar="MODULE",
        callback=_load_plugins,
        expose_value=expose_value,
        help="Import a Python module with networks or data of your own. Others: MT_SWEEP_PLUGINS, entry points.",
    )


def _allow_all_paths(_: click.Context, __: click.Parameter, allow: bool) -> None:
    if allow:
        from mt_sweeps.spec import allowed_paths

        os.environ[allowed_paths.VARIABLE] = allowed_paths.EVERYWHERE


allow_paths_option = click.option(
    "--allow-paths",
    is_flag=True,
    expose_value=False,
    callback=_allow_all_paths,
    help="Let FILE name paths outside the working directory and your home. Some of them: MT_SWEEP_ALLOW_PATHS.",
)
