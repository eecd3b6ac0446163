"""How many finalists are still to begin, as far as can be foreseen: they end when their comparisons are settled.

Until the first look, half of the seeds after it are expected, about as many as were needed when the verdict was
calibrated (docs/verdict.md). From then on, the seeds to come are expected to show again what those so far have shown.
"""

from collections import Counter, defaultdict

from mt_sweeps.results import finalists
from mt_sweeps.results.spending import FIRST_LOOK
from mt_sweeps.spec.arms import Arm
from mt_sweeps.study.ledger_view import LedgerView


def finalists_to_come(
    ledger: LedgerView, images: dict[str, int] | None, groups: dict[str, int] | None = None
) -> dict[Arm, float]:
    """Return the expected number of trainings that were not created yet, by the arm of what they train again.

    Args:
        ledger: of the sweep, which has finalists.
        images: as of `finalists.plan`; None: not known, so that no look is foreseen.
        groups: as of `finalists.plan`.
    """
    spec, trials = ledger.spec, finalists.contenders(ledger)
    most = spec.finalists.seeds
    arms: list[Arm] = [trial.arm for trial in trials]
    if not trials:  # no trial of the search is complete yet
        arms = ["search"] * min(spec.finalists.top, spec.trials)
        arms += [arm for arm in spec.arms() if arm in spec.finalists.baselines]
    first = most if len(arms) == 1 else min(FIRST_LOOK, most)  # one alone is compared with nothing: all are trained
    seeds = [first + (most - first) / 2] * len(arms)
    if len(trials) > 1 and images is not None:
        seeds = _foreseen(ledger, images, groups) or seeds
    counts = Counter(trial.replicates for trial in ledger.trials("finalists"))
    created = [counts[trial.id] for trial in trials] or [0] * len(arms)
    to_come: dict[Arm, float] = defaultdict(float)
    for arm, expected, count in zip(arms, seeds, created, strict=True):
        to_come[arm] += max(0.0, expected - count)
    return to_come


def _foreseen(ledger: LedgerView, images: dict[str, int], groups: dict[str, int] | None) -> list[float] | None:
    """Return the seeds that each contender has in the end, if those to come repeat those so far; None before a look."""
    seeds, results = finalists.seeds_of(ledger.spec), finalists.results_of(ledger)
    names = [finalists.contender_name(trial.id) for trial in finalists.contenders(ledger)]
    compared = finalists.comparisons_of(ledger, images, groups)
    is_open = [name == names[0] or name not in compared or compared[name].outcome == "open" for name in names]
    ended = [next((k for k, seed in enumerate(seeds) if seed not in results[name]), len(seeds)) for name in names]
    shown = min(count for count, goes_on in zip(ended, is_open, strict=True) if goes_on)
    if shown < FIRST_LOOK:
        return None
    repeated = {
        name: {seed: results[name][seeds[k % min(count, shown)]] for k, seed in enumerate(seeds)}
        for name, count in zip(names, ended, strict=True)
    }
    after = {name: one.after for name, one in finalists.comparisons_of(ledger, images, groups, repeated).items()}
    after[names[0]] = max(after.values(), default=len(seeds))
    return [max(count, after.get(name, len(seeds))) for name, count in zip(names, ended, strict=True)]
