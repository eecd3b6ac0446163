"""`inspect`: the unlabeled images to label next, and the worst mistakes on validation images, in tables and pictures.

The test images are never read.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from mt_sweeps.commands import predict as predicting
from mt_sweeps.commands.image_tables import ImageTables, pixels_of
from mt_sweeps.errors import InputError, trainer_error_text
from mt_sweeps.formatting import counted, percent
from mt_sweeps.results import pictures, training_result
from mt_sweeps.results.kept_weights import kept_weights
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.storage.home import Home, SweepStore
from mt_sweeps.study.ledger_view import ledger_of
from mt_sweeps.tracking.stored_runs import download_models
from trainers.data.cache import image_names, prepare
from trainers.data.sources import check_source
from trainers.errors import CheckpointError, DataError, MissingPlugin, TrainingError, escaped

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from trainers.checkpoint import Model
    from trainers.uncertainty import Examples, Predictions

FORMAT = "mt-sweeps-inspection/1"  # of `--json`, described in docs/json.md
_KINDS = ("least_certain", "disagreement", "mistakes")
_MOST_TEACHERS = 3  # of the best trials, that are compared


@dataclass(frozen=True)
class UnlabeledImage:
    """An unlabeled image, and what was predicted for it.

    Attributes:
        path: in the folder of the images, or its number among the training images.
        predicted: class.
        probability: of this class.
        entropy: of the probabilities of all classes, in nats; the higher, the less sure.
        disagreement: between the teachers, in nats: see `uncertainty.Predictions`; None: there is only one.
    """

    path: str
    predicted: str
    probability: float
    entropy: float
    disagreement: float | None


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found.

    Attributes:
        sweep: its name.
        folder: that the files are in.
        model: that was looked at, in words.
        weights: which of a trial are kept and were looked at, in words; empty: it is no trial's, or that is not known.
        compared: the models whose disagreement was measured.
        unlabeled: number of unlabeled images.
        validation: number of validation images.
        mistakes: number of validation images that were classified wrongly.
        files: that were written.
        notes: what is missing and why, a sentence each.
    """

    sweep: str
    folder: str
    model: str
    weights: str
    compared: list[str]
    unlabeled: int
    validation: int
    mistakes: int
    files: list[str]
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return what `inspect --json` prints."""
        return {"format": FORMAT, **asdict(self)}

    def __str__(self) -> str:
        lines = [
            f"{_with(self.model, self.weights)}: {counted(self.unlabeled, 'unlabeled image')}; {self.mistakes:,} of "
            f"{counted(self.validation, 'validation image')} wrong",
            *self.notes,
            *(f"  {Path(self.folder) / name}" for name in self.files),
        ]
        return "\n".join(lines)


def inspect(home: Home, name: str | None, output: Path | None, images: int, model: str | None) -> Inspection:
    """Write tables and pictures of the images that a sweep's best teacher is least sure of, and of its worst mistakes.

    Args:
        home: holds the sweep.
        name: of the sweep, or None for the newest.
        output: a folder; None: `inspect` in the sweep's own folder.
        images: at most how many of each kind.
        model: a final model, as `predict` takes it; None: that of the best trial, or if it is not kept, of a `train`.

    Raises:
        InputError: no model is kept, the images are gone or have changed, or nothing can be written there.
        SweepError: MLflow has the weights and does not answer.
    """
    sweep = home.sweep(name)
    sweep.check_plugins()
    with ExitStack() as stack:
        files = _model_files(home, sweep, model, stack)
        models = {title: _load(file) for title, file in files.items()}
    title, first = next(iter(models.items()))
    ledger = ledger_of(sweep)
    trial = next((trial for trial in ledger.trials("search") if trial.id.label == title), None)
    kept = None if trial is None else kept_weights(sweep, trial)
    weights = "" if kept is None else str(kept)
    shown = _images(sweep, first)
    compared = {one: other for one, other in models.items() if other.classes == first.classes}
    is_compared = len(compared) > 1
    folder = output or sweep.path / "inspect"
    tables = ImageTables(folder)
    with _progress() as progress:
        unlabeled, mistakes = _predict(sweep, list(compared.values()), shown, images, progress)
    _write_unlabeled(tables, _with(title, weights), unlabeled, shown.unlabeled, shown, images, is_compared)
    tables.write_examples(
        "mistakes",
        f"The worst mistakes of {_with(title, weights)} on the validation images",
        mistakes,
        shown.names(mistakes.indices.tolist()),
        shown.classes,
    )
    _finish(folder, tables)
    notes = []
    if trial is not None and kept is not None and (other_error := kept.beside(trial, ledger.spec)):
        notes.append(other_error)
    if not is_compared:
        notes.append(
            "the weights of one trial alone are kept: no disagreement is measured (tracking.models keeps more)"
        )
    if not len(shown.unlabeled):
        notes.append("the data set has no unlabeled images")
    if not mistakes.images:
        notes.append("no validation image was kept back: there are no mistakes to show")
    if output is None:
        notes.append(f"the report shows them too: {sweep.command('report')}")
    return Inspection(
        sweep=sweep.name,
        folder=str(folder),
        model=title,
        weights=weights,
        compared=list(compared) if is_compared else [],
        unlabeled=len(shown.unlabeled),
        validation=mistakes.images,
        mistakes=mistakes.mistakes,
        files=tables.files,
        notes=notes,
    )


def _with(model: str, weights: str) -> str:
    """Return a model with the weights of it that are kept: `trial 0 (the weights that are kept, those of ...)`."""
    return f"{model} ({weights})" if weights else model


def _finish(folder: Path, tables: ImageTables) -> None:
    """Write the small pictures for the report, and remove what an earlier call wrote and this one did not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in _KINDS:
            for suffix in ("csv", "png") if f"{kind}.csv" not in tables.files else ():
                (folder / f"{kind}.{suffix}").unlink(missing_ok=True)
        pictures.save(folder, tables.sets)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}; name another folder with -o") from None


def _model_files(home: Home, sweep: SweepStore, model: str | None, stack: ExitStack) -> dict[str, Path]:
    """Return the files of the models that are looked at by what they are, the one that matters first."""
    ledger = ledger_of(sweep)
    complete = [trial for trial in ledger.trials("search") if trial.state == "complete"]
    ranked = [trial.id for trial in sorted(complete, key=lambda trial: trial.objective(ledger.spec.metric))]
    if not ranked and model is None:
        raise InputError(f"{sweep.name}: no trial has completed, so there is no model; see `{sweep.command('status')}`")
    of_trials = _kept(home, sweep, ranked[:_MOST_TEACHERS], stack)
    files = {f"trial {trial.number}": file for trial, file in of_trials.items()}
    if model is not None:
        return {f"the model {model}": predicting.find(model, home)} | files
    if ranked[0] not in of_trials:
        files = _trained(home, sweep) | files
    if not files:
        raise InputError(
            f"{sweep.name}: the weights of its best trials are not kept (tracking.models, or MLflow's files were "
            f"removed); train the final model: {sweep.command('export', sweep.name, '-o', 'best.yaml')}, then "
            f"{sweep.command('train', 'best.yaml')}"
        )
    return files


def _kept(home: Home, sweep: SweepStore, ranked: Sequence[TrialId], stack: ExitStack) -> dict[TrialId, Path]:
    """Return those weights of some trials that are kept: in a trial's folder, or in MLflow."""
    files = {trial: stack.enter_context(sweep.trials.model(trial)) for trial in ranked if sweep.trials.has_model(trial)}
    if missing := [trial for trial in ranked if trial not in files]:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mt-sweeps-")))
        files |= download_models(home, sweep, missing, folder)
    return {trial: files[trial] for trial in ranked if trial in files}


def _trained(home: Home, sweep: SweepStore) -> dict[str, Path]:
    """Return the newest final model of a sweep in this home, if there is one."""
    results = training_result.folders_of_sweep(home.trained, sweep.load_environment().id)
    of_search = [folder for folder, result in results.items() if result.arm == "search"]
    models = [folder for folder in of_search if (folder / training_result.MODEL).is_file()]
    if not models:
        return {}
    newest = max(models, key=lambda folder: results[folder].time)
    return {f"the final model {newest.name}": newest / training_result.MODEL}


def _load(file: Path) -> "Model":
    import torch

    from trainers.checkpoint import load_model

    try:
        return load_model(file, "cuda" if torch.cuda.is_available() else "cpu")
    except MissingPlugin as error:
        raise InputError(str(error)) from None
    except CheckpointError as error:
        raise InputError(f"{error}; name another with --model") from None


@dataclass(frozen=True)
class _Images:
    """The training images of a sweep.

    Attributes:
        take: returns the pixels of some of them.
        labels: int64 [n], -1 where an image has no class.
        classes: names, in the order of their indices.
        names: returns what some of them are called.
        unlabeled: numbers of those that are trained on without labels.
        validation: numbers of those that select.
    """

    take: "Callable[[Tensor], Tensor]"
    labels: "Tensor"
    classes: list[str]
    names: "Callable[[Sequence[int]], list[str]]"
    unlabeled: "np.ndarray"
    validation: "np.ndarray"


def _images(sweep: SweepStore, model: "Model") -> _Images:
    """Return the images that a model of a sweep was trained and selected on."""
    from trainers.data import dataset
    from trainers.data.splits import split_for

    config = model.config.dataset
    try:
        check_source(config)
        data = dataset.load(config)
        file = prepare(config)
        split = split_for(model.config, data.train_labels.numpy(), data.classes, None, data.groups)
    except (DataError, TrainingError) as error:
        raise InputError(f"{sweep.name}: its images: {trainer_error_text(error)}") from None
    except OSError as error:
        raise InputError(f"{error.filename or config.name}: cannot be read: {error.strerror}") from None
    if data.fingerprint != sweep.load_environment().data_fingerprint:
        raise InputError(f"{sweep.name}: its images have changed since it ran; put back those that it was run with")
    return _Images(
        take=data.train.__getitem__,
        labels=data.train_labels,
        classes=[escaped(name) for name in data.classes],
        names=lambda indices: image_names(file, indices),
        unlabeled=split.unlabeled,
        validation=split.validation,
    )


def _predict(
    sweep: SweepStore, models: "Sequence[Model]", images: _Images, most: int, progress: Progress
) -> "tuple[Predictions, Examples]":
    """Return what models make of the unlabeled images, and the worst mistakes of the first on the validation images."""
    import torch

    from trainers.uncertainty import predict, worst_and_least_certain

    task = progress.add_task("images", total=len(images.unlabeled) + len(images.validation))
    unlabeled, validation = torch.from_numpy(images.unlabeled), torch.from_numpy(images.validation)

    def done(count: int) -> None:
        progress.update(task, advance=count)

    try:
        return (
            predict(models, images.take, unlabeled, done=done),
            worst_and_least_certain(models[0], images.take, validation, images.labels[validation], most, done)[0],
        )
    except ValueError as error:
        raise InputError(f"{sweep.name}: a model cannot be used: {error}; name another with --model") from None


def _write_unlabeled(
    tables: ImageTables,
    title: str,
    found: "Predictions",
    numbers: "np.ndarray",
    images: "_Images",
    most: int,
    is_compared: bool,
) -> None:
    """Write the unlabeled images that the first model is least sure of, and those on which all disagree most."""
    if not len(numbers):
        return
    orders = {"least_certain": (found.entropy, f"Unlabeled images that the teacher of {title} is least sure of")}
    if is_compared:
        orders["disagreement"] = found.disagreement, "Unlabeled images that the best teachers disagree on"
    for name, (values, what) in orders.items():
        order = values.argsort(descending=True, stable=True)[:most]
        chosen = numbers[order.numpy()]
        columns = (found.classes, found.probability, found.entropy, found.disagreement)
        rows = [
            UnlabeledImage(path, images.classes[predicted], probability, entropy, apart if is_compared else None)
            for path, predicted, probability, entropy, apart in zip(
                images.names(chosen), *(column[order].tolist() for column in columns), strict=True
            )
        ]
        captions = [[row.predicted, percent(row.probability)] for row in rows]
        tables.write(name, what, rows, pixels_of(images.take, chosen), captions)


def _progress() -> Progress:
    return Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
