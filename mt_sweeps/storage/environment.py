"""The environment of a sweep: the machine, the images and the versions with which it began."""

from dataclasses import dataclass, field

from trainers.config import ModelConfig
from trainers.config.model import first_weights_of


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
    """

    id: str
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
