"""What runs inside a trial worker: a configuration in, reports and checkpoints out.

Ray reuses the process for one trial after another, so that torch is imported once.
"""

import ctypes
import os
import signal
import sys
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune import Trainable

from mt_sweeps import disk, records, system
from trainers import scripted
from trainers.config import TrainerConfig
from trainers.errors import DataError, TrainingError, UnreadableCheckpoint
from trainers.files import BEST_MODEL, CHECKPOINTS, write_atomically
from trainers.report import Report

DISK_FULL = "disk_full"  # the reason that is no trial's own: the sweep ends with it, and can be resumed


@dataclass(frozen=True)
class Failure:
    """Why a trial cannot give a result: `reason` is one word for the ledger, `message` a sentence."""

    reason: str
    message: str


class Attempt:
    """One try at a trial, in a directory of its own.

    Args:
        config: of the training run.
        directory: for checkpoints, records and the best model; it has the records of earlier tries already.
        previous: the directory of an earlier try, whose checkpoint this one goes on from.
        threads: that torch may use.
        gpus: that Ray gave.
    """

    def __init__(
        self, config: TrainerConfig, directory: Path, previous: Path | None, threads: int, gpus: float
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        # The last checkpoint before the one before it: a try that is killed in between may not go back behind the last.
        for name in (BEST_MODEL, *reversed(CHECKPOINTS)):
            if previous is not None and (previous / name).exists():
                write_atomically(directory / name, (previous / name).read_bytes())
        self._steps = config.steps
        try:
            run = _run(config, directory, threads, gpus)
        except UnreadableCheckpoint as error:
            for name in CHECKPOINTS:
                if (directory / name).exists():
                    (directory / name).replace(directory / f"{name}.unreadable")
            warnings.warn(f"{error}; the trial begins anew", stacklevel=2)
            run = _run(config, directory, threads, gpus)
        self._gpu = system.GpuSampler() if gpus else None
        self._reports = records.recorded(run, directory, self._gpu.means if self._gpu else dict)

    def advance(self) -> tuple[Report, bool]:
        """Train to the next evaluation.

        Returns:
            Its report, durably recorded, and whether it was the last one.
        """
        report = next(self._reports)
        return report, report.step == self._steps

    def close(self) -> None:
        """Nothing of it goes on in this process."""
        if self._gpu is not None:
            self._gpu.close()


def _run(config: TrainerConfig, directory: Path, threads: int, gpus: float) -> records.Run:
    script = scripted.from_environment()
    if script is not None:
        return scripted.ScriptedTrainer(config, directory, script)
    import torch

    from trainers.mean_teacher import Trainer

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
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial in the same process."""
        self._assigned = new_config
        self._end()
        return True

    def step(self) -> dict[str, Any]:
        """One evaluation: `report` and, where the trial failed, `failure`."""
        directory = Path(self._assigned["directory"])
        if not self._assigned["gpus"]:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a trial that was given none takes none; read at torch's first use
        try:
            if self._attempt is None:
                previous = self._assigned["previous"]
                self._attempt = Attempt(
                    TrainerConfig.model_validate_json(self._assigned["config"]),
                    directory,
                    Path(previous) if previous else None,
                    self._assigned["threads"],
                    self._assigned["gpus"],
                )
            report, done = self._attempt.advance()
        except Exception as error:
            self._end()
            failure = Failure(_reason(error), f"{type(error).__name__}: {error}")
            with suppress(OSError):  # the disk may be full
                directory.mkdir(parents=True, exist_ok=True)
                (directory / "error.txt").write_text(traceback.format_exc())
            return {"report": None, "failure": failure, "done": True}
        return {"report": report, "failure": None, "done": done}

    def _end(self) -> None:
        if self._attempt is not None:
            self._attempt.close()
        self._attempt = None


def _die_with_parent() -> None:
    """Ray's own way to end a worker whose node process was killed may hang, and leave it with its memory and GPU."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _reason(error: Exception) -> str:
    if isinstance(error, TrainingError):
        return error.reason
    if disk.is_full(error):
        return DISK_FULL
    torch = sys.modules.get("torch")  # a scripted trial does without
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return "out_of_memory"
    return "error"
