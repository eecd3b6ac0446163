"""Whether searching on is likely to help: a forecast from the trials that completed."""

import math
import random
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mt_sweeps.formatting import counted
from mt_sweeps.search_space.distributions import Categorical, FloatRange, IntRange
from mt_sweeps.search_space.space import Space, Values
from mt_sweeps.study.ledger_view import LedgerView
from mt_sweeps.study.trial import Trial

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

_CANDIDATES = 500  # configurations, drawn at random, at which a next trial might be
_MODELLED = 200  # trials that the model sees at most: its cost grows with their cube
_FEW = 6  # completed trials below which nothing is forecast


def outlook(ledger: LedgerView) -> str | None:
    """Return whether searching on is likely to help, in words with a number; None if too few trials completed.

    A Gaussian process, with the standard error of each trial as its noise, is fitted to the completed trials. The
    expected improvement of a next trial (Jones et al. 1998, "Efficient global optimization of expensive black-box
    functions", equation 15) is over the trial with the lowest mean in the model, since the lowest seen error is partly
    luck, and of the errors without noise: trying the same place again improves nothing. The trials after it can be
    expected to gain less, so that the number of trials in the answer is the least that it takes.
    """
    metric = ledger.spec.metric
    complete = [trial for trial in ledger.trials("search") if trial.state == "complete"]
    if len(complete) < _FEW:
        return None
    improvement = _expected_improvement(ledger.spec.space(), complete, metric)
    _, noise = min(complete, key=lambda trial: trial.objective(metric)).error(metric) or (0.0, 0.0)
    text = f"One more trial is expected to lower the error by {100 * improvement:.2f} points"
    needed = math.ceil(noise / improvement) if improvement > 0 else len(complete) + 1
    if needed > len(complete):
        return (
            f"{text}: after as many trials again as completed, the gain would be below one standard error of the "
            f"best ({100 * noise:.1f} points); searching on is unlikely to help"
        )
    return (
        f"{text}: at least {counted(needed, 'trial')} would gain one standard error of the best "
        f"({100 * noise:.1f} points); searching on may help"
    )


def _expected_improvement(space: Space, trials: Sequence[Trial], metric: str) -> float:
    """Return the largest expected improvement of a next trial, as a fraction of images."""
    from scipy.stats import norm
    from sklearn.exceptions import ConvergenceWarning

    rng = random.Random(0)
    drawn = [values for values in (space.draw(rng) for _ in range(_CANDIDATES)) if space.allows(values)]
    if not space.entries or not drawn:
        return 0.0
    modelled = sorted(sorted(trials, key=lambda trial: trial.objective(metric))[:_MODELLED], key=lambda one: one.number)
    tried = np.array([coordinates(space, trial.values) for trial in modelled])
    errors = np.array([trial.error(metric) or (0.0, 0.0) for trial in modelled])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a key without effect has no length scale
        model = fitted(tried, errors[:, 0], errors[:, 1])
    best = tried[int(model.predict(tried).argmin())]
    mean, covariance = model.predict(np.array([best, *(coordinates(space, one) for one in drawn)]), return_cov=True)
    better = mean[0] - mean[1:]
    variance = covariance[0, 0] + np.diag(covariance)[1:] - 2 * covariance[0, 1:]
    deviation = np.sqrt(np.maximum(variance, 1e-12))
    return float((better * norm.cdf(better / deviation) + deviation * norm.pdf(better / deviation)).max())


def fitted(tried: np.ndarray, errors: np.ndarray, noise: np.ndarray) -> "GaussianProcessRegressor":
    """Return a Gaussian process that is fitted to trials.

    Args:
        tried: float [trials, dimensions], from `coordinates`.
        errors: float [trials].
        noise: float [trials], their standard errors.
    """
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    spread = float(errors.std()) or 1.0
    kernel = ConstantKernel(1.0, (0.1, 10.0)) * Matern(np.ones(tried.shape[1]), (0.1, 30.0), nu=2.5)
    relative = np.maximum(noise / spread, 1e-3) ** 2
    return GaussianProcessRegressor(kernel, alpha=relative, normalize_y=True, random_state=0).fit(tried, errors)


def coordinates(space: Space, values: Values) -> list[float]:
    """Return where a configuration lies: for each branch a number from 0 to 1, or one per choice.

    A branch that does not hold lies in the middle, and has none of its choices.
    """
    found: list[float] = []
    for key, branches in space.entries.items():
        holds = space.branch(key, values)
        for branch in branches:
            if isinstance(branch, FloatRange | IntRange):
                found.append(branch.fraction_of(values[key]) if branch is holds else 0.5)
            elif isinstance(branch, Categorical):
                found += [float(branch is holds and values[key] == choice) for choice in branch.choices]
    return found
