"""What runs inside a trial worker: a configuration in, reports and checkpoints out.

Ray reuses the process for one trial after another, so that torch is imported once.
"""

import ctypes
import os
import signal
import sys
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune import Trainable

from mt_sweeps.errors import is_disk_full
from mt_sweeps.execution import gpu_metrics, simulated_trainer
from mt_sweeps.storage import records
from mt_sweeps.storage.file_store import StorageUnavailable
from mt_sweeps.storage.trial_files import AttemptDirectory
from trainers.config import TrainerConfig
from trainers.errors import DataError, TrainingError, UnreadableCheckpoint
from trainers.files import CHECKPOINTS
from trainers.report import Report

# The reasons that are no trial's own: the sweep ends with one of them, and can be resumed.
DISK_FULL = "disk_full"
STORAGE_LOST = "storage_lost"


@dataclass(frozen=True)
class Failure:
    """Why a trial cannot give a result: `reason` is one word for the ledger, `message` a sentence."""

    reason: str
    message: str


class Attempt:
    """One try at a trial, in a directory of its own.

    Args:
        config: of the training run.
        place: for checkpoints, records and the best model; it has those of earlier tries already.
        threads: that torch may use.
        gpus: that Ray gave.
    """

    def __init__(self, config: TrainerConfig, place: AttemptDirectory, threads: int, gpus: float) -> None:
        directory = place.path
        self._directory = place
        self._steps = config.steps
        try:
            run = _run(config, directory, threads, gpus)
        except UnreadableCheckpoint as error:
            for name in CHECKPOINTS:
                if (directory / name).exists():
                    (directory / name).replace(directory / f"{name}.unreadable")
            warnings.warn(f"{error}; the trial begins anew", stacklevel=2)
            run = _run(config, directory, threads, gpus)
        self._gpu = gpu_metrics.GpuSampler() if gpus else None
        self._reports = records.record_run(run, directory, self._gpu.means if self._gpu else dict)

    def advance(self) -> tuple[Report, bool]:
        """Train to the next evaluation.

        Returns:
            Its report, durably recorded, and whether it was the last one.
        """
        report = next(self._reports)
        self._directory.upload()
        return report, report.step == self._steps

    def close(self) -> None:
        """Nothing of it goes on in this process."""
        if self._gpu is not None:
            self._gpu.close()


def _run(config: TrainerConfig, directory: Path, threads: int, gpus: float) -> records.Run:
    script = simulated_trainer.from_environment()
    if script is not None:
        return simulated_trainer.SimulatedTrainer(config, directory, script)
    import torch

    from trainers.trainer import Trainer

    torch.set_num_threads(threads)
    if gpus and config.device == "auto" and not torch.cuda.is_available():
        raise DataError("Ray gave this trial a GPU that torch cannot use; install a torch that fits the driver")
    if 0 < gpus < 1:  # for Ray a fraction is a matter of counting: without a cap one trial could starve its neighbours
        torch.cuda.set_per_process_memory_fraction(gpus)
    return Trainer(config, directory)


class TrialWorker(Trainable):  # type: ignore[misc]
    """Ray Tune's side of it. Nothing a trial does raises here: the process lives on for the next one."""

    def setup(self, config: dict[str, Any]) -> None:
        """A new process."""
        _die_with_parent()
        self._attempt: Attempt | None = None
        self._directory: AttemptDirectory | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial in the same process."""
        self._assigned = new_config
        self._end()
        return True

    def step(self) -> dict[str, Any]:
        """One evaluation: `report` and, where the trial failed, `failure`."""
        if not self._assigned["gpus"]:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a trial that was given none takes none; read at torch's first use
        try:
            if self._attempt is None:
                self._directory = AttemptDirectory(self._assigned["address"], self._assigned["previous"])
                config = TrainerConfig.model_validate_json(self._assigned["config"])
                self._attempt = Attempt(config, self._directory, self._assigned["threads"], self._assigned["gpus"])
            report, done = self._attempt.advance()
        except Exception as error:
            failure = Failure(_reason(error), f"{type(error).__name__}: {error}")
            if self._directory is not None:
                self._directory.write_error(traceback.format_exc())
            self._end()
            return {"report": None, "failure": failure, "done": True}
        return {"report": report, "failure": None, "done": done}

    def cleanup(self) -> None:
        """The process ends."""
        self._end()

    def _end(self) -> None:
        if self._attempt is not None:
            self._attempt.close()
        if self._directory is not None:
            self._directory.close()
        self._attempt = self._directory = None


def _die_with_parent() -> None:
    """Ray's own way to end a worker whose node process was killed may hang, and leave it with its memory and GPU."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _reason(error: Exception) -> str:
    if isinstance(error, TrainingError):
        return error.reason
    if is_disk_full(error):
        return DISK_FULL
    if isinstance(error, StorageUnavailable):
        return STORAGE_LOST
    torch = sys.modules.get("torch")  # a scripted trial does without
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return "out_of_memory"
    return "error"
