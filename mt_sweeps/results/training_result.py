"""The result of a final training: the model and the test errors, as files in its directory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field, ValidationError

from mt_sweeps.errors import InputError
from mt_sweeps.formatting import percent
from mt_sweeps.spec.arms import ExportedArm, TrialId
from mt_sweeps.storage.reading import first_problem, read_text
from trainers.config import Settings, TrainerConfig
from trainers.report import rate_interval

if TYPE_CHECKING:
    from trainers.evaluation import Evaluation

RESULT = "result.json"
MODEL = "model.safetensors"


class TestError(Settings):
    """The error of one network on the test images, with the errors of the classes.

    Version 1 of the file has the first three values alone.
    """

    error: float
    standard_error: float
    images: int
    balanced_error: float | None = Field(None, description="mean of the errors of the classes")
    balanced_standard_error: float | None = None
    macro_f1: float | None = Field(None, description="mean F1 of the classes; the higher, the better")
    macro_f1_standard_error: float | None = None
    class_errors: dict[str, float] = Field(default={}, description="by name of the class")
    confusion: dict[str, Any] | None = Field(None, description="as `Confusion.as_json` has it")

    @classmethod
    def of(cls, evaluation: "Evaluation", classes: Sequence[str]) -> "TestError":
        """Return the result of an evaluation.

        Args:
            evaluation: of one network on the test images.
            classes: names, in the order of their indices.
        """
        confusion = evaluation.confusion
        return cls(
            error=evaluation.rate,
            standard_error=evaluation.standard_error,
            images=evaluation.n,
            balanced_error=confusion.balanced_error,
            balanced_standard_error=confusion.balanced_standard_error,
            macro_f1=confusion.macro_f1,
            macro_f1_standard_error=confusion.macro_f1_standard_error,
            class_errors={
                name: error for name, error in zip(classes, confusion.class_errors, strict=True) if error is not None
            },
            confusion=confusion.as_json(),
        )

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the error, Wilson's for so many images."""
        return rate_interval(round(self.error * self.images) / self.images, self.images)

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers that stand for all classes, by name."""
        names = ("error", "standard_error", "balanced_error", "balanced_standard_error", "macro_f1")
        values = {name: getattr(self, name) for name in (*names, "macro_f1_standard_error")}
        return {name: value for name, value in values.items() if value is not None}


class TrainingResult(Settings):
    """The content of `result.json`. If it exists, the training has ended, and the test set has been read."""

    format: str = Field("mt-sweeps-trained/2", pattern=r"^mt-sweeps-trained/[12]$")
    sweep: str
    sweep_id: str
    arm: ExportedArm = "search"
    trial: int
    changed: list[str]
    cautions: list[str] = Field(default=[], description="why it may not be what the sweep found, or better than it is")
    trainer: TrainerConfig
    network: Literal["teacher", "student"]
    test: dict[str, TestError]
    images: dict[str, int]
    data_fingerprint: str
    split_fingerprint: str
    first_weights: str | None = None
    versions: dict[str, str]
    time: float
    classes: list[str] = Field(default=[], description="names, in the order of their indices; version 1 has none")

    @property
    def trial_id(self) -> TrialId:
        """The trial of the sweep whose configuration was trained."""
        return TrialId(self.arm, self.trial)


@dataclass(frozen=True)
class FinalModel:
    """A final training of a sweep, as `status` and the report show it.

    Attributes:
        arm: whose best trial was trained: `search`, or a baseline.
        trial: its number there.
        seed: of the training.
        changed: the settings that are not as exported.
        network: the one that the model is.
        error: of this network on the test images, as a fraction; None: there are none.
        low: of its 95 % confidence interval.
        high: likewise.
        images: that it was tested on.
        folder: where the model and `result.json` lie.
    """

    arm: ExportedArm
    trial: int
    seed: int
    changed: list[str]
    network: str
    error: float | None
    low: float | None
    high: float | None
    images: int
    folder: str

    @classmethod
    def of(cls, folder: Path, result: TrainingResult) -> "FinalModel":
        """Return what to show of a result and its folder."""
        test = result.test.get(result.network)
        low, high = test.interval if test else (None, None)
        return cls(
            arm=result.arm,
            trial=result.trial,
            seed=result.trainer.seed,
            changed=result.changed,
            network=result.network,
            error=test.error if test else None,
            low=low,
            high=high,
            images=test.images if test else 0,
            folder=str(folder),
        )

    @property
    def title(self) -> str:
        """What was trained: `trial 3, seed 0`, `supervised 2, seed 0, not as exported (steps)`."""
        changed = f", not as exported ({', '.join(self.changed)})" if self.changed else ""
        return f"{TrialId(self.arm, self.trial).label}, seed {self.seed}{changed}"

    @property
    def error_text(self) -> str:
        """Its test error: `5.1 % [3.2, 8.0] on 359 images`."""
        if self.error is None or self.low is None or self.high is None:
            return "no test images"
        return f"{percent(self.error)} [{100 * self.low:.1f}, {100 * self.high:.1f}] on {self.images:,} images"

    @property
    def line(self) -> str:
        """Its test error, what it is and where it lies, as commands show it."""
        return f"{self.error_text}: {self.title}, in {self.folder}"


def load(directory: Path) -> TrainingResult | None:
    """Return the result of the training in a directory, or None if it has not ended.

    Raises:
        InputError: it is damaged, or another version wrote it.
    """
    file = directory / RESULT
    return _read(file) if file.exists() else None


def check_model(directory: Path) -> None:
    """Make sure that the model of a training that has ended is there.

    Raises:
        InputError: it is gone. It is not trained again by itself: that would read the test set again.
    """
    if not (directory / MODEL).is_file():
        raise InputError(
            f"{directory / MODEL}: the model is gone, and its result is there; put it back, or {_again(directory)}"
        )


def _read(file: Path) -> TrainingResult:
    remedy = f"put back what was here, or {_again(file.parent)}"
    text = read_text(file, remedy)
    try:
        return TrainingResult.model_validate_json(text)
    except ValidationError as error:
        key, problem = first_problem(error)
        raise InputError(
            f"{file}: {key}: is no result of this version ({problem}); use the version that wrote it, or {remedy}"
        ) from None


def _again(directory: Path) -> str:
    return f"move {directory} away to train and to read the test set again"


def of_sweep(trained: Path, sweep_id: str) -> list[TrainingResult]:
    """Return the results of all final trainings of a sweep, by directory; those that cannot be read are left out.

    Args:
        trained: the folder of final trainings of a home.
        sweep_id: of the sweep.
    """
    return list(folders_of_sweep(trained, sweep_id).values())


def final_models(trained: Path, sweep_id: str) -> list[FinalModel]:
    """Return the final trainings of a sweep: those of the search first, then by arm, trial and time.

    Args: as of `of_sweep`.
    """
    arms = get_args(ExportedArm)
    results = folders_of_sweep(trained, sweep_id).items()
    ordered = sorted(results, key=lambda one: (arms.index(one[1].arm), one[1].trial, one[1].time))
    return [FinalModel.of(folder, result) for folder, result in ordered]


def folders_of_sweep(trained: Path, sweep_id: str) -> dict[Path, TrainingResult]:
    """Return what `of_sweep` returns, by directory."""
    found = {}
    for file in sorted(trained.glob(f"*/{RESULT}")):
        try:
            result = _read(file)
        except InputError:  # also of another version
            continue
        if result.sweep_id == sweep_id:
            found[file.parent] = result
    return found
