"""The arms of a sweep, and the names of trials."""

from typing import Literal, NamedTuple

Arm = Literal["search", "probe", "supervised", "published", "finalists"]
ExportedArm = Literal["search", "probe", "supervised", "published"]
"""Arms whose best trial can be exported: the finalists train those of the others again."""
BASELINES: dict[Arm, str] = {
    "probe": "logistic regression on the frozen features of the same weights, fitted in seconds",
    "supervised": "the same network and steps without the unlabeled images",
    "published": "the authors' values, as many steps, nothing searched",
}
"""What each baseline is, in words."""
FIXED_ARMS: tuple[Arm, ...] = ("published", "finalists")
"""Arms that search nothing: the values of their trials are all settings except the data set's."""


class TrialId(NamedTuple):
    """A trial's arm, and its number in the arm, from 0."""

    arm: Arm
    number: int

    @property
    def label(self) -> str:
        """The name in texts: `trial 3`, `finalist 3`, `supervised 0`."""
        return f"{ {'search': 'trial', 'finalists': 'finalist'}.get(self.arm, self.arm) } {self.number}"

    @property
    def slug(self) -> str:
        """The name of the trial's folder: `0003` in the search, `finalists-0003` elsewhere."""
        return f"{self.number:04d}" if self.arm == "search" else f"{self.arm}-{self.number:04d}"
