"""From a folder of images to a final model, without an edit: `init`, `run`, `export`, `train` on real sets.

    uv run --group dev python benchmarks/own_folders.py IMAGES natural rubbish steel xray signs --hours 0.15

IMAGES holds a folder per set: `<set>/train/<class>/*` and `<set>/test/<class>/*`. Each set is laid out as somebody with
100 labels would have it: class folders or (steel) a table, the other images without a class, and (signs) the frames of
one drive past a sign named alike.

The best trial, the linear probe and the best supervised trial are trained and read on the test images, once each.

What the commands print is kept in OUTPUT/<set>/*.txt. A command that has ended well is not repeated.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MT_SWEEP = Path(sys.prefix) / "bin" / "mt-sweep"
TABLE = {"steel"}  # labels are in a table
TRACKS = {"signs"}  # files are named as their track


@dataclass(frozen=True)
class Folder:
    """The folder of a set, and the options that `init` needs for it."""

    root: Path
    options: list[str]


def lay_out(source: Path, root: Path, labels: int) -> Folder:
    """Copy a set to a folder where `labels` training images have a class, by shares of the classes, at least four."""
    name, rng = source.name, random.Random(0)
    classes = {folder.name: sorted(folder.iterdir()) for folder in sorted((source / "train").iterdir())}
    total, numbers, rows = sum(map(len, classes.values())), dict[str, int](), ["file,label"]

    def copy(file: Path, folder: str) -> str:
        """Copy a file; its new name says no class, but which track it is of."""
        track, _, frame = file.name.partition("_")
        number = numbers.setdefault(str(file.parent / track if name in TRACKS else file), len(numbers))
        new = f"drive{number:04d}_{frame}" if name in TRACKS else f"photo{number:05d}{file.suffix}"
        (root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, root / folder / new)
        return new

    for label, files in classes.items():
        for file in sorted((source / "test" / label).iterdir()):
            copy(file, f"test/{label}")
        rng.shuffle(files)
        count = max(4, round(labels * len(files) / total))
        for number, file in enumerate(files):
            folder = "train" if name in TABLE else f"train/{label}" if number < count else "unlabeled"
            new = copy(file, folder)
            if number < count:
                rows.append(f"{new},{label}")
    if name in TABLE:
        (root / "labels.csv").write_text("\n".join(rows) + "\n")
        return Folder(root, ["--labels", str(root / "labels.csv")])
    return Folder(root, ["--groups", "(drive[0-9]+)_"] if name in TRACKS else [])


def command(place: Path, name: str, *arguments: str) -> str:
    """Run a command, if it has not ended well before; return what it printed."""
    printed = place / f"{name}.txt"
    if not printed.exists():
        print(f"{place.name}: mt-sweep {' '.join(arguments)}", flush=True)
        environment = {**os.environ, "MT_SWEEP_HOME": str(place / "sweeps"), "MT_SWEEP_CACHE": str(place / "cache")}
        with (place / f"{name}.part").open("w") as file:
            subprocess.run([MT_SWEEP, *arguments], cwd=place, check=True, stdout=file, env=environment)
        (place / f"{name}.part").rename(printed)
    return printed.read_text()


def run(options: argparse.Namespace, name: str) -> list[str]:
    """Go from the folder of a set to a final model; return the row of a table."""
    place = (options.output / name).resolve()
    place.mkdir(parents=True, exist_ok=True)
    folder = place / name
    if not (place / "init.txt").exists():
        shutil.rmtree(folder, ignore_errors=True)
    laid_out = lay_out(options.images / name, folder, options.labels)
    made = json.loads(
        command(place, "init", "init", name, *laid_out.options, "--hours", str(options.hours), "--json", "--force")
    )
    settings = [word for setting in options.set for word in ("--set", setting)]
    command(place, "run", "run", f"{name}.yaml", *settings, *(["--in-process"] if options.in_process else []))
    chosen, report = made["chosen"], json.loads(command(place, "report", "report", name, "--json"))
    return row(name, chosen, report, test_errors(place, name, report["baselines"]))


def test_errors(place: Path, name: str, baselines: dict[str, Any]) -> dict[str, str]:
    """Train the best of each arm, and return its test error and 1.96 standard errors of that, by arm."""
    arms = [arm for arm in ("probe", "supervised") if arm in baselines]
    for arm in [*arms, "search"]:
        command(place, f"export-{arm}", "export", name, "--arm", arm, "-o", f"{arm}.yaml")
        command(place, f"train-{arm}", "train", f"{arm}.yaml")
    errors = {}
    for file in (place / "sweeps" / "trained").glob("*/result.json"):
        result = json.loads(file.read_text())
        test = result["test"][result["network"]]
        errors[result["arm"]] = f"{test['error']:.1%} ± {1.96 * test['standard_error']:.1%}"
    return errors


def row(name: str, chosen: dict[str, Any], report: dict[str, Any], errors: dict[str, str]) -> list[str]:
    """Return what a sweep found, in cells."""
    trainer, images = chosen["trainer"], report["sweep"]["images"]
    length = f"{chosen['trials']} trials of {trainer['steps']} steps"
    verdict = report["verdict"]
    means = [
        f"{one} {mean['mean']:.1%} [{100 * mean['low']:.1f}, {100 * mean['high']:.1f}]"
        for one, mean in (verdict["means"] if verdict else {}).items()
    ]
    return [
        name,
        f"{images['labeled']} + {images['validation']} validation, {images['unlabeled']} unlabeled",
        f"{trainer['model']['name']}, {trainer['dataset']['image_size']} px; {length}",
        "; ".join(means),
        verdict["gain"]["told"] if verdict and verdict["gain"] else "",
        *(errors.get(arm, "") for arm in ("probe", "supervised", "search")),
        str(len(report["cautions"])),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("images", type=Path, help="holds a folder for each set")
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--hours", type=float, default=0.15, help="that each sweep may take")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other settings of the sweeps")
    parser.add_argument("--in-process", action="store_true", help="run the sweeps without Ray")
    parser.add_argument("--output", type=Path, default=Path("own-folders"))
    options = parser.parse_args()
    heads = [
        "set",
        "images",
        "chosen by init",
        "error over seeds [95 %]",
        "gain over supervised",
        "test error of the probe",
        "of the best supervised",
        "of Mean Teacher",
        "cautions",
    ]
    rows = [run(options, name) for name in options.sets]
    print("\n".join([f"| {' | '.join(one)} |" for one in (heads, ["---"] * len(heads), *rows)]))


if __name__ == "__main__":
    main()
