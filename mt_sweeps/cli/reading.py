"""Commands that show what sweeps have found, and write it to files. Each imports what it needs when it runs."""

from pathlib import Path
from typing import get_args

import click

from mt_sweeps.cli import completion
from mt_sweeps.cli.options import File, home_option, json_option, newest_sweep_argument, plugin_option
from mt_sweeps.cli.output import not_replaced, print_json, print_text, write_text
from mt_sweeps.errors import InputError
from mt_sweeps.spec.arms import ExportedArm


@click.command("list")
@home_option
@json_option
@plugin_option()
def list_sweeps(home: str | None, as_json: bool) -> None:
    """List all sweeps, the newest last."""
    from mt_sweeps.results import status
    from mt_sweeps.storage.open import open_home

    rows = []
    for run in open_home(home).sweeps():
        try:
            rows.append(status.sweep_status(run))
        except InputError as error:  # one that cannot be read hides no other
            if run.exists:  # else it was removed just now
                print_text(f"{run.name}: {error}", err=True)
    if as_json:
        print_json([row.as_json() for row in rows])
    else:
        print_text(status.list_text(rows))


@click.command("status")
@newest_sweep_argument
@home_option
@json_option
@plugin_option()
def show_status(name: str | None, home: str | None, as_json: bool) -> None:
    """Show the status of SWEEP (default: the newest)."""
    from mt_sweeps.results import status
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    row = status.sweep_status(sweep)
    if as_json:
        print_json(row.as_json())
    else:
        print_text(status.status_text(row, sweep.resume_command))


@click.command()
@newest_sweep_argument
@home_option
@json_option
@plugin_option()
def best(name: str | None, home: str | None, as_json: bool) -> None:
    """Show the best of SWEEP (default: the newest), and its errors."""
    from mt_sweeps.results import best_file, best_text
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    if as_json:
        click.echo(best_file.from_sweep(sweep).model_dump_json(indent=2))
    else:
        print_text(best_text.best_text(sweep))


@click.command("trials")
@newest_sweep_argument
@click.option("--csv", "as_csv", is_flag=True, help="As CSV, with a column per searched key.")
@home_option
@json_option
@plugin_option()
def list_trials(name: str | None, as_csv: bool, home: str | None, as_json: bool) -> None:
    """List the trials of SWEEP (default: the newest), the best first."""
    from mt_sweeps.results import trials
    from mt_sweeps.storage.open import open_home

    if as_csv and as_json:
        raise InputError("--csv and --json: use one of them")
    sweep = open_home(home).sweep(name)
    rows = trials.trial_rows(sweep)
    if as_json:
        print_json(trials.table_json(sweep, rows))
    elif as_csv:
        click.echo(trials.table_csv(rows), nl=False)
    else:
        print_text(trials.table_text(rows))


@click.command("show")
@click.argument("words", nargs=-1, required=True, metavar="[SWEEP] TRIAL", shell_complete=completion.sweeps)
@home_option
@json_option
@plugin_option()
def show_trial(words: tuple[str, ...], home: str | None, as_json: bool) -> None:
    """Show one trial: values, learning curve, failure, files.

    SWEEP is the newest if none is named. TRIAL is a number in the search, or a name
    in `trials`, such as supervised-0.
    """
    from mt_sweeps.results import trials
    from mt_sweeps.storage.folder import names_at
    from mt_sweeps.storage.open import open_home

    *names, trial = words
    if len(names) > 1:
        raise click.UsageError(f"{' '.join(words)}: name a SWEEP and one TRIAL: 7, or supervised-0")
    if not names and not trial.isdecimal() and trial in names_at(home):
        raise InputError(f"{trial}: is a sweep; name one of its trials, too, by its number: show {trial} 0")
    sweep = open_home(home).sweep(names[0] if names else None)
    found = trials.find_trial(sweep, trial)
    if as_json:
        print_json(found.as_json())
    else:
        print_text(trials.trial_text(found, sweep.load_spec().metric))


@click.command("compare")
@click.argument("first", metavar="SWEEP", shell_complete=completion.sweeps)
@click.argument("second", required=False, metavar="[SWEEP]", shell_complete=completion.sweeps)
@home_option
@json_option
@plugin_option()
def compare_two(first: str, second: str | None, home: str | None, as_json: bool) -> None:
    """Compare the best of two sweeps of the same images.

    They are compared on the fresh seeds that both have. The second is the newest if only one is named.
    """
    from mt_sweeps.results.comparison import compare_sweeps
    from mt_sweeps.storage.open import open_home

    opened = open_home(home)
    found = compare_sweeps(opened.sweep(first), opened.sweep(second))
    if as_json:
        print_json(found.as_json())
    else:
        print_text(found)


@click.command("copy")
@newest_sweep_argument
@click.option("-o", "--output", type=File, help="Where to. Default: the terminal.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@home_option
def copy_spec(name: str | None, output: Path | None, force: bool, home: str | None) -> None:
    """Write the file of SWEEP (default: the newest), to run it anew.

    It holds every setting, to change what you like.
    """
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    sweep.load_spec()  # a damaged one is not copied
    write_text(output, sweep.spec_text(), force, f"run it anew, with changes: {sweep.command('run', str(output))}")


@click.command("export")
@newest_sweep_argument
@click.option("-o", "--output", type=File, help="Where to. Default: the terminal.")
@click.option(
    "--arm",
    type=click.Choice(get_args(ExportedArm)),
    default="search",
    help="Of which arm: a baseline, to train what the best is compared with. Default: search.",
)
@click.option("--force", is_flag=True, help="Replace whatever file is there.")
@home_option
@plugin_option()
def export_best(name: str | None, output: Path | None, arm: ExportedArm, force: bool, home: str | None) -> None:
    """Write the best of SWEEP (default: the newest) for `train`.

    It replaces its own earlier export of the same sweep and arm. Any other file, and one that was edited, it only
    replaces with --force.
    """
    from mt_sweeps.results import best_file
    from mt_sweeps.results.replaced_export import why_not_replaced
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    best = best_file.from_sweep(sweep, arm)
    if output is not None and not force and (reason := why_not_replaced(output, best)) is not None:
        raise not_replaced(output, reason)
    what = "the final model" if arm == "search" else f"the {arm} baseline"
    then = f"train {what} with: {sweep.command('train', str(output))}"
    write_text(output, best_file.to_yaml(best), True, then)


@click.command("inspect")
@newest_sweep_argument
@click.option("-o", "--output", type=File, help="A folder. Default: `inspect` in the sweep's folder.")
@click.option("--images", type=click.IntRange(1, 1000), default=32, help="At most how many of a kind. Default: 32.")
@click.option("--model", help="From `train`, as `predict` takes it. Default: that of the best trial.")
@home_option
@json_option
@plugin_option()
def inspect_images(
    name: str | None, output: Path | None, images: int, model: str | None, home: str | None, as_json: bool
) -> None:
    """Write which images to label next, and the worst mistakes.

    Of SWEEP (default: the newest). To label next: the unlabeled images that its best teacher is least sure of, and
    those that its best teachers disagree on. Mistakes: on the validation images; the test images are not read. Of each
    kind, a table (CSV) and a picture.
    """
    from mt_sweeps.commands.inspect import inspect
    from mt_sweeps.storage.open import open_home

    found = inspect(open_home(home), name, output, images, model)
    if as_json:
        print_json(found.as_json())
    else:
        print_text(found)


@click.command("report")
@newest_sweep_argument
@home_option
@json_option
@plugin_option()
def write_report(name: str | None, home: str | None, as_json: bool) -> None:
    """Write the report of SWEEP (default: the newest), a web page.

    It is read offline. Its path is printed, and it is added to MLflow.
    """
    from mt_sweeps import report
    from mt_sweeps.storage.open import open_home

    directory = open_home(home).sweep(name)
    if as_json:
        print_json(report.build(directory).as_json())
        return
    from mt_sweeps.tracking.pages import run_pages
    from mt_sweeps.tracking.stored_runs import send_report

    print_text(report.write(directory, pages=run_pages(directory.home, directory)))
    send_report(open_home(home), directory)


@click.command()
@newest_sweep_argument
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
@home_option
def dashboard(name: str | None, port: int, home: str | None) -> None:
    """Show SWEEP (default: the newest) in MLflow.

    Without a server of its own, one is started on this machine.
    """
    from mt_sweeps.commands import dashboard as server
    from mt_sweeps.storage.open import open_home

    server.serve(open_home(home), name, port)
