"""Points that a search tries first, from what is known before it (`sampler.prior` in the file)."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mt_sweeps.search_space.distributions import Categorical, FloatRange, IntRange, Values
from mt_sweeps.spec.arms import Arm
from mt_sweeps.spec.sweep_spec import SweepSpec
from trainers.config.model import first_weights_of

SHARE = 2
"""At most one in so many trials of an arm is such a point."""


@dataclass(frozen=True)
class GoodSettings:
    """Settings that were good on several sets, without what depends on the set and on the length of the training.

    Attributes:
        learning_rate: of SGD.
        weight_decay: of SGD.
        strong: `augmentation.strong`.
        window: steps that the teacher averages over, 1 / (1 - decay), as a share of all steps; None: no teacher.
        loss: `consistency.loss`.
        weight: of the loss. Of kl as it is; of mse, for C classes, where it lies between C / 3 (0) and 3 C squared (1),
            on a log scale.
        labeled: `labeled_batch_fraction`.
    """

    learning_rate: float
    weight_decay: float
    strong: str
    window: float | None = None
    loss: str | None = None
    weight: float | None = None
    labeled: float | None = None

    def values(self, classes: int, steps: int) -> Values:
        """Return them by dotted key, for a set with so many classes and a training of so many steps."""
        values: Values = {
            "optimizer.learning_rate": self.learning_rate,
            "optimizer.weight_decay": self.weight_decay,
            "augmentation.strong": self.strong,
        }
        if self.window is not None and self.loss is not None and self.weight is not None and self.labeled is not None:
            mse = classes / 3 * (9 * classes) ** self.weight
            values["ema.decay"] = 1 - 1 / max(1.0, self.window * steps)
            values["consistency.loss"] = self.loss
            values["consistency.weight"] = self.weight if self.loss == "kl" else mse
            values["labeled_batch_fraction"] = self.labeled
        return values


MEASURED: Mapping[Arm, tuple[GoodSettings, ...]] = {
    "search": (
        GoodSettings(0.38, 0.0042, "none", window=0.024, loss="mse", weight=0.33, labeled=0.5),
        GoodSettings(0.057, 0.0025, "none", window=0.04, loss="kl", weight=0.56, labeled=0.5),
        GoodSettings(0.2, 0.0001, "trivial_augment", window=0.031, loss="kl", weight=0.37, labeled=0.5),
        GoodSettings(0.042, 0.0022, "none", window=0.26, loss="mse", weight=0.19, labeled=0.5),
    ),
    "supervised": (GoodSettings(0.2, 0.0001, "trivial_augment"),),
}
"""What `benchmarks/defaults.py` found on six sets of small images, by arm, the best first."""


def prior_points(spec: SweepSpec, arm: Arm, classes: int, unlabeled: int) -> list[Values]:
    """Return the points of `sampler.prior` for an arm that searches, each once, the best first.

    A value beyond its range becomes the end of the range. The sampler chooses what the prior does not know.

    Args:
        spec: of the sweep.
        arm: whose space it is.
        classes: of the data set.
        unlabeled: images that are trained on without labels.

    Raises:
        pydantic.ValidationError: as of `SweepSpec.published_values`, with `paper`.
    """
    if spec.sampler.prior == "none":
        return []
    if spec.sampler.prior == "paper":
        known = [spec.published_values(classes, unlabeled)]
    else:
        known = [good.values(classes, spec.steps) for good in MEASURED.get(arm, ())]
    points: list[Values] = []
    params: list[Values] = []
    for values in known:
        point = _fitted(spec, arm, values)
        try:
            as_params = spec.space(arm).to_params(point)
        except ValueError:  # a filter rules it out
            continue
        if point and as_params not in params:
            points.append(point)
            params.append(as_params)
    return points[: spec.trials_of(arm) // SHARE]


def _fitted(spec: SweepSpec, arm: Arm, known: Values) -> Values:
    """Return those of the values that an arm searches, within their ranges."""
    space, point = spec.space(arm), Values()
    for key in space.order:
        branch = space.branch(key, point) if key in known else None  # None also if the sampler chooses what it needs
        if isinstance(branch, Categorical) and branch.why_invalid(known[key]) is None:
            point[key] = known[key]
        elif isinstance(branch, FloatRange | IntRange):
            with contextlib.suppress(ValueError):  # 0 has no place on a log scale
                point[key] = branch.value_at(min(1.0, max(0.0, branch.fraction_of(known[key]))))
    loss = point.get("consistency.loss", spec.sample_config().consistency.loss)
    if known.get("consistency.loss") != loss:
        point.pop("consistency.weight", None)  # it is that of another loss
    return point


def prior_problems(spec: SweepSpec) -> Iterator[str]:
    """Yield why `sampler.prior` says nothing of this search, and what to do."""
    prior = spec.sampler.prior
    if prior == "none":
        return
    if spec.sampler.name == "grid":
        yield "sampler.prior: a grid is enumerated; take prior out, or use another sampler"
    elif prior == "measured":
        config = spec.sample_config()
        if first_weights_of(config.model) is not None or config.optimizer.name != "sgd":
            yield (
                "sampler.prior: measured is known for networks that start from nothing and are trained with sgd; write "
                "prior: paper or none"
            )
        elif not MEASURED["search"][0].values(10, spec.steps).keys() & spec.search_space.keys():
            known = ", ".join(MEASURED["search"][0].values(10, spec.steps))
            yield f"sampler.prior: measured knows {known}, and none of them is searched; take prior out, or search one"
