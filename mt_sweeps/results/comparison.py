"""Two sweeps compared by what their best configurations came to on fresh seeds, for `compare`."""

from dataclasses import asdict, dataclass
from typing import Any

from mt_sweeps.errors import InputError
from mt_sweeps.formatting import metric_text, values_text
from mt_sweeps.results import finalists
from mt_sweeps.results.best_file import best_trial
from mt_sweeps.results.statistics import Comparison, compare
from mt_sweeps.search_space.space import Values
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study.ledger_view import LedgerView, ledger_of

FORMAT = "mt-sweeps-comparison/2"  # of `compare --json`, described in docs/json.md


@dataclass(frozen=True)
class ComparedSweep:
    """The best configuration of one of the sweeps.

    Attributes:
        name: of the sweep.
        trial: its best trial.
        error: its validation error, which chose it, as a fraction.
        standard_error: of that.
        values: the searched values.
        mean: the mean error when it was trained again on fresh seeds; None: fewer than two seeds are done.
    """

    name: str
    trial: int
    error: float
    standard_error: float
    values: Values
    mean: finalists.MeanError | None


@dataclass(frozen=True)
class SweepComparison:
    """Two sweeps beside each other.

    Attributes:
        error_name: what their errors are.
        sweeps: both.
        difference: of the first less the second on the seeds that both have; None: they share fewer than two.
    """

    error_name: str
    sweeps: tuple[ComparedSweep, ComparedSweep]
    difference: Comparison | None

    def as_json(self) -> dict[str, Any]:
        """Return what `compare --json` prints."""
        return {"format": FORMAT, **asdict(self)}

    def __str__(self) -> str:
        lines = []
        for one in self.sweeps:
            chosen = metric_text(self.error_name, (one.error, one.standard_error))
            again = "not trained again" if one.mean is None else f"{one.mean} on fresh seeds ({one.mean.seeds})"
            lines += [f"{one.name}: trial {one.trial}, {chosen} on the images that chose it; {again}"]
            lines += [f"  {values_text(one.values)}"]
        if self.difference is None:
            lines.append("they share fewer than two fresh seeds (finalists.top, finalists.seeds): nothing is claimed")
        else:
            lines.append(f"{self.difference} (paired t-test)")
        return "\n".join(lines)


def compare_sweeps(first: SweepStore, second: SweepStore) -> SweepComparison:
    """Compare the best configurations of two sweeps on the seeds and images that both were trained again on.

    Raises:
        InputError: they are the same sweep, one has no best, or errors of one are not errors of the other: they are of
            other images, purposes or metrics.
    """
    if first.name == second.name:
        raise InputError(f"{first.name}: is one sweep; name two")
    ledgers = [ledger_of(sweep) for sweep in (first, second)]
    _check_comparable(first, second, *ledgers)
    compared = tuple(_best(sweep, ledger) for sweep, ledger in zip((first, second), ledgers, strict=True))
    errors = {
        one.name: finalists.errors_by_seed(ledger).get(f"trial {one.trial}", {})
        for one, ledger in zip(compared, ledgers, strict=True)
    }
    environment = first.load_environment()
    overlap, scored, _ = finalists.scored_on(ledgers[0].spec, environment.images, environment.groups)
    a, b = errors[first.name], errors[second.name]
    paired = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    enough = len(paired) > 1
    difference = compare(first.name, second.name, paired, overlap=overlap, images=scored) if enough else None
    return SweepComparison(ledgers[0].spec.error_name, (compared[0], compared[1]), difference)


def _check_comparable(first: SweepStore, second: SweepStore, here: LedgerView, there: LedgerView) -> None:
    """Make sure that errors of one sweep can be compared with those of the other.

    Raises:
        InputError: they cannot; all reasons.
    """
    images, others = first.load_environment(), second.load_environment()
    metrics = here.spec.metric, there.spec.metric
    reasons = {
        "they are of other images": images.data_fingerprint != others.data_fingerprint,
        "the images serve other purposes": images.split_fingerprint != others.split_fingerprint,
        f"one is ranked by {metrics[0]}, the other by {metrics[1]}": metrics[0] != metrics[1],
    }
    if any(reasons.values()):
        text = "; ".join(reason for reason, holds in reasons.items() if holds)
        raise InputError(f"{first.name} and {second.name} cannot be compared: {text}")


def _best(sweep: SweepStore, ledger: LedgerView) -> ComparedSweep:
    best, environment = best_trial(sweep, ledger), sweep.load_environment()
    verdict = finalists.compare_finalists(ledger, environment.images, environment.groups)
    error, standard_error = best.error(ledger.spec.metric) or (1.0, 0.0)
    mean = None if verdict is None else verdict.means.get(best.id.label)
    return ComparedSweep(sweep.name, best.number, error, standard_error, best.values, mean)
