"""Commands for what comes before a sweep: a file, its images, the machine. Each imports what it needs when it runs."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mt_sweeps.cli.options import (
    File,
    allow_paths_option,
    file_argument,
    home_option,
    json_option,
    plugin_option,
    set_option,
)
from mt_sweeps.cli.output import print_json, print_text, write_text
from mt_sweeps.errors import InputError
from mt_sweeps.program import program

if TYPE_CHECKING:
    from mt_sweeps.spec.sweep_spec import SweepSpec


@click.command()
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
@json_option
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
    """Look at the images in FOLDER, and write a search-space file.

    FOLDER holds train/CLASS/*, and where there are any, unlabeled/* and test/CLASS/*. A few training steps are timed,
    so that the sweep fits the hours that it may take.
    """
    from mt_sweeps.commands.init import Request, init

    text = init(Request(folder, labels, groups, output, force, hours, weights, architecture), as_json)
    (click.echo if as_json else print_text)(text)


@click.command()
@file_argument()
@click.option("-o", "--output", type=File, default=Path("preview.png"), help="Default: preview.png.")
@set_option
@click.option("--images", type=click.IntRange(1, 64), default=12, help="How many. Default: 12.")
@allow_paths_option
@plugin_option()
def preview(file: Path, output: Path, overrides: tuple[str, ...], images: int) -> None:
    """Draw what student and teacher see with the settings of FILE.

    There is a row for each strong view that is searched. Of other searched settings of views, the strongest values are
    shown; --set shows another one.
    """
    from mt_sweeps.commands.preview import preview

    print_text(preview(file, overrides, output, images))


@click.command()
@file_argument(nargs=-1, required=True)
@click.option("--without-images", is_flag=True, help="Check the file alone, on a machine without the images.")
@home_option
@allow_paths_option
@plugin_option()
def validate(files: tuple[Path, ...], without_images: bool, home: str | None) -> None:
    """Check FILES, and the folders and earlier sweeps that they name.

    The folders must have the images that the files need, and the sweeps fit. No image is read.
    """
    from mt_sweeps.execution.preflight import check_folder
    from mt_sweeps.spec.load import load_spec

    problems: list[str] = []
    for file in files:
        try:
            loaded = load_spec(file)
            if loaded.from_:
                _check_earlier_sweeps(file, loaded, home)
            note = "the images were not looked at" if without_images else check_folder(file, loaded)
        except InputError as error:
            problems += error.problems
        else:
            arms = ", ".join(f"{loaded.trials_of(arm)} {arm}" for arm in loaded.arms())
            print_text(f"{file}: valid: {len(loaded.search_space)} searched keys, trials: {arms}")
            if note is not None:
                print_text(f"{file}: note: {note}; `{program()} run` checks them")
    if problems:
        raise InputError(*problems)


def _check_earlier_sweeps(file: Path, spec: "SweepSpec", home: str | None) -> None:
    from mt_sweeps.commands.warm_start import warm_start
    from mt_sweeps.storage.open import open_home

    warm_start(file, open_home(home), spec, data_fingerprint=None)


@click.command()
@click.option("-o", "--output", type=File, help="Where to. Default: the terminal.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def schema(output: Path | None, force: bool) -> None:
    """Write the JSON Schema of search-space files, for editors.

    With it, they complete keys and mark mistakes. The first line of a file names it:
    "# yaml-language-server: $schema=schema.json".
    """
    from mt_sweeps.spec.schema import file_schema

    line = f"# yaml-language-server: $schema={output}"
    write_text(output, json.dumps(file_schema(), indent=1) + "\n", force, f"first line of a file that uses it: {line}")


@click.command()
@file_argument(required=False)
@set_option
@click.option("--address", metavar="URL", help="Of a cluster's dashboard, for `submit`: http://host:8265.")
@home_option
@json_option
@allow_paths_option
@plugin_option()
def doctor(file: Path | None, overrides: tuple[str, ...], address: str | None, home: str | None, as_json: bool) -> None:
    """Check what a sweep (of FILE) needs: GPUs, Ray, MLflow, disk.

    And Python, the ledger, the storage, credentials and clocks.
    """
    from mt_sweeps.commands import doctor

    checks = []
    for check in doctor.examine(file, home, overrides, address):
        checks.append(check)
        if not as_json:
            print_text(doctor.text(check))
    if as_json:
        print_json(doctor.as_json(checks))
    else:
        print_text(f"\n{doctor.summary(checks)}")
    if any(check.state == "problem" for check in checks):
        sys.exit(1)
