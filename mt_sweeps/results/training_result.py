"""The result of a final training: the model and the test errors, as files in its directory."""

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mt_sweeps.errors import InputError
from trainers.config import Settings, TrainerConfig

RESULT = "result.json"
MODEL = "model.safetensors"


class TestError(Settings):
    """The error of one network on the test images."""

    error: float
    standard_error: float
    images: int


class TrainingResult(Settings):
    """The content of `result.json`. If it exists, the training has ended, and the test set has been read."""

    format: Literal["mt-sweeps-trained/1"] = "mt-sweeps-trained/1"
    sweep: str
    sweep_id: str
    trial: int
    changed: list[str]
    trainer: TrainerConfig
    network: Literal["teacher", "student"]
    test: dict[str, TestError]
    images: dict[str, int]
    data_fingerprint: str
    split_fingerprint: str
    first_weights: str | None = None
    versions: dict[str, str]
    time: float


def load(directory: Path) -> TrainingResult | None:
    """Return the result of the training in a directory, or None if it has not ended.

    Raises:
        InputError: another version wrote it.
    """
    file = directory / RESULT
    if not file.exists():
        return None
    try:
        return TrainingResult.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError:
        raise InputError(
            f"{file}: is no result of this version; use the version that wrote it, or move {directory} away to train "
            "and to read the test set again"
        ) from None
