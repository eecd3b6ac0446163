"""Commands for the final model. Each imports what it needs when it runs."""

from pathlib import Path

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
from mt_sweeps.cli.output import not_replaced


@click.command()
@file_argument(best=True)
@click.option("--seeds", type=click.IntRange(1), default=1, help="How many, one after the other. Default: 1.")
@set_option
@click.option("--with-validation", is_flag=True, help="Train on the validation and verdict images and labels too.")
@home_option
@allow_paths_option
@plugin_option()
def train(file: Path, seeds: int, overrides: tuple[str, ...], with_validation: bool, home: str | None) -> None:
    """Train the final model with the values of FILE (from `export`).

    It reads the test set once.
    """
    from mt_sweeps.commands.train import train_best
    from mt_sweeps.storage.open import open_home

    train_best(file, open_home(home), overrides, with_validation, seeds)


@click.command()
@click.argument("model")
@click.argument("folder", type=File)
@click.option("-o", "--output", type=File, help="Where to. Default: the terminal.")
@click.option("--force", is_flag=True, help="Replace whatever file is there.")
@home_option
@json_option
@plugin_option()
def predict(model: str, folder: Path, output: Path | None, force: bool, home: str | None, as_json: bool) -> None:
    """Classify the images in FOLDER with MODEL (from `train`).

    It prints CSV lines of path, class and probability. A file that it wrote before is replaced, any other one only
    with --force. It warns of images that are unlike those of the training: in
    colour, grey, or much smaller. If the images are in folders named as their classes (FOLDER/CLASS/*), it also prints
    the errors, in all and by class. With --json, it prints these as JSON, and the lines only go to a file (-o).
    """
    from mt_sweeps.commands import predict
    from mt_sweeps.storage.open import open_home

    if output is not None and output.exists() and not force and not predict.is_from_here(output):
        raise not_replaced(output, "is there, and does not hold the lines of an earlier `predict`")
    predict.predict(predict.find(model, open_home(home)), folder, output, as_json)
