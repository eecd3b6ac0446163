"""The environment of a sweep: the machine, the images and the versions with which it began."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from mt_sweeps.errors import InputError
from mt_sweeps.storage.reading import first_problem
from trainers.config import ModelConfig
from trainers.config.model import first_weights_of

ENVIRONMENT = "environment"
"""The attribute of a search study that holds the environment; in the ledger of a folder, it is a copy."""


def weights_key(model: ModelConfig) -> str | None:
    """Return what names a network's first weights: a path, or the network whose published weights they are."""
    weights = first_weights_of(model)
    return weights if weights != "pretrained" else str(getattr(model, "architecture", model.name))


@dataclass(frozen=True)
class Environment:
    """The content of `environment.json`, whose keys are the names of these attributes.

    Attributes:
        id: of the sweep, a random hexadecimal number; names of sweeps can be used again.
        started: when the sweep began, in seconds since 1970.
        versions: of Python and the packages, as `versions` returns them.
        platform: the operating system and processor.
        gpus_per_trial: GPUs per trial.
        concurrent: trials at once.
        seeds: of the sampler, the trainer and the split.
        data_fingerprint: hash of the images and their classes.
        split_fingerprint: hash of the purpose of each image.
        images: number of images per purpose.
        weights: SHA-256 of each file of first weights, by `weights_key`; absent in sweeps of earlier versions.
        classes: names, in the order of their indices; empty if an earlier version wrote it.
        groups: number of groups of images that serve `training`, `validation` and `verdict`, where each image may be a
            group of its own; empty if an earlier version wrote it.
        file: the search-space file that was run, as an absolute path; empty if an earlier version wrote it.
        file_digest: SHA-256 of its content; empty if it was no file that can be read twice.
        cautions: why errors on these images should be doubted, a sentence each; empty if an earlier version wrote it.
    """

    id: Annotated[str, Field(pattern=r"^[0-9A-Za-z]+$")]  # a part of the names of folders
    started: float
    versions: dict[str, str]
    platform: str
    gpus_per_trial: float
    concurrent: int
    seeds: dict[str, int]
    data_fingerprint: str
    split_fingerprint: str
    images: dict[str, int]
    weights: dict[str, str] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    groups: dict[str, int] = field(default_factory=dict)
    file: str = ""
    file_digest: str = ""
    cautions: list[str] = field(default_factory=list)


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a search-space file; empty if it is no file that can be read twice."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
    except OSError:
        return ""


_environment = TypeAdapter(Environment)


def parse_environment(content: Any, source: str, remedy: str) -> Environment:
    """Return the environment that was kept with a sweep.

    Args:
        content: the parsed JSON.
        source: what to call it in an error.
        remedy: what the user can do about damage, for the error.

    Raises:
        InputError: a key is missing, or has a value that it cannot have.
    """
    try:
        return _environment.validate_python(content)
    except ValidationError as error:
        key, problem = first_problem(error)
        raise InputError(f"{source}: {f'{key}: ' if key else ''}is damaged ({problem}); {remedy}") from None
