"""The environment of a sweep: what was written down of the machine, the images and the versions when it began."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Environment:
    """What `environment.json` holds; its keys are the names of these attributes.

    Attributes:
        id: of the sweep, a random hexadecimal number; names of sweeps can be used again.
        started: when the sweep began, in seconds since 1970.
        versions: of Python and the packages, as `versions` returns them.
        platform: the operating system and processor.
        gpus_per_trial: GPUs that a trial got.
        concurrent: trials at once.
        seeds: of the sampler, the trainer and the split.
        data_fingerprint: of the images and their classes.
        split_fingerprint: of which image serves which purpose.
        images: how many images serve which purpose.
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
