"""The best-hyper-parameters file: all that a final training needs, and where it comes from."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from mt_sweeps.errors import InputError
from mt_sweeps.results import finalists
from mt_sweeps.search_space.space import Values
from mt_sweeps.spec import validation_errors, yaml_file
from mt_sweeps.spec.overrides import apply_override
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.spec.sweep_spec import PLAIN_NAME, dotted
from mt_sweeps.storage.environment import Environment
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial
from mt_sweeps.versions import versions
from trainers.config import Settings, TrainerConfig

VERSION = 2
CHANGEABLE = ("trainer", "tracking")  # by --set; the rest says where the values come from


class Validation(Settings):
    """How good the trial was, on the images that chose it: the best of many, so this is too low."""

    metric: str
    error: float
    standard_error: float
    low: float
    high: float
    interval: str = Field(description="what low and high are")
    images: int
    step: int


class ReplicatedError(Settings):
    """How good the configuration was when it was trained again, on fresh seeds and label draws."""

    error: float
    low: float
    high: float
    interval: str = Field(description="what low and high are")
    seeds: int
    images: int
    kept_back: bool = Field(description="whether these images chose nothing; else they were redrawn for every seed")
    others: dict[str, float] = Field(description="mean errors of those that it was compared with")


class Seeds(Settings):
    """What every random choice followed from."""

    sampler: int
    trainer: int
    split: int


class BestFile(Settings):
    """What `mt-sweep export` writes and `mt-sweep train` reads."""

    format: Literal["mt-sweeps-best/2"]
    sweep: str = Field(pattern=PLAIN_NAME)
    sweep_id: str
    trial: int
    searched: Values
    validation: Validation
    finalists: ReplicatedError | None
    seeds: Seeds
    data_fingerprint: str
    split_fingerprint: str
    versions: dict[str, str]
    tracking: Tracking
    trainer: TrainerConfig


def best_file(ledger: Ledger, best: Trial, environment: Environment) -> BestFile:
    """The file for a sweep's best trial.

    Args:
        ledger: of the sweep.
        best: a completed trial of its search arm.
        environment: what the sweep wrote down when it started.
    """
    spec = ledger.spec
    error = best.error(spec.metric)
    assert error is not None and best.last is not None  # a completed trial has its last report
    config = spec.config(best.values)
    low, high = _wilson(error[0], config.dataset.validation)
    return BestFile(
        format="mt-sweeps-best/2",
        sweep=spec.name,
        sweep_id=environment.id,
        trial=best.number,
        searched=best.values,
        validation=Validation(
            metric=spec.metric,
            error=error[0],
            standard_error=error[1],
            low=low,
            high=high,
            interval="95 %, Wilson's for a share of images; it does not know that these images chose the trial",
            images=config.dataset.validation,
            step=best.last.step,
        ),
        finalists=_replicated(ledger, best, environment.images),
        seeds=Seeds(sampler=spec.sampler.seed, trainer=config.seed, split=config.dataset.split_seed),
        data_fingerprint=environment.data_fingerprint,
        split_fingerprint=environment.split_fingerprint,
        versions=environment.versions,
        tracking=spec.tracking,
        trainer=config,
    )


def text(best: BestFile) -> str:
    """As YAML; `read` gives it back."""
    head = f"# Best hyper-parameters of the sweep {best.sweep}. Train the final model: mt-sweep train THIS_FILE\n"
    return head + yaml_file.dump(best.model_dump())


@dataclass(frozen=True)
class TrainingRequest:
    """What is to be trained.

    Attributes:
        best: the file, with the changes asked for.
        changed: dotted keys into `trainer` that are no longer as exported, but for the seed.
    """

    best: BestFile
    changed: list[str]


def read(path: Path, overrides: tuple[str, ...] = ()) -> TrainingRequest:
    """A best-hyper-parameters file.

    Args:
        path: of it.
        overrides: `key=value`, the key a path into the file that begins with `trainer` or `tracking`.

    Raises:
        InputError: it is not one, or of another version, or was edited into something that cannot be trained.
    """
    data = yaml_file.read(path)
    if not isinstance(data, dict) or "format" not in data:
        raise InputError(f"{path}: is not a best-hyper-parameters file; write one with `mt-sweep export SWEEP -o FILE`")
    _check_version(path, data)
    before = dotted({"trainer": data.get("trainer")})
    for override in overrides:
        if override.partition("=")[0].partition(".")[0] not in CHANGEABLE:
            raise InputError(
                f"--set {override}: begin the key with trainer (what is trained: trainer.steps=1000) or "
                "tracking (where it is shown)"
            )
        apply_override(data, override)
    try:
        best = BestFile.model_validate(data)
    except ValidationError as error:
        raise InputError(
            *(f"{path}: {key}: {problem}" for key, problem in validation_errors.describe(error, BestFile, data))
        ) from None
    after = dotted({"trainer": data["trainer"]})
    changed = [key.removeprefix("trainer.") for key in {**before, **after} if before.get(key) != after.get(key)]
    return TrainingRequest(best, [key for key in changed if key != "seed"])


def _check_version(path: Path, data: dict[str, Any]) -> None:
    found = re.fullmatch(r"mt-sweeps-best/(\d{1,9})", str(data["format"]))
    if found is None or int(found[1]) == VERSION:
        return  # what is no format at all is told with what else is wrong
    told = data.get("versions")
    wrote = f"mt-sweeps {told['mt-sweeps']}" if isinstance(told, dict) and "mt-sweeps" in told else "mt-sweeps"
    here = f"this is {versions()['mt-sweeps']}, which reads format {VERSION}"
    if int(found[1]) > VERSION:
        raise InputError(f"{path}: is of format {found[1]}, written by a newer version ({wrote}; {here}); update it")
    raise InputError(
        f"{path}: is of format {found[1]}, written by an older version ({wrote}; {here}); write it again with "
        f"`mt-sweep export {data.get('sweep', 'SWEEP')} -o FILE`, or train with the version that wrote it"
    )


def _wilson(error: float, images: int) -> tuple[float, float]:
    from scipy.stats import binomtest  # takes its time to load

    found = binomtest(round(error * images), images).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def _replicated(ledger: Ledger, best: Trial, images: dict[str, int]) -> ReplicatedError | None:
    """None: the sweep has no finalists, or fewer than two seeds of this trial are done."""
    found, name = finalists.compare_finalists(ledger, images), f"trial {best.number}"
    if found is None or name not in found.means:
        return None
    interval, seeds = found.means[name]
    return ReplicatedError(
        error=interval.mean,
        low=interval.low,
        high=interval.high,
        interval="95 %, Student's t over seeds"
        + ("" if found.kept_back else "; wider for shared images (Nadeau & Bengio)"),
        seeds=seeds,
        images=found.images,
        kept_back=found.kept_back,
        others={other: mean.mean for other, (mean, _) in found.means.items() if other != name},
    )
