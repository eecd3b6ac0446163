"""`train`: train the final model with the exported values, with one seed or several; each reads the test set once."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mt_sweeps.commands.ending import ending
from mt_sweeps.commands.image_tables import ImageTables
from mt_sweeps.commands.training_progress import TrainingProgress
from mt_sweeps.errors import InputError, SweepError, trainer_error_text
from mt_sweeps.execution.preflight import decoding_progress
from mt_sweeps.formatting import counted, error_text
from mt_sweeps.plugins import run_versions
from mt_sweeps.results import best_file, pictures, training_result
from mt_sweeps.results.best_file import BestFile, TrainingRequest
from mt_sweeps.results.class_errors import balance_text, table_lines
from mt_sweeps.results.statistics import interval
from mt_sweeps.results.training_result import MODEL, RESULT, TestError, TrainingResult
from mt_sweeps.storage import records
from mt_sweeps.storage.home import Home
from mt_sweeps.storage.local import exclusive
from mt_sweeps.terminal import print
from mt_sweeps.tracking.background import BackgroundWriter, finish
from mt_sweeps.tracking.client import connection_problem
from mt_sweeps.tracking.mlflow_errors import first_line
from mt_sweeps.tracking.training_run import TrainingRun
from trainers.config import TrainerConfig, WithWeights
from trainers.config.compatibility import ONLY_LABELS
from trainers.confusion import Confusion
from trainers.data.cache import image_names, prepare, read_facts
from trainers.data.overlaps import look_alike_caution
from trainers.errors import CheckpointError, DataError, TrainingError, escaped
from trainers.files import BEST_MODEL, CHECKPOINTS, write_atomically

if TYPE_CHECKING:
    from trainers import Trainer

TRACKING_SECONDS = 600  # that the end of a training waits for MLflow to take the model
_MOST_EXAMPLES = 64  # test images of each kind, in a table and a picture
_INTERRUPTED_SECONDS = 5  # the same, for a training that was interrupted


def train_best(
    file: Path, home: Home, overrides: tuple[str, ...] = (), with_validation: bool = False, seeds: int = 1
) -> None:
    """Train with the values of a best-hyper-parameters file.

    A training that was interrupted goes on from its checkpoint. One that has ended is not repeated: its test result
    stands.

    Args:
        file: written by `mt-sweep export`.
        home: a training's folder in it is `trained/<sweep>-<hash of the configuration>-seed-<seed>`.
        overrides: `key=value` into the file; the result then says that the configuration is not the exported one.
        with_validation: train on the validation and verdict images too, with their labels.
        seeds: how many, one after the other: the seed of the file, and those that follow it.

    Raises:
        InputError: the file cannot be trained here.
        SweepError: the training failed.
    """
    if with_validation:
        overrides = (*overrides, "trainer.dataset.with_validation=true")
    request = best_file.load_request(file, overrides)
    home.check_writable()
    _print_notes(request, home)
    best, results = request.best, []
    for seed in range(best.trainer.seed, best.trainer.seed + seeds):
        seeded = best.model_copy(update={"trainer": best.trainer.model_copy(update={"seed": seed})})
        results.append(_train_seed(replace(request, best=seeded), file, home))
    if seeds > 1:
        print(_seeds_text(results))
    _show_in_report(home, best)


def _show_in_report(home: Home, best: BestFile) -> None:
    """Write the report of the sweep anew, with the test error, where the sweep is in this home and has ended.

    One that runs writes its report at its end. An error costs the training nothing but a line.
    """
    try:
        sweep = home.sweep(best.sweep)
        if sweep.load_environment().id != best.sweep_id or sweep.is_driven:
            return
    except InputError:  # it was removed, or lives elsewhere
        return
    try:
        from mt_sweeps import report
        from mt_sweeps.tracking.pages import run_pages
        from mt_sweeps.tracking.stored_runs import send_report

        with TrainingProgress() as progress:
            progress.phase("writing the report of the sweep")
            report.write(sweep, driven=False, pages=run_pages(home, sweep))
            send_report(home, sweep)
    except Exception as error:
        command = sweep.command("report")
        print(f"the report is not up to date ({first_line(error)}); write it again with: {command}", flush=True)


def _print_notes(request: TrainingRequest, home: Home) -> None:
    """Say what differs from the sweep, before anything is trained."""
    best, current = request.best, run_versions([request.best.trainer])
    if best.tracking.uri is not None and (problem := connection_problem(home, best.tracking)):
        print(f"MLflow at {best.tracking.uri} does not answer ({problem}): it is tried again at the end")
    if request.changed:
        print(f"note: not as exported, which result.json and MLflow say, too: {', '.join(request.changed)}")
    for caution in request.cautions:
        print(f"caution: {caution}; result.json and MLflow say so, too")
    others = [
        f"{name} {version} (here {current[name]})"
        for name, version in best.versions.items()
        if current.get(name, version) != version
    ]
    if others:
        print(f"note: the sweep ran with other versions: {', '.join(others)}")


def _train_seed(request: TrainingRequest, file: Path, home: Home) -> TrainingResult:
    """Return the result of one seed, trained now or before, and bring MLflow up to date."""
    best = request.best
    directory = home.trained / f"{best.model_name}-{_hash(best)}-seed-{best.trainer.seed}"
    name = f"{best.title}, seed {best.trainer.seed}"
    print(f"training {name}: {best.trainer.steps:,} steps, in {directory}", flush=True)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{directory}: cannot be made ({error.strerror}); move what is there away") from None
    lock = exclusive(directory / "train.lock", f"{file}: another process is training this configuration")
    with lock, TrainingProgress() as progress:
        run = TrainingRun(home, request, file, directory)
        writer = BackgroundWriter(run.sync)
        result = training_result.load(directory)
        if result is not None:
            training_result.check_model(directory)
            print("this configuration has been trained; the test set is read once, so this is its result:")
        else:
            result = _train(request, file, directory, run, writer, progress)
        progress.phase("registering the model in MLflow")
        version, problem = finish(writer, lambda: run.finish(result), TRACKING_SECONDS, "the same command completes it")
    print("\n".join(_result_lines(result)))
    if problem is not None:
        print(problem)
    else:
        print(f"registered in MLflow: models:/{best.model_name}/{version}")
    print(f"model: {directory / MODEL}", flush=True)
    return result


def _train(
    request: TrainingRequest,
    file: Path,
    directory: Path,
    run: TrainingRun,
    writer: BackgroundWriter,
    progress: TrainingProgress,
) -> TrainingResult:
    """Train to the end and write the model and the result; a training that does not come so far says so in MLflow."""
    progress.phase("loading PyTorch")
    from trainers import Trainer

    config, status = request.best.trainer, "FINISHED"
    try:
        progress.phase("preparing the images")
        prepare(config.dataset, decoding_progress())
        progress.phase(_preparation(config, directory))
        trainer = Trainer(config, directory)
        _print_images(trainer, request)
        look_alikes = _look_alikes(trainer)
        if config.method == "probe":
            progress.phase("fitting the linear probe")
        else:
            progress.training(lambda: trainer.step, config.steps)
        for i, report in enumerate(records.record_run(trainer, directory)):
            progress.reported(report)
            if i == 0:
                writer.start()  # MLflow takes seconds to load: by now the file is known to be good
        progress.phase("reading the test images" if trainer.has_test_images else "writing the model")
        trainer.save_model(directory / MODEL)
        result = _result(trainer, request, [*request.cautions, *look_alikes])
        _draw_confusion(result, directory)
        _write_test_examples(trainer, directory)  # before the result: with it, the test set is not read again
        write_atomically(directory / RESULT, result.model_dump_json(indent=2) + "\n")
    except BaseException as error:
        how_to_resume = _how_to_resume(directory)
        if isinstance(error, KeyboardInterrupt):
            print(f"\ninterrupted; {how_to_resume}", flush=True)
        status, shown = ending(error, how_to_resume)
        shown = _explained(shown, file)
        if shown is error:
            raise
        raise shown from None
    finally:
        if status != "FINISHED":
            finish(writer, lambda: run.interrupted(status), _INTERRUPTED_SECONDS)
    for name in (*CHECKPOINTS, BEST_MODEL):  # the training is over: only its model is kept
        (directory / name).unlink(missing_ok=True)
    return result


def _preparation(config: TrainerConfig, directory: Path) -> str:
    """Return what is done before the first step, once the images are there."""
    starts_from_probe = isinstance(config.model, WithWeights) and config.model.head == "probe"
    if starts_from_probe and config.method != "probe" and not _has_checkpoint(directory):
        return "fitting a linear probe, from which the training starts"
    return "preparing the network"


def _has_checkpoint(directory: Path) -> bool:
    return any((directory / name).exists() for name in CHECKPOINTS)


def _how_to_resume(directory: Path) -> str:
    """Return what the same command does after a training was interrupted."""
    if _has_checkpoint(directory):
        return "the same command goes on from the last checkpoint"
    return "the same command starts it again, as there is no checkpoint yet"


def _print_images(trainer: "Trainer", request: TrainingRequest) -> None:
    best, split = request.best, trainer.split
    split_is_changed = any(key.startswith("dataset.") for key in request.changed)
    if trainer.data_fingerprint != best.data_fingerprint:
        print("note: these are not the images of the sweep (the data fingerprint differs)")
    elif split.fingerprint != best.split_fingerprint and not split_is_changed:
        print("note: the images serve other purposes than in the sweep (the split fingerprint differs)")
    if trainer.first_weights != best.first_weights and "model.weights" not in request.changed:
        print("note: these are not the first weights of the sweep (the file of model.weights differs)")
    labels, others = len(split.labeled), len(split.unlabeled)
    without = "no others" if best.trainer.method in ONLY_LABELS else f"{others:,} without"
    print(f"trained on {counted(labels, 'image')} with labels and {without}", flush=True)


def _look_alikes(trainer: "Trainer") -> list[str]:
    """Return, and print, that images which are trained on look almost like others that are scored; empty: none does."""
    dataset = trainer.config.dataset
    file = prepare(dataset)
    caution = look_alike_caution(file, read_facts(file), trainer.split, dataset)
    if caution is None:
        return []
    print(f"caution: {caution}", flush=True)
    return [caution]


def _result(trainer: "Trainer", request: TrainingRequest, cautions: list[str]) -> TrainingResult:
    """Read the test set, and return the result."""
    best, split = request.best, trainer.split
    evaluations = trainer.test() if trainer.has_test_images else {}
    return TrainingResult(
        sweep=best.sweep,
        sweep_id=best.sweep_id,
        arm=best.arm,
        trial=best.trial,
        changed=request.changed,
        cautions=cautions,
        trainer=best.trainer,
        network="teacher" if best.trainer.method == "mean_teacher" else "student",
        test={name: TestError.of(evaluation, trainer.classes) for name, evaluation in evaluations.items()},
        images={name: len(getattr(split, name)) for name in ("labeled", "unlabeled", "validation", "verdict")},
        data_fingerprint=trainer.data_fingerprint,
        split_fingerprint=split.fingerprint,
        first_weights=trainer.first_weights,
        versions=run_versions([best.trainer]),
        time=time.time(),
        classes=trainer.classes,
    )


def _draw_confusion(result: TrainingResult, directory: Path) -> None:
    """Draw what the model takes the test images of each class for, if there are not too many classes."""
    from mt_sweeps.report.class_figures import MOST_CLASSES, confusion
    from mt_sweeps.report.standalone import as_svg

    test = result.test.get(result.network)
    if test is None or test.confusion is None or len(result.classes) > MOST_CLASSES:
        return
    title = f"{result.sweep}, seed {result.trainer.seed}: test images by class"
    drawing = as_svg(confusion(Confusion.from_json(test.confusion), result.classes), title)
    write_atomically(directory / "test_confusion.svg", drawing)


def _write_test_examples(trainer: "Trainer", directory: Path) -> None:
    """Write the worst mistakes on the test images, and those that the model is least certain of, with pictures."""
    if not trainer.has_test_images:
        return
    file = prepare(trainer.config.dataset)
    trained_on = len(read_facts(file).train_labels)
    tables = ImageTables(directory)
    mistakes, least_certain = trainer.test_examples(_MOST_EXAMPLES)
    for name, title, examples in (
        ("test_mistakes", f"The worst mistakes of {directory.name} on the test images", mistakes),
        ("test_least_certain", f"Test images that {directory.name} is least certain of", least_certain),
    ):
        paths = image_names(file, [trained_on + i for i in examples.indices.tolist()])
        tables.write_examples(name, title, examples, paths, [escaped(one) for one in trainer.classes])
    pictures.save(directory, tables.sets)


def _explained(error: BaseException, file: Path) -> BaseException:
    """Return an error of the trainer as the user sees it; any other as it is."""
    import torch

    if isinstance(error, DataError | CheckpointError):
        return InputError(f"{file}: {trainer_error_text(error)}")
    if isinstance(error, TrainingError):
        return SweepError(f"the training failed ({error.reason}): {error}")
    if isinstance(error, torch.OutOfMemoryError):
        cause = str(error).split(". ")[0]
        return SweepError(f"the training failed (out_of_memory): {cause}; lower batch_size, or use precision: bf16")
    return error


def _hash(best: BestFile) -> str:
    """Return eight characters that stand for everything that decides a training except its seed."""
    # Without defaults: a setting that a later version adds must not have the test set read again.
    settings = best.trainer.model_dump_json(exclude={"seed"}, exclude_defaults=True)
    settings += best.data_fingerprint + (best.first_weights or "")
    return hashlib.sha256(settings.encode()).hexdigest()[:8]


def _result_lines(result: TrainingResult) -> list[str]:
    if not result.test:
        return ["the data set has no test images, so there is no test error"]
    lines = []
    for name, error in sorted(result.test.items(), reverse=True):
        shown = error_text((error.error, error.standard_error))
        lines.append(f"test error of the {name}: {shown} (standard error, {error.images:,} images)")
        if error.confusion is not None:
            lines.append(f"  {balance_text(Confusion.from_json(error.confusion))}")
    of_model = result.test[result.network].confusion
    return lines if of_model is None else [*lines, *table_lines(Confusion.from_json(of_model), result.classes)]


def _seeds_text(results: list[TrainingResult]) -> str:
    """Return the mean test error over the seeds, with its interval: of other trainings on the same images."""
    lines = [f"over {len(results)} seeds, mean test error [95 %]; labels and test images are the same for each:"]
    names = sorted(results[0].test, reverse=True)
    for name in names:
        images = results[0].test[name].images
        lines.append(f"  {name} {interval([result.test[name].error for result in results], images=images)}")
        balanced = [error for result in results if (error := result.test[name].balanced_error) is not None]
        if len(balanced) == len(results):
            lines.append(f"  {name}, balanced error {interval(balanced, images=images)}")
    return "\n".join(lines) if len(lines) > 1 else "no test images, so there is no mean over the seeds"
