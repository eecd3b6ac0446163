"""The best-hyper-parameters file: all settings of the final training, and which sweep and trial they come from."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, ValidationError

from mt_sweeps.errors import InputError
from mt_sweeps.formatting import value_text
from mt_sweeps.plugins import check_plugins
from mt_sweeps.program import program
from mt_sweeps.results import finalists
from mt_sweeps.search_space.space import Values
from mt_sweeps.spec import validation_errors, yaml_file
from mt_sweeps.spec.allowed_paths import check_paths
from mt_sweeps.spec.arms import BASELINES, FIXED_ARMS, ExportedArm, TrialId
from mt_sweeps.spec.dotted import dotted
from mt_sweeps.spec.overrides import apply_override
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.spec.sweep_spec import PLAIN_NAME
from mt_sweeps.storage.environment import Environment, weights_key
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study.ledger_view import LedgerView, ledger_of
from mt_sweeps.study.trial import Trial, best_of
from mt_sweeps.versions import versions
from trainers.config import Settings, TrainerConfig
from trainers.report import NORMAL_95, rate_interval

VERSION = 2
CHANGEABLE = ("trainer", "tracking")  # with --set; all else records where the values come from


class Validation(Settings):
    """The validation error of the trial: if its arm was searched, too low, since the lowest of many on these images."""

    metric: str
    error: float
    standard_error: float
    low: float
    high: float
    interval: str = Field(description="what low and high are")
    images: int
    step: int


class ReplicatedError(Settings):
    """The mean error of the configuration when it was trained again, on fresh seeds and label draws."""

    error: float
    low: float
    high: float
    interval: str = Field(description="what low and high are")
    seeds: int
    images: int
    kept_back: bool = Field(description="whether these images chose nothing; else they were redrawn for every seed")
    others: dict[str, float] = Field(description="mean errors of those that it was compared with")


class Seeds(Settings):
    """The seeds of all random choices."""

    sampler: int
    trainer: int
    split: int


class BestFile(Settings):
    """What `mt-sweep export` writes and `mt-sweep train` reads."""

    format: Literal["mt-sweeps-best/2"]
    sweep: str = Field(pattern=PLAIN_NAME)
    sweep_id: str
    arm: ExportedArm = Field("search", description="which the trial is the best of; earlier versions: the search")
    trial: int
    searched: Values
    validation: Validation
    finalists: ReplicatedError | None
    seeds: Seeds
    data_fingerprint: str
    split_fingerprint: str
    first_weights: str | None = Field(None, description="SHA-256 of the file that trainer.model.weights names")
    versions: dict[str, str]
    tracking: Tracking
    trainer: TrainerConfig
    digest: str | None = Field(None, description="SHA-256 of all the rest; none: an earlier version wrote the file")

    @property
    def trial_id(self) -> TrialId:
        """The trial of the sweep that the settings are from."""
        return TrialId(self.arm, self.trial)

    @property
    def model_name(self) -> str:
        """The name of its registered model. A baseline has one of its own, so that nobody takes it for the best."""
        return self.sweep if self.arm == "search" else f"{self.sweep}-{self.arm}"

    @property
    def title(self) -> str:
        """What it is of which sweep: `the best of digits (trial 3)`, `the supervised baseline of digits (...)`."""
        what = "the best" if self.arm == "search" else f"the {self.arm} baseline"
        return f"{what} of {self.sweep} ({self.trial_id.label})"


def from_sweep(sweep: SweepStore, arm: ExportedArm = "search") -> BestFile:
    """Return the best-hyper-parameters file of a sweep as it stands now.

    Args:
        sweep: any.
        arm: a baseline, to train what the best of the search is compared with.

    Raises:
        InputError: no trial of the arm has completed, or the sweep has no such arm.
    """
    ledger = ledger_of(sweep)
    return from_trial(ledger, best_trial(sweep, ledger, arm), sweep.load_environment())


def best_trial(sweep: SweepStore, ledger: LedgerView, arm: ExportedArm = "search") -> Trial:
    """Return the best trial of an arm; arguments and errors as of `from_sweep`."""
    arms = [one for one in ledger.spec.arms() if one != "finalists"]
    if arm not in arms:
        raise InputError(f"{sweep.name}: has no {arm} baseline; its arms: {', '.join(arms)}")
    best = best_of(ledger.trials(arm), ledger.spec.metric)
    if best is None:
        of_arm = "" if arm == "search" else f" of {arm}"
        raise InputError(f"{sweep.name}: no trial{of_arm} has completed yet; see `{sweep.command('status')}`")
    return best


def from_trial(ledger: LedgerView, best: Trial, environment: Environment) -> BestFile:
    """Return the best-hyper-parameters file of a trial.

    Args:
        ledger: of the sweep.
        best: a completed trial of its search, or of a baseline.
        environment: recorded when the sweep started.
    """
    spec = ledger.spec
    error = best.error(spec.metric)
    assert error is not None and best.last is not None  # a completed trial has its last report
    config, images = spec.config(best.values, best.arm), environment.images["validation"]
    if spec.error_name == "error":
        low, high = rate_interval(round(error[0] * images) / images, images)
        interval = "95 %, Wilson's for a share of images"
    else:  # a mean over classes is no share of images
        low, high = (min(max(error[0] + end * error[1], 0.0), 1.0) for end in (-NORMAL_95, NORMAL_95))
        interval = "95 %, 1.96 standard errors to both sides"
    searched = {} if best.arm in FIXED_ARMS else best.values
    if searched:
        interval += "; it does not know that these images chose the trial"
    content = BestFile(
        format="mt-sweeps-best/2",
        sweep=spec.name,
        sweep_id=environment.id,
        arm=cast(ExportedArm, best.arm),
        trial=best.number,
        searched=searched,
        validation=Validation(
            metric=spec.metric,
            error=error[0],
            standard_error=error[1],
            low=low,
            high=high,
            interval=interval,
            images=images,
            step=best.last.step,
        ),
        finalists=_replicated(ledger, best, environment),
        seeds=Seeds(sampler=spec.sampler.seed, trainer=config.seed, split=config.dataset.split_seed),
        data_fingerprint=environment.data_fingerprint,
        split_fingerprint=environment.split_fingerprint,
        first_weights=environment.weights.get(weights_key(config.model) or ""),
        versions=environment.versions,
        tracking=spec.tracking,
        trainer=config,
    )
    return content.model_copy(update={"digest": _digest(content.model_dump())})


def to_yaml(best: BestFile) -> str:
    """Return the file's content, which `load_request` reads."""
    head = f"# Best hyper-parameters of the sweep {best.sweep}. Train the final model: {program()} train THIS_FILE\n"
    if best.arm != "search":
        head = (
            f"# {best.title[0].upper()}{best.title[1:]}: {BASELINES[best.arm]}.\n"
            f"# It is there to compare the final model with. Train it: {program()} train THIS_FILE\n"
        )
    return head + yaml_file.dump(best.model_dump())


@dataclass(frozen=True)
class TrainingRequest:
    """What a final training is to train.

    Attributes:
        best: the file's content with the overrides applied.
        changed: dotted keys into `trainer` whose values are no longer as exported, the seed excepted.
        cautions: sentences about why the values may not be those that the sweep found.
    """

    best: BestFile
    changed: list[str]
    cautions: list[str]


def load_request(path: Path, overrides: tuple[str, ...] = ()) -> TrainingRequest:
    """Read a best-hyper-parameters file, with overrides.

    Args:
        path: of the file.
        overrides: `key=value` each; the key is a dotted path into the file that begins with `trainer` or `tracking`.

    Raises:
        InputError: it is no such file, is of another version, or holds something that cannot be trained.
    """
    data = yaml_file.read(path)
    if not isinstance(data, dict) or "format" not in data:
        raise InputError(
            f"{path}: is not a best-hyper-parameters file; write one with `{program()} export SWEEP -o FILE`"
        )
    _check_version(path, data)
    if isinstance(recorded := data.get("versions"), dict):
        check_plugins(str(path), recorded)
    before = dotted({"trainer": data.get("trainer")})
    exported_digest = _digest(data)
    for override in overrides:
        if override.partition("=")[0].partition(".")[0] not in CHANGEABLE:
            raise InputError(
                f"--set {override}: begin the key with trainer (what is trained: trainer.steps=1000) or "
                "tracking (where it is shown)"
            )
        apply_override(data, override)
    check_paths(str(path), data, overrides)
    try:
        best = BestFile.model_validate(data)
    except ValidationError as error:
        problems = validation_errors.describe(error, BestFile, data)
        raise InputError(*(f"{path}: {key}: {problem}" for key, problem in problems)) from None
    after = dotted({"trainer": data["trainer"]})
    changed = [key.removeprefix("trainer.") for key in {**before, **after} if before.get(key) != after.get(key)]
    cautions = _cautions(best, exported_digest, before)
    return TrainingRequest(best, [key for key in changed if key != "seed"], cautions)


def _cautions(best: BestFile, digest: str, exported: Values) -> list[str]:
    """Return how a file contradicts itself, and whether it was edited.

    Args:
        best: the content of the file.
        digest: of what the file says, without overrides.
        exported: its settings, without overrides, under their dotted keys, which begin with `trainer`.
    """
    found = [
        f"searched says {key} {value_text(value)}, and trainer.{key} is {value_text(exported[f'trainer.{key}'])}: the "
        "sweep did not find what is trained"
        for key, value in best.searched.items()
        if exported.get(f"trainer.{key}", value) != value
    ]
    if best.digest is not None and best.digest != digest:
        found.append("the file was changed since it was exported (its digest does not match)")
    return found


def _digest(content: dict[str, Any]) -> str:
    """Return the SHA-256 of what a file says, apart from its digest."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, default=str).encode()).hexdigest()


def _check_version(path: Path, data: dict[str, Any]) -> None:
    match = re.fullmatch(r"mt-sweeps-best/(\d{1,9})", str(data["format"]))
    if match is None or int(match[1]) == VERSION:
        return  # validation reports a malformed format together with all other problems
    recorded = data.get("versions")
    writer = "mt-sweeps"
    if isinstance(recorded, dict) and "mt-sweeps" in recorded:
        writer = f"mt-sweeps {recorded['mt-sweeps']}"
    reader = f"this is {versions()['mt-sweeps']}, which reads format {VERSION}"
    if int(match[1]) > VERSION:
        raise InputError(f"{path}: is of format {match[1]}, written by a newer version ({writer}; {reader}); update it")
    raise InputError(
        f"{path}: is of format {match[1]}, written by an older version ({writer}; {reader}); write it again with "
        f"`{program()} export {data.get('sweep', 'SWEEP')} -o FILE`, or train with the version that wrote it"
    )


def _replicated(ledger: LedgerView, best: Trial, environment: Environment) -> ReplicatedError | None:
    """Return the mean error of a trial's finalists, or None if there are none or fewer than two seeds are done."""
    verdict = finalists.compare_finalists(ledger, environment.images, environment.groups)
    name = finalists.contender_name(best.id)
    if verdict is None or name not in verdict.means:
        return None
    mean = verdict.means[name]
    interval = "95 %, Student's t over seeds"
    return ReplicatedError(
        error=mean.mean,
        low=mean.low,
        high=mean.high,
        interval=interval if verdict.kept_back else f"{interval}; wider for shared images (Nadeau & Bengio)",
        seeds=mean.seeds,
        images=verdict.images,
        kept_back=verdict.kept_back,
        others={other: mean.mean for other, mean in verdict.means.items() if other != name},
    )
