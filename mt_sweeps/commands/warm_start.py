"""What a new sweep begins with: trials of the sweeps under `from` in its file, and the points of `sampler.prior`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mt_sweeps.errors import InputError
from mt_sweeps.formatting import counted
from mt_sweeps.spec.arms import Arm
from mt_sweeps.spec.prior_points import prior_points
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage.home import Home
from mt_sweeps.study.ledger_view import ledger_of
from mt_sweeps.study.prior import collect
from mt_sweeps.study.trial import Prior

_NAMES: dict[Arm, str] = {"search": "search", "supervised": "supervised baseline"}


def warm_start(
    file: Path, home: Home, spec: SweepSpec, data_fingerprint: str | None
) -> tuple[dict[Arm, Prior], list[str]]:
    """Return what a new sweep takes from earlier ones, and what to tell its user, a line each.

    Args:
        file: of the new sweep, for errors.
        home: of all of them.
        spec: of the new sweep.
        data_fingerprint: of its images; None: not known, and nothing is said of them.

    Raises:
        InputError: an earlier sweep is not there, still runs, cannot be read, or does not fit.
    """
    ledgers, lines = [], []
    try:
        for name in dict.fromkeys(spec.from_):
            sweep = home.sweep(name)
            if sweep.is_driven:
                raise InputError(f"{name}: still runs; wait for it, or end it with `{sweep.command('stop')}`")
            ledgers.append(ledger_of(sweep))
            if data_fingerprint not in (None, sweep.load_environment().data_fingerprint):
                lines.append(
                    f"note: {name} was a sweep of other images: what was best there may not be here, and counts for "
                    "less with every trial"
                )
    except InputError as error:
        raise InputError(*(f"{file}: from: {problem}" for problem in error.problems)) from None
    try:
        prior = collect(spec, ledgers) if ledgers else {}
    except InputError as error:
        raise InputError(*(f"{file}: {problem}" for problem in error.problems)) from None
    return prior, [*_summary(prior), *lines]


def with_prior_points(
    spec: SweepSpec, classes: int, unlabeled: int, taken: Mapping[Arm, Prior]
) -> tuple[dict[Arm, Prior], list[str]]:
    """Return what a new sweep begins with, the points of its `sampler.prior` included, and a line for its user.

    Args:
        spec: of the new sweep.
        classes: of its data set.
        unlabeled: images that are trained on without labels.
        taken: from earlier sweeps; their points come first.
    """
    all_of: dict[Arm, Prior] = dict(taken)
    counts = []
    for arm in [arm for arm in _NAMES if arm in spec.arms() and spec.space(arm).entries]:
        before = all_of.get(arm, Prior())
        if points := prior_points(spec, arm, classes, unlabeled):
            all_of[arm] = replace(before, points=[*before.points, *points])
            counts.append(f"{counted(len(points), 'trial')} of the {_NAMES[arm]}")
    known = {"measured": "settings that were good on other sets", "paper": "the authors' values"}
    line = f"  prior     {known[spec.sampler.prior]} come first: {' and '.join(counts)}" if counts else ""
    return all_of, [line] if line else []


def _summary(prior: Mapping[Arm, Prior]) -> list[str]:
    lines = []
    for arm, taken in prior.items():
        if taken.points or taken.trials:
            best, known = counted(len(taken.points), "best configuration"), counted(len(taken.trials), "trial")
            label = "" if arm == "search" else f" for the {arm} baseline"
            lines.append(f"  from      {', '.join(dict.fromkeys(one.sweep for one in taken.trials))}{label}: ")
            lines[-1] += f"{best} to try first, {known} for the sampler"
    return lines
