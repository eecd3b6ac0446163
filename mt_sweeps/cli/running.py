"""Commands that run sweeps, end them, go on with them and remove them. Each imports what it needs when it runs."""

import contextlib
import math
import sys
from pathlib import Path

import click

from mt_sweeps.cli.options import (
    allow_paths_option,
    file_argument,
    home_option,
    in_process_option,
    name_option,
    newest_sweep_argument,
    notify_option,
    plugin_option,
    set_option,
    sweep_argument,
    trials_option,
)
from mt_sweeps.cli.output import print_text


@click.command()
@file_argument()
@name_option
@set_option
@trials_option
@in_process_option
@notify_option
@home_option
@allow_paths_option
@plugin_option()
def run(
    file: Path,
    name: str | None,
    overrides: tuple[str, ...],
    trials: int | None,
    in_process: bool,
    notify: str | None,
    home: str | None,
) -> None:
    """Search the space of FILE, and name the best configuration.

    MLflow and a report show it.
    """
    from mt_sweeps.commands.run import run_sweep
    from mt_sweeps.storage.open import open_home

    run_sweep(file, open_home(home), name, overrides, trials, in_process, notify)


@click.command()
@file_argument()
@click.option("--address", required=True, metavar="URL", help="Of the cluster's dashboard: http://host:8265.")
@name_option
@set_option
@trials_option
@allow_paths_option
@plugin_option()
def submit(file: Path, address: str, name: str | None, overrides: tuple[str, ...], trials: int | None) -> None:
    """Run a sweep of FILE on a Ray cluster.

    It does not need this machine any more.
    """
    from mt_sweeps.commands.submit import submit

    print_text(submit(file, address, name, overrides, trials))


@click.command()
@file_argument()
@set_option
@trials_option
@allow_paths_option
@plugin_option()
def plan(file: Path, overrides: tuple[str, ...], trials: int | None) -> None:
    """Forecast what a sweep of FILE takes on this machine.

    Trials, arms, rungs, time, disk. Nothing is started.
    """
    from mt_sweeps.commands.plan import plan

    print_text(plan(file, overrides, trials))


def _added(_: click.Context, __: click.Parameter, text: str | None) -> int:
    if text is None:
        return 0
    if not text.startswith("+") or not text[1:].isdigit() or int(text) < 1:
        raise click.BadParameter(f"{text!r} is no addition; write +N: +32 searches with 32 trials more")
    return int(text)


def _added_hours(_: click.Context, __: click.Parameter, text: str | None) -> float:
    if text is None:
        return 0.0
    with contextlib.suppress(ValueError):
        if text.startswith("+") and 0 < float(text) < math.inf:
            return float(text)
    raise click.BadParameter(f"{text!r} is no addition; write +H: +0.5 adds half an hour to the budget")


@click.command()
@newest_sweep_argument
@click.option("--trials", "more", metavar="+N", callback=_added, help="Search with so many trials more.")
@click.option("--hours", metavar="+H", callback=_added_hours, help="Add so many hours to the budget of the file.")
@click.option("--address", metavar="URL", help="Have a Ray cluster do it, as `submit` does: http://host:8265.")
@in_process_option
@notify_option
@home_option
@plugin_option(expose_value=True)
def resume(
    name: str | None,
    more: int,
    hours: float,
    address: str | None,
    in_process: bool,
    notify: str | None,
    home: str | None,
    plugins: tuple[str, ...],
) -> None:
    """Go on with SWEEP (default: the newest) where it was.

    Each trial goes on from its last checkpoint.
    """
    if address is not None:
        from mt_sweeps.commands import submit

        if name is None:
            raise click.UsageError("with --address, name the SWEEP")
        if in_process:
            raise click.UsageError("--in-process runs trials on this machine; leave it out, or --address")
        if notify is not None:
            raise click.UsageError("--notify runs a command on this machine; leave it out, or --address")
        print_text(submit.resume(name, address, more, plugins, hours))
        return
    from mt_sweeps.commands.resume import resume_sweep
    from mt_sweeps.storage.open import open_home

    resume_sweep(open_home(home), name, more, in_process, notify, hours)


@click.command()
@sweep_argument
@home_option
def stop(name: str, home: str | None) -> None:
    """Stop SWEEP, wherever it runs; `resume` goes on with it."""
    from mt_sweeps.commands import manage
    from mt_sweeps.storage.open import open_home

    print_text(manage.stop(open_home(home), name))


@click.command()
@sweep_argument
@click.argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True)
@home_option
@plugin_option()
def add(name: str, assignments: tuple[str, ...], home: str | None) -> None:
    """Give SWEEP a point to try next; it may be running.

    Of the keys that are not named, the sampler chooses the values. The point takes the place of a trial that the
    sampler would have chosen.
    """
    from mt_sweeps.commands import steer
    from mt_sweeps.storage.open import open_home

    print_text(steer.add(open_home(home), name, assignments))


@click.command()
@sweep_argument
@click.argument("trial", metavar="TRIAL")
@home_option
@plugin_option()
def end(name: str, trial: str, home: str | None) -> None:
    """End one trial of SWEEP by hand.

    TRIAL is its number, or its name in `trials`. The sampler learns from what it measured.
    """
    from mt_sweeps.commands import steer
    from mt_sweeps.storage.open import open_home

    print_text(steer.end(open_home(home), name, trial))


@click.command()
@newest_sweep_argument
@home_option
@plugin_option()
def sync(name: str | None, home: str | None) -> None:
    """Complete SWEEP (default: the newest) in MLflow.

    Its runs there are completed, or created again, from what is on disk.
    """
    from mt_sweeps.commands import manage
    from mt_sweeps.storage.open import open_home

    print_text(manage.sync(open_home(home), name))


@click.command()
@sweep_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_option
def rm(name: str, yes: bool, home: str | None) -> None:
    """Remove SWEEP with its trials and their MLflow runs.

    The final trainings of `train` stay, with their runs and models.
    """
    from mt_sweeps.commands import manage
    from mt_sweeps.storage.open import open_home

    directory = open_home(home).sweep(name)
    question = (
        f"remove {directory.location} and the MLflow runs of its trials for good? Final trainings stay, with their "
        "models"
    )
    if not yes and not click.confirm(question):
        print_text("nothing removed")
        sys.exit(1)
    print_text(manage.remove(open_home(home), name))
