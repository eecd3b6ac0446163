"""The findings of a report: what it shows of a sweep, as data.

Errors are fractions, hours are those that workers spent.
"""

from dataclasses import asdict, dataclass
from typing import Any

from mt_sweeps.report.search_findings import Curves, DrawnTrial, Importance, Parameter, Progress, TrialFinding
from mt_sweeps.results.finalists import Verdict
from mt_sweeps.results.pictures import PictureSet
from mt_sweeps.results.training_result import FinalModel
from mt_sweeps.search_space.space import Values
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.study.pruner import Correlation

FORMAT = "mt-sweeps-report/2"
STATES = ("complete", "pruned", "failed", "running", "waiting")


@dataclass(frozen=True)
class SweepFinding:
    """The sweep as a whole: `images` by purpose, `states` counts the trials of the search, of which there are to be
    `total`. `finalists` is how many configurations are to be trained again.

    Of one that is finished, `ended` is why trials were left unstarted, and `unstarted` also says which, and what to do.
    Both are empty if none were.

    All errors of the page are of the kind that ranks trials: `error_name` is `error` or `balanced error`.
    """

    name: str
    state: str
    metric: str
    error_name: str
    network: str
    method: str
    steps: int
    started: float
    seconds: float
    images: dict[str, int]
    states: dict[str, int]
    total: int
    finalists: int
    ended: str = ""
    unstarted: str = ""


@dataclass(frozen=True)
class BestFinding:
    """The best trial of the search."""

    trial: int
    state: str
    step: int
    error: float
    values: Values
    standard_error: float


@dataclass(frozen=True)
class BaselineFinding:
    """The best trial of a baseline."""

    error: float
    standard_error: float


@dataclass(frozen=True)
class ClassFinding:
    """The errors by class of one network that was trained, with its confusion matrix.

    Attributes:
        title: what was trained, and what it was evaluated on.
        classes: names, in the order of their indices.
        errors: by class, in [0, 1]; None where a class has no image.
        balanced_error: the mean of these, with its standard error.
        balanced_standard_error: likewise.
        macro_f1: mean F1 of the classes, with its standard error.
        macro_f1_standard_error: likewise.
        confusion: as `Confusion.as_json` has it.
    """

    title: str
    classes: list[str]
    errors: list[float | None]
    balanced_error: float
    balanced_standard_error: float
    macro_f1: float
    macro_f1_standard_error: float
    confusion: dict[str, Any]


@dataclass(frozen=True)
class FailureFinding:
    """The trials that failed for one reason, and the message of the first."""

    reason: str
    trials: list[TrialId]
    message: str


@dataclass(frozen=True)
class Cost:
    """What the trials of one arm in one state took."""

    arm: str
    state: str
    trials: int
    steps: int
    hours: float
    gpu_hours: float


@dataclass(frozen=True)
class Reproduction:
    """What it takes to run the sweep again."""

    command: str
    spec: str
    versions: dict[str, str]
    seeds: dict[str, int]
    data_fingerprint: str
    platform: str
    id: str
    gpus_per_trial: float
    concurrent: int


@dataclass(frozen=True)
class Findings:
    """Everything that a report shows. What there is nothing of is None or empty.

    Attributes:
        sweep: the sweep as a whole.
        verdict: the comparison of the finalists.
        cautions: why results should be doubted, a sentence each.
        best: the best trial of the search.
        search: what the search gained, and whether more trials would help, a sentence each.
        baselines: the best trial of each baseline, by arm.
        trained: the final trainings that lie in this home, with their test errors.
        classes: the errors by class of the best trial of the search, and of the final trainings.
        pictures: of images, that `inspect` and `train` have kept; the JSON has none.
        trials: those of the search.
        progress: the trials of the search that ended, in that order.
        curves: learning curves.
        parameters: one per axis of the search.
        good: the numbers of the best fifth.
        importance: of the searched keys.
        rungs: how well the ranking at each rung predicted the final one.
        failures: by reason, the most frequent first.
        ended_by_hand: the trials that a person ended.
        finalists: errors by contender and seed.
        cost: by arm and state.
        reproduction: what it takes to run the sweep again.
    """

    sweep: SweepFinding
    verdict: Verdict | None
    cautions: list[str]
    best: BestFinding | None
    search: list[str]
    baselines: dict[str, BaselineFinding]
    trained: list[FinalModel]
    classes: list[ClassFinding]
    pictures: list[PictureSet]
    trials: list[TrialFinding]
    progress: list[Progress]
    curves: Curves
    parameters: list[Parameter]
    good: list[int]
    importance: Importance | None
    rungs: list[Correlation]
    failures: list[FailureFinding]
    ended_by_hand: list[TrialId]
    finalists: dict[str, dict[int, float]]
    cost: list[Cost]
    reproduction: Reproduction

    @property
    def completed(self) -> list[DrawnTrial]:
        """The trials of the search that completed, the best first."""
        completed = [DrawnTrial(t.trial, t.error, t.values) for t in self.trials if t.error is not None]
        return sorted(completed, key=lambda trial: trial.error)

    @property
    def pruned(self) -> list[DrawnTrial]:
        """The trials of the search that were pruned, the best first."""
        pruned = [t for t in self.trials if t.state == "pruned"]
        drawn = [DrawnTrial(t.trial, t.last_error, t.values, True) for t in pruned if t.last_error is not None]
        return sorted(drawn, key=lambda trial: trial.error)

    def as_json(self) -> dict[str, Any]:
        """Return what `report --json` prints; docs/json.md describes it."""
        failures = [
            {
                "reason": failure.reason,
                "trials": list(map(_trial_as_json, failure.trials)),
                "message": failure.message,
            }
            for failure in self.failures
        ]
        rungs = [asdict(rung) | {"is_guessing": rung.is_guessing} for rung in self.rungs]
        verdict = None if self.verdict is None else _verdict_as_json(self.verdict)
        content = asdict(self)
        del content["pictures"]
        return {"format": FORMAT, **content} | {
            "verdict": verdict,
            "rungs": rungs,
            "failures": failures,
            "ended_by_hand": list(map(_trial_as_json, self.ended_by_hand)),
        }


def _trial_as_json(trial: TrialId) -> dict[str, Any]:
    return {"arm": trial.arm, "trial": trial.number}


def _verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "means": {name: asdict(mean) for name, mean in verdict.means.items()},
        "comparisons": [asdict(one) | {"winner": one.winner, "told": str(one)} for one in verdict.comparisons],
        "gain": verdict.gain and asdict(verdict.gain) | {"told": str(verdict.gain)},
        "failed": verdict.failed,
        "images": verdict.images,
        "kept_back": verdict.kept_back,
        "probe": verdict.probe,
        "ended": verdict.ended,
    }
