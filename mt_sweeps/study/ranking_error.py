"""What trials are ranked by at a rung, and by how much more than noise one is worse than another."""

import json
import math
from dataclasses import dataclass

from pydantic import TypeAdapter

from trainers.report import Report, error_name, metric_of, standard_error_of


@dataclass(frozen=True)
class RankingError:
    """An error on the validation images, which all trials of a search share.

    Attributes:
        rate: share of the images, or the balanced error, in [0, 1].
        standard_error: of the rate; 0 if an earlier version recorded it.
        correct: which images were classified correctly, as `correct_bits` packs them; empty if it is not known, or if
            the rate is no mean over the images.
    """

    rate: float
    standard_error: float = 0.0
    correct: str = ""

    @classmethod
    def of(cls, report: Report, metric: str) -> "RankingError":
        """Return the better error of student and teacher, as a slow teacher still catches up.

        Args:
            report: of an evaluation.
            metric: the objective, of either network.
        """
        names = [metric_of(metric, network) for network in ("student", "teacher")]
        name = min((name for name in names if name in report.metrics), key=lambda name: report.metrics[name])
        bits = report.correct.get(name.removesuffix("_error"), "") if error_name(metric) == "error" else ""
        return cls(report.metrics[name], report.metrics[standard_error_of(name)], bits)

    @classmethod
    def from_json(cls, rate: float, content: str | None) -> "RankingError":
        """Return what the ledger has: the rate and the JSON of `as_json`, which earlier versions did not write."""
        return _adapter.validate_python({"rate": rate, **json.loads(content or "{}")})

    def as_json(self) -> dict[str, float | str]:
        """Return what the ledger needs beside the rate."""
        return {"standard_error": self.standard_error, "correct": self.correct}

    def standard_errors_above(self, other: "RankingError") -> float:
        """Return by how many standard errors of the difference this error is higher; below 0 if it is lower.

        Where it is known which images either classified correctly, these are compared one by one (McNemar 1947,
        "Note on the sampling error of the difference between correlated proportions"): only images count that one of
        the two classified correctly and the other did not, and their number is the variance of the difference. Trials
        are wrong on the same hard images, so that smaller differences are seen. Else the two errors are compared as if
        their images were separate.
        """
        if self.correct and len(self.correct) == len(other.correct):
            ours, others = int(self.correct, 16), int(other.correct, 16)
            lost, won = (others & ~ours).bit_count(), (ours & ~others).bit_count()
            difference, noise = float(lost - won), math.sqrt(lost + won)
        else:
            difference = self.rate - other.rate
            noise = math.hypot(self.standard_error, other.standard_error)
        if difference == 0:
            return 0.0
        return difference / noise if noise else math.copysign(math.inf, difference)


_adapter = TypeAdapter(RankingError)
