"""Commands that show what sweeps have found, and write it to files. Each imports what it needs when it runs."""

import json
from pathlib import Path

import click

from mt_sweeps.cli.options import File, home_option, json_option, plugin_option
from mt_sweeps.cli.output import print_json, print_text, write_text
from mt_sweeps.errors import InputError


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
    click.echo(json.dumps([row.as_json() for row in rows], indent=2) if as_json else status.list_text(rows))


@click.command("status")
@click.argument("name", required=False, metavar="[SWEEP]")
@home_option
@json_option
@plugin_option()
def show_status(name: str | None, home: str | None, as_json: bool) -> None:
    """Show the status of SWEEP (default: the newest)."""
    from mt_sweeps.results import status
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    row = status.sweep_status(sweep)
    click.echo(json.dumps(row.as_json(), indent=2) if as_json else status.status_text(row, sweep.resume_command))


@click.command()
@click.argument("name", required=False, metavar="[SWEEP]")
@home_option
@json_option
@plugin_option()
def best(name: str | None, home: str | None, as_json: bool) -> None:
    """Show the best configuration of SWEEP (default: the newest) so far, and its errors."""
    from mt_sweeps.results import best_file, best_text
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    if as_json:
        click.echo(best_file.from_sweep(sweep).model_dump_json(indent=2))
    else:
        print_text(best_text.best_text(sweep))


@click.command("trials")
@click.argument("name", required=False, metavar="[SWEEP]")
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
@click.argument("name", metavar="SWEEP")
@click.argument("trial", metavar="TRIAL")
@home_option
@json_option
@plugin_option()
def show_trial(name: str, trial: str, home: str | None, as_json: bool) -> None:
    """Show TRIAL of SWEEP, its number or its name in `trials`: values, learning curve, why it failed, files."""
    from mt_sweeps.results import trials
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    found = trials.find_trial(sweep, trial)
    if as_json:
        print_json(found.as_json())
    else:
        print_text(trials.trial_text(found, sweep.load_spec().metric))


@click.command("compare")
@click.argument("first", metavar="SWEEP")
@click.argument("second", metavar="SWEEP")
@home_option
@json_option
@plugin_option()
def compare_two(first: str, second: str, home: str | None, as_json: bool) -> None:
    """Compare the best configurations of two sweeps of the same images, on the fresh seeds that both have."""
    from mt_sweeps.results.comparison import compare_sweeps
    from mt_sweeps.storage.open import open_home

    opened = open_home(home)
    found = compare_sweeps(opened.sweep(first), opened.sweep(second))
    if as_json:
        print_json(found.as_json())
    else:
        print_text(found)


@click.command("copy")
@click.argument("name", metavar="SWEEP")
@click.option("-o", "--output", type=File, help="Where to. Default: the terminal.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@home_option
def copy_spec(name: str, output: Path | None, force: bool, home: str | None) -> None:
    """Write the search-space file of SWEEP, to change it and run it anew. It holds every setting."""
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    sweep.load_spec()  # a damaged one is not copied
    write_text(output, sweep.spec_text(), force, f"run it anew, with changes: {sweep.command('run', str(output))}")


@click.command("export")
@click.argument("name", required=False, metavar="[SWEEP]")
@click.option("-o", "--output", type=File, help="Where to. Default: the terminal.")
@home_option
@plugin_option()
def export_best(name: str | None, output: Path | None, home: str | None) -> None:
    """Write the best hyper-parameters of SWEEP (default: the newest) to a file that `train` takes."""
    from mt_sweeps.results import best_file
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    text = best_file.to_yaml(best_file.from_sweep(sweep))
    write_text(output, text, True, f"train the final model with: {sweep.command('train', str(output))}")


@click.command("inspect")
@click.argument("name", required=False, metavar="[SWEEP]")
@click.option("-o", "--output", type=File, help="A folder. Default: `inspect` in the sweep's folder.")
@click.option("--images", type=click.IntRange(1, 1000), default=32, help="At most how many of a kind. Default: 32.")
@click.option("--model", help="From `train`, as `predict` takes it. Default: that of the best trial.")
@home_option
@json_option
@plugin_option()
def inspect_images(
    name: str | None, output: Path | None, images: int, model: str | None, home: str | None, as_json: bool
) -> None:
    """Write which unlabeled images to label next, and the worst mistakes, of SWEEP (default: the newest).

    To label next: those that its best teacher is least sure of, and those that its best teachers disagree on. Mistakes:
    on the validation images; the test images are not read. Of each kind, a table (CSV) and a picture.
    """
    from mt_sweeps.commands.inspect import inspect
    from mt_sweeps.storage.open import open_home

    found = inspect(open_home(home), name, output, images, model)
    if as_json:
        print_json(found.as_json())
    else:
        print_text(found)


@click.command("report")
@click.argument("name", required=False, metavar="[SWEEP]")
@home_option
@json_option
@plugin_option()
def write_report(name: str | None, home: str | None, as_json: bool) -> None:
    """Write the report of SWEEP (default: the newest), one web page for offline reading.

    Its path is printed, and it is added to MLflow.
    """
    from mt_sweeps import report
    from mt_sweeps.storage.open import open_home

    directory = open_home(home).sweep(name)
    if as_json:
        print_json(report.build(directory).as_json())
        return
    from mt_sweeps.tracking.sweep_run import run_pages, send_report

    print_text(report.write(directory, pages=run_pages(directory.home, directory)))
    send_report(open_home(home), directory)


@click.command()
@click.argument("name", required=False, metavar="[SWEEP]")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
@home_option
def dashboard(name: str | None, port: int, home: str | None) -> None:
    """Show SWEEP (default: the newest) in MLflow; without a server of its own, start one on this machine."""
    from mt_sweeps.commands import dashboard as server
    from mt_sweeps.storage.open import open_home

    server.serve(open_home(home), name, port)
