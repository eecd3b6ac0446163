"""Warm start: what a new sweep takes from earlier ones (`from` in its file), for each arm that searches.

It is written to the ledger of the new sweep, which never needs the earlier ones again.
"""

from collections.abc import Sequence
from itertools import zip_longest

from mt_sweeps.errors import InputError
from mt_sweeps.spec.arms import Arm
from mt_sweeps.spec.sweep_spec import SweepSpec, Values
from mt_sweeps.study.ledger_view import LedgerView
from mt_sweeps.study.trial import EarlierTrial, Prior, Trial

POINTS = 3
"""Best configurations of the earlier sweeps that are tried first."""
TRIALS = 32
"""Completed trials of the earlier sweeps that the sampler is given, at the most."""


def collect(spec: SweepSpec, ledgers: Sequence[LedgerView]) -> dict[Arm, Prior]:
    """Return what a new sweep takes from the ledgers of earlier ones.

    Args:
        spec: of the new sweep.
        ledgers: of the earlier ones.

    Raises:
        InputError: an earlier sweep does not fit: it searched other keys, ranked its trials by another metric, or none
            of its completed trials is in the new space.
    """
    for ledger in ledgers:
        _check_fit(spec, ledger.spec)
    arms: list[Arm] = [arm for arm in ("search", "supervised") if arm in spec.arms() and spec.space(arm).entries]
    found = {arm: [_fitting(spec, arm, ledger) for ledger in ledgers] for arm in arms}
    for ledger, trials in zip(ledgers, found["search"], strict=True):
        if not trials:
            raise InputError(
                f"from: {ledger.spec.name}: none of its completed trials is in search_space and passes the filters; "
                "widen the ranges, or take it out of from"
            )
    return {arm: _prior(spec, arm, trials) for arm, trials in found.items()}


def _check_fit(spec: SweepSpec, earlier: SweepSpec) -> None:
    if earlier.search_space.keys() != spec.search_space.keys():
        only_here = sorted(spec.search_space.keys() - earlier.search_space.keys())
        only_there = sorted(earlier.search_space.keys() - spec.search_space.keys())
        texts = [
            f"{', '.join(keys)} only {where}" for keys, where in ((only_there, "there"), (only_here, "here")) if keys
        ]
        raise InputError(
            f"from: {earlier.name}: searched other keys than this file ({'; '.join(texts)}); search the same keys, or "
            "take it out of from"
        )
    if earlier.metric != spec.metric:
        raise InputError(
            f"from: {earlier.name}: its trials are ranked by {earlier.metric}, those of this file by {spec.metric}; "
            "use the same objective.metric, or take it out of from"
        )


def _fitting(spec: SweepSpec, arm: Arm, ledger: LedgerView) -> list[EarlierTrial]:
    """Return the completed trials of an earlier arm that are in the new space, the best first, each point once."""
    complete = [trial for trial in ledger.trials(arm) if trial.state == "complete"] if arm in ledger.spec.arms() else []
    complete.sort(key=lambda trial: (trial.objective(spec.metric), trial.number))
    found: dict[str, Trial] = {}
    for trial in complete:
        try:
            params = spec.space(arm).to_params(trial.values)
        except ValueError:
            continue
        found.setdefault(repr(sorted(params.items())), trial)
    return [EarlierTrial(ledger.spec.name, trial.values, trial.objective(spec.metric)) for trial in found.values()]


def _prior(spec: SweepSpec, arm: Arm, by_sweep: Sequence[Sequence[EarlierTrial]]) -> Prior:
    """Return the best of each sweep in turn as points, and trials that are spread evenly over each sweep's ranks."""
    space, own = spec.space(arm), spec.points if arm == "search" else []
    tried = [space.to_params(point) for point in own]
    points: list[Values] = []
    for trial in (one for rank in zip_longest(*by_sweep) for one in rank if one is not None):
        params = space.to_params(trial.values)
        if params not in tried and len(points) < min(POINTS, spec.trials_of(arm) - len(own)):
            tried.append(params)
            points.append(trial.values)
    share = TRIALS // max(1, len(by_sweep))
    return Prior(points, [trial for trials in by_sweep for trial in _spread(trials, share)])


def _spread(trials: Sequence[EarlierTrial], most: int) -> list[EarlierTrial]:
    if len(trials) <= most:
        return list(trials)
    return [trials[i * len(trials) // most] for i in range(most)]
