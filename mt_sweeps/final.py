"""The final training: the exported values, trained once, and the test set read once."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from mt_sweeps import export, records
from mt_sweeps.console import TrainingProgress, error_text
from mt_sweeps.errors import InputError, SweepError
from mt_sweeps.explain import of_trainer
from mt_sweeps.home import Home, only_one
from mt_sweeps.tracking import BackgroundWriter, Client
from trainers.errors import CheckpointError, DataError, TrainingError
from trainers.files import BEST_MODEL, CHECKPOINTS, write_atomically
from trainers.report import Report

RESULT = "result.json"
MODEL = "model.safetensors"


def train(file: Path, home: Home) -> None:
    """Train with exactly the values of a best-hyper-parameters file.

    A run that was interrupted goes on from its checkpoint; one that has ended is not repeated, its test result stands.

    Args:
        file: written by `mt-sweep export`.
        home: the run's directory is `trained/<sweep>-<hash of the configuration>` in it.

    Raises:
        InputError: the file cannot be trained here.
        SweepError: the training failed.
    """
    best = export.read(file)
    home.check_writable()
    fingerprint = hashlib.sha256(best.trainer.model_dump_json().encode()).hexdigest()[:8]
    directory = home.trained / f"{best.sweep}-{fingerprint}"
    print(f"training the best of {best.sweep} (trial {best.trial}): {best.trainer.steps:,} steps, in {directory}")
    directory.mkdir(parents=True, exist_ok=True)
    with only_one(directory / "train.lock", f"{file}: another process is training this configuration"):
        if (directory / RESULT).exists():
            print("this configuration has been trained; the test set is read once, so this is its result:")
            result = json.loads((directory / RESULT).read_text())
        else:
            try:
                result = _train(best, file, directory)
            except KeyboardInterrupt:
                print("\ninterrupted; the same command goes on from the last checkpoint", flush=True)
                raise
        writer = BackgroundWriter(lambda: _show(home, best, file, directory))
        writer.start()
        writer.stop(60)
    if writer.trouble:
        print(f"MLflow has not been told ({writer.trouble}); the same command tells it again")
    print(_result_text(result, directory))


def _train(best: export.BestFile, file: Path, directory: Path) -> dict[str, Any]:
    from trainers import Trainer

    try:
        trainer = Trainer(best.trainer, directory)
        if trainer.data_fingerprint != best.data_fingerprint:
            print("note: these are not the images of the sweep (the data fingerprint differs)")
        with TrainingProgress(best.trainer.steps) as progress:
            for report in records.recorded(trainer, directory):
                progress.reported(report)
        errors = trainer.test() if trainer.has_test_images else {}
    except (DataError, CheckpointError) as error:
        raise InputError(f"{file}: {of_trainer(error)}") from None
    except TrainingError as error:
        raise SweepError(f"the training failed ({error.reason}): {error}") from None
    trainer.save_model(directory / MODEL)
    test = {
        name: {"error": error.rate, "standard_error": error.standard_error, "images": error.n}
        for name, error in errors.items()
    }
    result = {"test": test, "time": time.time()}
    write_atomically(directory / RESULT, json.dumps(result, indent=2) + "\n")
    for name in (*CHECKPOINTS, BEST_MODEL):  # the training is over: only its model is kept
        (directory / name).unlink(missing_ok=True)
    return result


def _show(home: Home, best: export.BestFile, file: Path, directory: Path) -> None:
    client = Client(home, best.tracking)
    reports = records.read(directory)
    tags = {"mt.sweep": best.sweep_id, "mt.arm": "train", "mt.trained": directory.name}
    run = client.run(tags, directory.name, reports[0].time - reports[0].seconds)
    result = json.loads((directory / RESULT).read_text())
    test = {f"test.{name}_{key}": error[key] for name, error in result["test"].items() for key in _SHOWN}
    reports.append(Report(best.trainer.steps, result["time"], test))
    client.send(run, reports, params=best.searched, tags={"mt.state": "complete"})
    client.send_file(run, file)
    client.send_file(run, directory / MODEL, "model")
    client.end(run, "FINISHED", result["time"])


_SHOWN = ("error", "standard_error")


def _result_text(result: dict[str, Any], directory: Path) -> str:
    lines = [
        f"test error of the {name}: {error_text((error['error'], error['standard_error']))}"
        f" (standard error, {error['images']:,} images)"
        for name, error in sorted(result["test"].items(), reverse=True)
    ]
    if not lines:
        lines = ["the data set has no test images, so there is no test error"]
    return "\n".join([*lines, f"model: {directory / MODEL}"])
