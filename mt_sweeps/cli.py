"""The command line: options, exit statuses, nothing else. A command imports what it needs when it runs."""

import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from mt_sweeps import bytecode
from mt_sweeps.errors import InputError, SweepError
from mt_sweeps.terminal import printable

_WITH_TORCH = {"init", "run", "resume", "plan", "validate", "preview", "train", "predict", "doctor"}
_LINE = 4_000  # characters of an error; the longest that is meant to be read lists all settings
File = click.Path(path_type=Path)
F = TypeVar("F", bound=Callable[..., Any])


_name_option = click.option("--name", help="Name of the sweep. Default: the name in the file, made unique.")
_set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override the file: trainer.steps=100."
)
_trials_option = click.option("--trials", type=int, help="Number of search trials. Default: the number in the file.")
_in_process_option = click.option(
    "--in-process", is_flag=True, help="Run the trials in this process, one after another, without Ray: for a debugger."
)
_home_option = click.option(
    "--home",
    metavar="DIR",
    help="Where sweeps live, or postgresql://...: docs/team.md. Default: MT_SWEEP_HOME, or ./sweeps.",
)
_notify_option = click.option(
    "--notify",
    metavar="COMMAND",
    help="Run COMMAND at the end and when a trial fails, with the status as JSON on its standard input.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


def _load_plugins(context: click.Context, _: click.Parameter, modules: tuple[str, ...]) -> tuple[str, ...]:
    if not context.resilient_parsing:  # of a shell that completes a command
        from mt_sweeps.plugins import load_plugins

        load_plugins(modules)
    return modules


def _plugin_option(expose_value: bool = False) -> Callable[[F], F]:
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


_allow_paths_option = click.option(
    "--allow-paths",
    is_flag=True,
    expose_value=False,
    callback=_allow_all_paths,
    help="Let FILE name paths outside the working directory and your home. Some of them: MT_SWEEP_ALLOW_PATHS.",
)


def _added(_: click.Context, __: click.Parameter, text: str | None) -> int:
    if text is None:
        return 0
    if not text.startswith("+") or not text[1:].isdigit() or int(text) < 1:
        raise click.BadParameter(f"{text!r} is no addition; write +N: +32 searches with 32 trials more")
    return int(text)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mt-sweeps")
@click.pass_context
def cli(context: click.Context) -> None:
    """Find the Mean Teacher hyper-parameters that are best for your images and labels.

    Start with: mt-sweep run search_spaces/digits.yaml
    """
    if context.invoked_subcommand in _WITH_TORCH and (note := bytecode.note()) is not None:
        _print(note, err=True)


@cli.command()
@click.argument("folder")
@click.option("--labels", metavar="TABLE", help="Table of paths and classes.")
@click.option("--groups", metavar="EXPR", help="What belongs together, as dataset.groups: '(patient[0-9]+)_'.")
@click.option("-o", "--output", type=File, metavar="FILE", help="Default: named as the folder, with .yaml.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option(
    "--hours", type=click.FloatRange(0, min_open=True), default=1.0, help="That the sweep may take. Default: 1."
)
@click.option("--weights", metavar="FILE", help="Pre-trained ones, or `pretrained`. Default: those at hand.")
@click.option("--architecture", metavar="NAME", default="tf_efficientnet_lite0", help="Of these weights, in timm.")
@_json_option
def init(
    folder: str,
    labels: str | None,
    groups: str | None,
    output: Path | None,
    force: bool,
    hours: float,
    weights: str | None,
    architecture: str,
    as_json: bool,
) -> None:
    """Look at the images in FOLDER, and write a search-space file that fits them.

    FOLDER holds train/CLASS/*, and where there are any, unlabeled/* and test/CLASS/*. A few training steps are timed,
    so that the sweep fits the hours that it may take.
    """
    from mt_sweeps.commands.init import Request, init

    text = init(Request(folder, labels, groups, output, force, hours, weights, architecture), as_json)
    click.echo(text if as_json else printable(text))


@cli.command()
@click.argument("file", type=File)
@_name_option
@_set_option
@_trials_option
@_in_process_option
@_notify_option
@_home_option
@_allow_paths_option
@_plugin_option()
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


@cli.command()
@click.argument("file", type=File)
@click.option("--address", required=True, metavar="URL", help="Of the cluster's dashboard: http://host:8265.")
@_name_option
@_set_option
@_trials_option
@_allow_paths_option
@_plugin_option()
def submit(file: Path, address: str, name: str | None, overrides: tuple[str, ...], trials: int | None) -> None:
    """Run a sweep of FILE on a Ray cluster; it does not need this machine any more."""
    from mt_sweeps.commands.submit import submit

    _print(submit(file, address, name, overrides, trials))


@cli.command()
@click.argument("file", type=File)
@_set_option
@_trials_option
@_allow_paths_option
@_plugin_option()
def plan(file: Path, overrides: tuple[str, ...], trials: int | None) -> None:
    """Forecast a sweep of FILE on this machine: trials, arms, rungs, time, disk. Nothing is started."""
    from mt_sweeps.commands.plan import plan

    _print(plan(file, overrides, trials))


@cli.command()
@click.argument("name", required=False, metavar="[SWEEP]")
@click.option("--trials", "more", metavar="+N", callback=_added, help="Search with so many trials more.")
@click.option("--address", metavar="URL", help="Have a Ray cluster do it, as `submit` does: http://host:8265.")
@_in_process_option
@_notify_option
@_home_option
@_plugin_option(expose_value=True)
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
        _print(submit.resume(name, address, more, plugins))
        return
    from mt_sweeps.commands.run import resume_sweep
    from mt_sweeps.storage.open import open_home

    resume_sweep(open_home(home), name, more, in_process, notify)


@cli.command()
@click.argument("name", metavar="SWEEP")
@_home_option
def stop(name: str, home: str | None) -> None:
    """Stop the driver of SWEEP, wherever it runs; `resume` goes on from there."""
    from mt_sweeps.commands import manage
    from mt_sweeps.storage.open import open_home

    _print(manage.stop(open_home(home), name))


@cli.command()
@click.argument("name", metavar="SWEEP")
@_home_option
@_plugin_option()
def sync(name: str, home: str | None) -> None:
    """Complete the MLflow runs of SWEEP, or create them again, from what is on disk."""
    from mt_sweeps.commands import manage
    from mt_sweeps.storage.open import open_home

    _print(manage.sync(open_home(home), name))


@cli.command()
@click.argument("name", metavar="SWEEP")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_home_option
def rm(name: str, yes: bool, home: str | None) -> None:
    """Remove SWEEP and all that belongs to it: ledger, trials, MLflow runs and models."""
    from mt_sweeps.commands import manage
    from mt_sweeps.storage.open import open_home

    directory = open_home(home).sweep(name)
    if not yes:
        click.confirm(f"remove {directory.location} and the sweep's MLflow runs for good?", abort=True)
    _print(manage.remove(open_home(home), name))


@cli.command()
@click.argument("file", type=File)
@click.option("-o", "--output", type=File, default=Path("preview.png"), help="Default: preview.png.")
@_set_option
@click.option("--images", type=click.IntRange(1, 64), default=10, help="How many. Default: 10.")
@_allow_paths_option
@_plugin_option()
def preview(file: Path, output: Path, overrides: tuple[str, ...], images: int) -> None:
    """Draw what the student and the teacher see with the settings of FILE."""
    from mt_sweeps.commands.preview import preview

    _print(preview(file, overrides, output, images))


@cli.command()
@click.argument("files", type=File, nargs=-1, required=True)
@click.option("--without-images", is_flag=True, help="Check the file alone, on a machine without the images.")
@_allow_paths_option
@_plugin_option()
def validate(files: tuple[Path, ...], without_images: bool) -> None:
    """Validate FILES, and that the folders of images that they name have what they need. No image is read."""
    from mt_sweeps.execution.preflight import check_folder
    from mt_sweeps.spec.load import load_spec

    problems: list[str] = []
    for file in files:
        try:
            loaded = load_spec(file)
            note = "the images were not looked at" if without_images else check_folder(file, loaded)
        except InputError as error:
            problems += error.problems
        else:
            arms = ", ".join(f"{loaded.trials_of(arm)} {arm}" for arm in loaded.arms())
            _print(f"{file}: valid: {len(loaded.search_space)} searched keys, trials: {arms}")
            if note is not None:
                _print(f"{file}: note: {note}; `mt-sweep run` checks them")
    if problems:
        raise InputError(*problems)


@cli.command()
@click.option("-o", "--output", type=File, help="Where to. Default: the terminal.")
def schema(output: Path | None) -> None:
    """Write the JSON Schema of a search-space file, with which editors complete keys and mark mistakes.

    The first line of a file names it: "# yaml-language-server: $schema=schema.json".
    """
    from mt_sweeps.spec.schema import file_schema

    line = f"# yaml-language-server: $schema={output}"
    _write(output, json.dumps(file_schema(), indent=1) + "\n", True, f"first line of a file that uses it: {line}")


@cli.command("list")
@_home_option
@_json_option
@_plugin_option()
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
                _print(f"{run.name}: {error}", err=True)
    click.echo(json.dumps([row.as_json() for row in rows], indent=2) if as_json else status.list_text(rows))


@cli.command("status")
@click.argument("name", required=False, metavar="[SWEEP]")
@_home_option
@_json_option
@_plugin_option()
def show_status(name: str | None, home: str | None, as_json: bool) -> None:
    """Show the status of SWEEP (default: the newest)."""
    from mt_sweeps.results import status
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    row = status.sweep_status(sweep)
    click.echo(json.dumps(row.as_json(), indent=2) if as_json else status.status_text(row, sweep.resume_command))


@cli.command()
@click.argument("name", required=False, metavar="[SWEEP]")
@_home_option
@_json_option
@_plugin_option()
def best(name: str | None, home: str | None, as_json: bool) -> None:
    """Show the best configuration of SWEEP (default: the newest) so far, and its errors."""
    from mt_sweeps.results import best_file, best_text
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    content = best_file.from_sweep(sweep)
    if as_json:
        click.echo(content.model_dump_json(indent=2))
    else:
        _print(best_text.best_text(sweep, content))


@cli.command("trials")
@click.argument("name", required=False, metavar="[SWEEP]")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV, with a column per searched key.")
@_home_option
@_json_option
@_plugin_option()
def list_trials(name: str | None, as_csv: bool, home: str | None, as_json: bool) -> None:
    """List the trials of SWEEP (default: the newest), the best first."""
    from mt_sweeps.results import trials
    from mt_sweeps.storage.open import open_home

    if as_csv and as_json:
        raise InputError("--csv and --json: use one of them")
    sweep = open_home(home).sweep(name)
    rows = trials.trial_rows(sweep)
    if as_json:
        click.echo(json.dumps(trials.table_json(sweep, rows), indent=2))
    elif as_csv:
        click.echo(trials.table_csv(rows), nl=False)
    else:
        _print(trials.table_text(rows))


@cli.command("show")
@click.argument("name", metavar="SWEEP")
@click.argument("trial", metavar="TRIAL")
@_home_option
@_json_option
@_plugin_option()
def show_trial(name: str, trial: str, home: str | None, as_json: bool) -> None:
    """Show TRIAL of SWEEP, its number or its name in `trials`: values, learning curve, why it failed, files."""
    from mt_sweeps.results import trials
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    found = trials.find_trial(sweep, trial)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        _print(trials.trial_text(found, sweep.load_spec().metric))


@cli.command("compare")
@click.argument("first", metavar="SWEEP")
@click.argument("second", metavar="SWEEP")
@_home_option
@_json_option
@_plugin_option()
def compare_two(first: str, second: str, home: str | None, as_json: bool) -> None:
    """Compare the best configurations of two sweeps of the same images, on the fresh seeds that both have."""
    from mt_sweeps.results.comparison import compare_sweeps
    from mt_sweeps.storage.open import open_home

    opened = open_home(home)
    found = compare_sweeps(opened.sweep(first), opened.sweep(second))
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        _print(found)


@cli.command("copy")
@click.argument("name", metavar="SWEEP")
@click.option("-o", "--output", type=File, help="Where to. Default: the terminal.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@_home_option
def copy_spec(name: str, output: Path | None, force: bool, home: str | None) -> None:
    """Write the search-space file of SWEEP, to change it and run it anew. It holds every setting."""
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    sweep.load_spec()  # a damaged one is not copied
    _write(output, sweep.spec_text(), force, f"run it anew, with changes: {sweep.command('run', str(output))}")


@cli.command("export")
@click.argument("name", required=False, metavar="[SWEEP]")
@click.option("-o", "--output", type=File, help="Where to. Default: the terminal.")
@_home_option
@_plugin_option()
def export_best(name: str | None, output: Path | None, home: str | None) -> None:
    """Write the best hyper-parameters of SWEEP (default: the newest) to a file that `train` takes."""
    from mt_sweeps.results import best_file
    from mt_sweeps.storage.open import open_home

    sweep = open_home(home).sweep(name)
    text = best_file.to_yaml(best_file.from_sweep(sweep))
    _write(output, text, True, f"train the final model with: {sweep.command('train', str(output))}")


@cli.command("report")
@click.argument("name", required=False, metavar="[SWEEP]")
@_home_option
@_json_option
@_plugin_option()
def write_report(name: str | None, home: str | None, as_json: bool) -> None:
    """Write the report of SWEEP (default: the newest), one web page for offline reading.

    Its path is printed, and it is added to MLflow.
    """
    from mt_sweeps import report
    from mt_sweeps.storage.open import open_home

    directory = open_home(home).sweep(name)
    if as_json:
        click.echo(json.dumps(report.build(directory).as_json(), indent=2))
        return
    _print(report.write(directory))
    from mt_sweeps.tracking.sweep_run import send_report  # brings MLflow, when the page is there already

    send_report(open_home(home), directory)


@cli.command()
@click.argument("file", type=File)
@click.option("--seeds", type=click.IntRange(1), default=1, help="How many, one after the other. Default: 1.")
@_set_option
@click.option("--with-validation", is_flag=True, help="Train on the validation and verdict images and labels too.")
@_home_option
@_allow_paths_option
@_plugin_option()
def train(file: Path, seeds: int, overrides: tuple[str, ...], with_validation: bool, home: str | None) -> None:
    """Train the final model with the values of FILE (from `export`) and read the test set once."""
    from mt_sweeps.commands.train import train_best
    from mt_sweeps.storage.open import open_home

    train_best(file, open_home(home), overrides, with_validation, seeds)


@cli.command()
@click.argument("model")
@click.argument("folder", type=File)
@click.option("-o", "--output", type=File, help="Where to. Default: the terminal.")
@_home_option
@_json_option
@_plugin_option()
def predict(model: str, folder: Path, output: Path | None, home: str | None, as_json: bool) -> None:
    """Classify the images in FOLDER with MODEL (from `train`): CSV lines of path, class and probability.

    If they are in folders named as their classes (FOLDER/CLASS/*), it also prints the errors, in all and by class.
    With --json, it prints these as JSON, and the lines only go to a file (-o).
    """
    from mt_sweeps.commands import predict
    from mt_sweeps.storage.open import open_home

    predict.predict(predict.find(model, open_home(home)), folder, output, as_json)


@cli.command()
@click.argument("name", required=False, metavar="[SWEEP]")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
@_home_option
def dashboard(name: str | None, port: int, home: str | None) -> None:
    """Show SWEEP (default: the newest) in MLflow; without a server of its own, start one on this machine."""
    from mt_sweeps.commands import dashboard as server
    from mt_sweeps.storage.open import open_home

    server.serve(open_home(home), name, port)


@cli.command()
@click.argument("file", type=File, required=False)
@_set_option
@click.option("--address", metavar="URL", help="Of a cluster's dashboard, for `submit`: http://host:8265.")
@_home_option
@_json_option
@_allow_paths_option
@_plugin_option()
def doctor(file: Path | None, overrides: tuple[str, ...], address: str | None, home: str | None, as_json: bool) -> None:
    """Check what a sweep (of FILE) needs: Python, GPUs, Ray, ledger, storage, MLflow, credentials, disk, clocks."""
    from mt_sweeps.commands import doctor

    checks = []
    for check in doctor.examine(file, home, overrides, address):
        checks.append(check)
        if not as_json:
            _print(doctor.text(check))
    click.echo(json.dumps(doctor.as_json(checks), indent=2) if as_json else f"\n{doctor.summary(checks)}")
    if any(check.state == "problem" for check in checks):
        sys.exit(1)


def main() -> None:
    """Run a command; print errors as messages, and exit with 1, 2 or 130 (see the README)."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        cli(standalone_mode=False)
    except (InputError, SweepError) as error:
        _print("\n".join(line[:_LINE] for line in f"error: {error}".split("\n")), err=True)
        _leave(error.exit_status)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        _print(shown.getvalue().rstrip("\n"), err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        _leave(130)


def _write(output: Path | None, text: str, force: bool, then: str) -> None:
    """Write a text to a file and say what is next, or print it."""
    from trainers.files import write_atomically

    if output is None:
        click.echo(text, nl=False)
        return
    if output.exists() and not force:
        raise InputError(f"{output}: is there already; choose another name with -o, or add --force")
    try:
        write_atomically(output, text)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}") from None
    _print(f"written to {output}; {then}")


def _print(text: object, err: bool = False) -> None:
    """Print a text that may repeat what a user wrote, or what a file is called."""
    click.echo(printable(text), err=err)


def _leave(status: int) -> NoReturn:
    """Exit at once, without waiting for threads of libraries or printing their messages."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
