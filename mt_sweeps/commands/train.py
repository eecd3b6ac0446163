"""The final training: the exported values, trained with one seed or several, and the test set read once by each."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path

from mt_sweeps.commands.console import TrainingProgress
from mt_sweeps.errors import InputError, SweepError, Unfinished, is_disk_full, trainer_error_text
from mt_sweeps.formatting import counted, error_text
from mt_sweeps.results import best_file, training_result
from mt_sweeps.results.best_file import TrainingRequest
from mt_sweeps.results.statistics import interval
from mt_sweeps.results.training_result import MODEL, RESULT, TestError, TrainingResult
from mt_sweeps.storage import records
from mt_sweeps.storage.home import Home, exclusive
from mt_sweeps.tracking.background import BackgroundWriter, finish
from mt_sweeps.tracking.client import connection_problem
from mt_sweeps.tracking.training_run import TrainingRun
from mt_sweeps.versions import versions
from trainers.errors import CheckpointError, DataError, TrainingError
from trainers.files import BEST_MODEL, CHECKPOINTS, write_atomically

WINDOW_SECONDS = 600  # that the end of a training waits for MLflow to take the model
GO_ON = "the same command goes on"


def train_best(
    file: Path, home: Home, overrides: tuple[str, ...] = (), with_validation: bool = False, seeds: int = 1
) -> None:
    """Train with the values of a best-hyper-parameters file.

    A run that was interrupted goes on from its checkpoint; one that has ended is not repeated, its test result stands.

    Args:
        file: written by `mt-sweep export`.
        home: a run's directory is `trained/<sweep>-<hash of the configuration>-seed-<seed>` in it.
        overrides: `key=value` into the file; what is changed is no longer the exported configuration, and says so.
        with_validation: train on the validation and verdict images too, with their labels.
        seeds: how many, one after the other: that of the file, and those that follow it.

    Raises:
        InputError: the file cannot be trained here.
        SweepError: the training failed.
    """
    if with_validation:
        overrides = (*overrides, "trainer.dataset.with_validation=true")
    asked = best_file.read(file, overrides)
    best = asked.best
    home.check_writable()
    if best.tracking.uri is not None and (trouble := connection_problem(home, best.tracking)):
        print(f"MLflow at {best.tracking.uri} does not answer ({trouble}): it is told at the end, if it does then")
    if asked.changed:
        print(f"note: not as exported, which result.json and MLflow say, too: {', '.join(asked.changed)}")
    here = versions()
    others = [f"{name} {was} (here {here[name]})" for name, was in best.versions.items() if here.get(name, was) != was]
    if others:
        print(f"note: the sweep ran with other versions: {', '.join(others)}")
    done = []
    try:
        for seed in range(best.trainer.seed, best.trainer.seed + seeds):
            seeded = best.model_copy(update={"trainer": best.trainer.model_copy(update={"seed": seed})})
            done.append(_trained(replace(asked, best=seeded), file, home))
    except KeyboardInterrupt:
        print(f"\ninterrupted; {GO_ON} from the last checkpoint", flush=True)
        raise
    if seeds > 1:
        print(_over_seeds(done))


def _trained(asked: TrainingRequest, file: Path, home: Home) -> TrainingResult:
    """One seed: trained now, or before, and told to MLflow."""
    best = asked.best
    directory = home.trained / f"{best.sweep}-{_hash(best)}-seed-{best.trainer.seed}"
    what = f"the best of {best.sweep} (trial {best.trial}), seed {best.trainer.seed}"
    print(f"training {what}: {best.trainer.steps:,} steps, in {directory}", flush=True)
    directory.mkdir(parents=True, exist_ok=True)
    with exclusive(directory / "train.lock", f"{file}: another process is training this configuration"):
        window = TrainingRun(home, asked, file, directory)
        writer = BackgroundWriter(window.sync)
        result = training_result.read(directory)
        if result is not None:
            print("this configuration has been trained; the test set is read once, so this is its result:")
        else:
            result = _train(asked, file, directory, window, writer)
        version: list[int] = []
        trouble = finish(writer, lambda: version.append(window.finish(result)), WINDOW_SECONDS)
    print("\n".join(_result_lines(result)))
    if trouble:
        print(f"MLflow has not been told ({trouble}); the same command tells it again")
    else:
        print(f"registered in MLflow: models:/{best.sweep}/{version[0]}")
    print(f"model: {directory / MODEL}", flush=True)
    return result


def _train(
    asked: TrainingRequest, file: Path, directory: Path, window: TrainingRun, writer: BackgroundWriter
) -> TrainingResult:
    import torch

    from trainers import Trainer

    best, status = asked.best, "FAILED"
    try:
        trainer = Trainer(best.trainer, directory)
        split = trainer.split
        if trainer.data_fingerprint != best.data_fingerprint:
            print("note: these are not the images of the sweep (the data fingerprint differs)")
        elif split.fingerprint != best.split_fingerprint and not any(
            key.startswith("dataset.") for key in asked.changed
        ):
            print("note: the images serve other purposes than in the sweep (the split fingerprint differs)")
        labels, others = len(split.labeled), len(split.unlabeled)
        print(f"trained on {counted(labels, 'image')} with labels and {others:,} without", flush=True)
        with TrainingProgress(best.trainer.steps) as progress:
            for i, report in enumerate(records.record_run(trainer, directory)):
                progress.reported(report)
                if i == 0:
                    writer.start()  # MLflow takes seconds to load: by now the file is known to be good
        trainer.save_model(directory / MODEL)
        errors = trainer.test() if trainer.has_test_images else {}
        purposes = ("labeled", "unlabeled", "validation", "verdict")
        result = TrainingResult(
            sweep=best.sweep,
            sweep_id=best.sweep_id,
            trial=best.trial,
            changed=asked.changed,
            trainer=best.trainer,
            network="teacher" if best.trainer.method == "mean_teacher" else "student",
            test={
                name: TestError(error=error.rate, standard_error=error.standard_error, images=error.n)
                for name, error in errors.items()
            },
            images={purpose: len(getattr(split, purpose)) for purpose in purposes},
            data_fingerprint=trainer.data_fingerprint,
            split_fingerprint=split.fingerprint,
            versions=versions(),
            time=time.time(),
        )
        write_atomically(directory / RESULT, result.model_dump_json(indent=2) + "\n")
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except (DataError, CheckpointError) as error:
        raise InputError(f"{file}: {trainer_error_text(error)}") from None
    except TrainingError as error:
        raise SweepError(f"the training failed ({error.reason}): {error}") from None
    except torch.OutOfMemoryError as error:
        cause = str(error).split(". ")[0]
        raise SweepError(
            f"the training failed (out_of_memory): {cause}; lower batch_size, or use precision: bf16"
        ) from None
    except OSError as error:
        if not is_disk_full(error):
            raise
        status = "KILLED"
        raise Unfinished(f"the disk is full ({error}); make room: {GO_ON}") from None
    finally:
        if status != "FINISHED":
            finish(writer, lambda: window.interrupted(status), 5)
    for name in (*CHECKPOINTS, BEST_MODEL):  # the training is over: only its model is kept
        (directory / name).unlink(missing_ok=True)
    return result


def _hash(best: best_file.BestFile) -> str:
    """Of all that decides a training but its seed."""
    settings = best.trainer.model_dump_json(exclude={"seed"}) + best.data_fingerprint
    return hashlib.sha256(settings.encode()).hexdigest()[:8]


def _result_lines(result: TrainingResult) -> list[str]:
    return [
        f"test error of the {name}: {error_text((error.error, error.standard_error))}"
        f" (standard error, {error.images:,} images)"
        for name, error in sorted(result.test.items(), reverse=True)
    ] or ["the data set has no test images, so there is no test error"]


def _over_seeds(done: list[TrainingResult]) -> str:
    """The mean over seeds, with the interval that they give: of other trainings with the same images."""
    lines = [f"over {len(done)} seeds, mean test error [95 %]; labels and test images are the same for each:"]
    names = sorted(done[0].test, reverse=True)
    lines += [f"  {name} {interval([one.test[name].error for one in done])}" for name in names]
    return "\n".join(lines) if len(lines) > 1 else "no test images, so nothing is told of the seeds"
