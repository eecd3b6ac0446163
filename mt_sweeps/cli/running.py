"""Commands that run sweeps, end them, go on with them and remove them. Each imports what it needs when it runs."""

from pathlib import Path

import click

from mt_sweeps.cli.options import (
    File,
    allow_paths_option,
    home_option,
    in_process_option,
    name_option,
    notify_option,
    plugin_option,
    set_option,
    trials_option,
)
from mt_sweeps.cli.output import print_text


@click.command()
@click.argument("file", type=File)
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
    """Search the space of FILE, show it in MLflow, and name the best configuration."""
    from mt_sweeps.commands.run import run_sweep
    from mt_sweeps.storage.open import open_home

    run_sweep(file, open_home(home), name, overrides, trials, in_process, notify)


@click.command()
@click.argument("file", type=File)
@click.option("--address", required=True, metavar="URL", help="Of the cluster's dashboard: http://host:8265.")
@name_option
@set_option
@trials_option
@allow_paths_option
@plugin_option()
def submit(file: Path, address: str, name: str | None, overrides: tuple[str, ...], trials: int | None) -> None:
    """Run a sweep of FILE on a Ray cluster; it does not need this machine any more."""
    from mt_sweeps.commands.submit import submit

    print_text(submit(file, address, name, overrides, trials))


@click.command()
@click.argument("file", type=File)
@set_option
@trials_option
@allow_paths_option
@plugin_option()
def plan(file: Path, overrides: tuple[str, ...], trials: int | None) -> None:
    """Forecast a sweep of FILE on this machine: trials, arms, rungs, time, disk. Nothing is started."""
    from mt_sweeps.commands.plan import plan

    print_text(plan(file, overrides, trials))


def _added(_: click.Context, __: click.Parameter, text: str | None) -> int:
    if text is None:
        return 0
    if not text.startswith("+") or not text[1:].isdigit() or int(text) < 1:
        raise click.BadParameter(f"{text!r} is no addition; write +N: +32 searches with 32 trials more")
    return int(text)


@click.command()
@click.argument("name", required=False, metavar="[SWEEP]")
@click.option("--trials", "more", metavar="+N", callback=_added, help="Search with so many trials more.")
@click.option("--address", metavar="URL", help="Have a Ray cluster do it, as `submit` does: http://host:8265.")
@in_process_option
@notify_option
@home_option
@plugin_option(expose_value=True)
def resume(
    name: str | None,
    more: int,
    address: str | None,
    in_process: bool,
    notify: str | None,
    home: str | None,
    plugins: tuple[str, ...],
) -> None:
    """Resume an interrupted SWEEP (default: the newest) from its last checkpoints."""
    if address is not None:
        from mt_sweeps.commands import submit

        if name is None:
            raise click.UsageError("with --address, name the SWEEP")
        if in_process:
            raise click.UsageError("--in-process runs trials on this machine; leave it out, or --address")
        if notify is not None:
            raise click.UsageError("--notify runs a command on this machine; leave it out, or --address")
        print_text(submit.resume(name, address, more, plugins))
        return
    from mt_sweeps.commands.run import resume_sweep
    from mt_sweeps.storage.open import open_home

    resume_sweep(open_home(home), name, more, in_process, notify)


@click.command()
@click.argument("name", metavar="SWEEP")
@home_option
def stop(name: str, home: str | None) -> None:
    """Stop the driver of SWEEP, wherever it runs; `resume` goes on from there."""
    from mt_sweeps.commands import manage
    from mt_sweeps.storage.open import open_home

    print_text(manage.stop(open_home(home), name))


@click.command()
@click.argument("name", metavar="SWEEP")
@click.argument("assignments", metavar="KEY=VALUE...", nargs=-1, required=True)
@home_option
@plugin_option()
def add(name: str, assignments: tuple[str, ...], home: str | None) -> None:
    """Give SWEEP, running or interrupted, a point to try next: ema.decay=0.99. The sampler chooses the other keys.

    It takes the place of a trial that the sampler would have chosen.
    """
    from mt_sweeps.commands import steer
    from mt_sweeps.storage.open import open_home

    print_text(steer.add(open_home(home), name, assignments))


@click.command()
@click.argument("name", metavar="SWEEP")
@click.argument("trial", metavar="TRIAL")
@home_option
@plugin_option()
def end(name: str, trial: str, home: str | None) -> None:
    """End TRIAL of SWEEP, its number or its name in `trials`, by hand; the sampler learns from what it measured."""
    from mt_sweeps.commands import steer
    from mt_sweeps.storage.open import open_home

    print_text(steer.end(open_home(home), name, trial))


@click.command()
@click.argument("name", metavar="SWEEP")
@home_option
@plugin_option()
def sync(name: str, home: str | None) -> None:
    """Complete the MLflow runs of SWEEP, or create them again, from what is on disk."""
    from mt_sweeps.commands import manage
    from mt_sweeps.storage.open import open_home

    print_text(manage.sync(open_home(home), name))


@click.command()
@click.argument("name", metavar="SWEEP")
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_option
def rm(name: str, yes: bool, home: str | None) -> None:
    """Remove SWEEP and all that belongs to it: ledger, trials, MLflow runs and models."""
    from mt_sweeps.commands import manage
    from mt_sweeps.storage.open import open_home

    directory = open_home(home).sweep(name)
    if not yes:
        click.confirm(f"remove {directory.location} and the sweep's MLflow runs for good?", abort=True)
    print_text(manage.remove(open_home(home), name))
