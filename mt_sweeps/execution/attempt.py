"""One attempt at a trial, from its assignment to its outcomes. Every engine runs trials through it."""

import gc
import os
import sys
import traceback
import warnings
from bdb import BdbQuit
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mt_sweeps.errors import is_disk_full
from mt_sweeps.execution import simulated_trainer, trial_pictures
from mt_sweeps.execution.gpu_metrics import GpuSampler
from mt_sweeps.plugins import import_plugins, plugin_code
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.storage import records
from mt_sweeps.storage.file_store import FileStore, StorageUnavailable, open_files
from mt_sweeps.storage.trial_files import AttemptDirectory
from trainers.config import TrainerConfig
from trainers.errors import DataError, TrainingError, UnreadableCheckpoint
from trainers.files import CHECKPOINTS
from trainers.report import Report

# Reasons that are not the trial's own: the sweep ends with one of them, and can be resumed.
DISK_FULL = "disk_full"
STORAGE_LOST = "storage_lost"
MACHINE_FAULTS = (DISK_FULL, STORAGE_LOST)
_ALLOCATED = 0.9  # of a trial's share of a GPU's memory: CUDA itself needs the rest, which the limit does not count


class GpuLost(Exception):
    """An error on the GPU has ended what this process can do there: each of its calls to CUDA fails from then on."""


@dataclass(frozen=True)
class Assignment:
    """What a worker is to train.

    Attributes:
        trial: which trial.
        attempt: which attempt at it, from 1.
        settings: of the training run, as JSON.
        plugins: modules that register its network or its data set, which the driver's user named, each with the hash of
            the code that the driver has.
        address: where the attempt is kept; see `TrialFiles.address`.
        previous: the address of an earlier attempt whose checkpoint this one resumes from, or None.
        threads: that torch may use.
        gpus: that the trial gets; 0 hides every GPU, a fraction also limits the memory.
        first_weights: SHA-256 of the file that its network is to start from, if there is one.
        data_fingerprint: of the images that it is to be trained on, as `Trainer.data_fingerprint`; None: of any.
    """

    trial: TrialId
    attempt: int
    settings: str
    plugins: dict[str, str]
    address: str
    previous: str | None
    threads: int
    gpus: float
    first_weights: str | None = None
    data_fingerprint: str | None = None

    @cached_property
    def config(self) -> TrainerConfig:
        """The settings of the training run.

        Raises:
            InputError: a plugin cannot be imported here.
            DataError: a plugin's code is not the driver's.
        """
        import_plugins(self.plugins, "plugin")
        config = TrainerConfig.model_validate_json(self.settings)
        for module, code in plugin_code(config).items():
            if code != self.plugins.get(module):
                raise DataError(
                    f"plugin {module}: its file has changed since the driver started; bring it back, or start a new "
                    "sweep"
                )
        return config


@dataclass(frozen=True)
class Failure:
    """Why a trial cannot give a result: `reason` is one word for the ledger, `message` a sentence."""

    reason: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """What came of training to the next evaluation.

    Attributes:
        report: of the evaluation, or None if the attempt failed.
        failure: why it failed, or None.
        done: whether there is nothing more to come.
    """

    report: Report | None
    failure: Failure | None
    done: bool


def make_trainer(assignment: Assignment, folder: Path) -> records.Run:
    """Return the trainer of an assignment: the real one, or the simulated one if the environment asks for it.

    Args:
        assignment: what to train.
        folder: for checkpoints and the best model; the trainer resumes from a checkpoint there.

    Raises:
        UnreadableCheckpoint: the checkpoint is damaged, and there is no other.
        DataError: the images are missing, or torch cannot use the GPU that the trial got.
    """
    config, gpus = assignment.config, assignment.gpus
    script = simulated_trainer.from_environment()
    if script is not None:
        return simulated_trainer.SimulatedTrainer(config, folder, script)
    import torch

    from trainers import CrossValidation, Trainer

    torch.set_num_threads(assignment.threads)
    if gpus and config.device == "auto" and not torch.cuda.is_available():
        raise DataError("Ray gave this trial a GPU that torch cannot use; install a torch that fits the driver")
    if 0 < gpus < 1:  # Ray only counts fractions: without a limit, one trial could take its neighbours' memory
        torch.cuda.set_per_process_memory_fraction(_ALLOCATED * gpus)
    trainer = CrossValidation(config, folder) if config.is_cross_validated else Trainer(config, folder)
    if assignment.first_weights is not None and trainer.first_weights != assignment.first_weights:
        raise DataError(
            "model.weights: the file is not the one that the sweep began with; bring it back, or start a new sweep"
        )
    if assignment.data_fingerprint is not None and trainer.data_fingerprint != assignment.data_fingerprint:
        raise DataError(
            "dataset: the images are not those that the sweep began with; bring them back, or start a new sweep"
        )
    return trainer


class Attempt:
    """One attempt at a trial. What goes wrong in it is an outcome, and raises only if no other trial can follow here.

    Args:
        assignment: what to train.
        is_attended: True if a person may follow it in a debugger: to quit the debugger is then an interrupt. A worker
            has no terminal, so that a `breakpoint()` there is an error of the trial.
        make_trainer: returns the trainer of an assignment in a folder.
        files: opens the location where the attempt is kept.
    """

    def __init__(
        self,
        assignment: Assignment,
        is_attended: bool = False,
        make_trainer: Callable[[Assignment, Path], records.Run] = make_trainer,
        files: Callable[[str], FileStore] = open_files,
    ) -> None:
        self._assignment = assignment
        self._is_attended = is_attended
        self._make_trainer = make_trainer
        self._files = files
        self._directory: AttemptDirectory | None = None
        self._gpu: GpuSampler | None = None
        self._trainer: records.Run | None = None
        self._reports: Iterator[Report] | None = None

    def advance(self) -> Outcome:
        """Train to the next evaluation; its report is on disk, and uploaded, when this returns.

        Raises:
            GpuLost: this process can train no trial any more; a new one can.
            KeyboardInterrupt: the user quit the debugger.
        """
        try:
            self._directory = directory = self._directory or self._open_directory()
            self._reports = reports = self._reports or self._start(directory.path)
            report = next(reports)
            done = report.step == self._assignment.config.total_steps
            if done and self._assignment.trial.arm == "search" and self._trainer is not None:
                trial_pictures.write(self._trainer, self._assignment.trial, directory.path)
            directory.upload()
        except Exception as error:
            if self._is_attended and isinstance(error, BdbQuit):
                raise KeyboardInterrupt from None
            if self._directory is not None:
                self._directory.write_error(traceback.format_exc())
            self.close()
            failure = Failure(failure_reason(error), _message(error))
            if _is_gpu_lost():
                first_line = failure.message.partition("\n")[0]
                raise GpuLost(f"CUDA fails in this process since an error: {first_line}") from None
            return Outcome(None, failure, done=True)
        return Outcome(report, None, done)

    def close(self) -> None:
        """Stop all threads of the attempt, and delete what is only on this worker."""
        if self._gpu is not None:
            self._gpu.close()
        if self._directory is not None:
            self._directory.close()
        self._gpu = self._directory = self._trainer = self._reports = None
        _free_gpu_memory()

    def _open_directory(self) -> AttemptDirectory:
        if not self._assignment.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # read by torch at its first use of CUDA
        return AttemptDirectory(self._assignment.address, self._assignment.previous, self._files)

    def _start(self, folder: Path) -> Iterator[Report]:
        try:
            trainer = self._make_trainer(self._assignment, folder)
        except UnreadableCheckpoint as error:
            for name in CHECKPOINTS:
                if (folder / name).exists():
                    (folder / name).replace(folder / f"{name}.unreadable")
            warnings.warn(f"{error}; the trial begins anew", stacklevel=2)
            trainer = self._make_trainer(self._assignment, folder)
        self._trainer = trainer
        self._gpu = GpuSampler() if self._assignment.gpus else None
        return records.record_run(trainer, folder, self._gpu.means if self._gpu else dict)


def _free_gpu_memory() -> None:
    """Give back what a trainer leaves on the GPU, before the next one needs it: Python collects circles late."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        with suppress(RuntimeError):  # the GPU is lost
            torch.cuda.empty_cache()


def _is_gpu_lost() -> bool:
    """Return True if CUDA fails in this process whatever it is called for.

    So it does after an error in a kernel, and where trials share a GPU by NVIDIA's service, after one of any of them.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def _message(error: Exception) -> str:
    """Return what went wrong. The kind of an error of the training is its reason, and is not repeated."""
    return str(error) if isinstance(error, TrainingError) else f"{type(error).__name__}: {error}"


def failure_reason(error: Exception) -> str:
    """Return the word for what went wrong with a trial, or with the machine under it."""
    if isinstance(error, TrainingError):
        return error.reason
    if is_disk_full(error):
        return DISK_FULL
    if isinstance(error, StorageUnavailable):
        return STORAGE_LOST
    torch = sys.modules.get("torch")  # a simulated trial does without
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return "out_of_memory"
    return "error"
