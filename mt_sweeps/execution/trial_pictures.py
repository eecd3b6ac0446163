"""Pictures of what a trial got wrong, made by its worker at its end: there, network and images are at hand."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from mt_sweeps.results.pictures import MOST, PictureSet, lines_of, save
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.storage.records import Run
from trainers.errors import escaped

if TYPE_CHECKING:
    from trainers.uncertainty import Examples


@runtime_checkable
class _HasExamples(Protocol):
    """A `Trainer`. A cross-validation has no single network, and a simulated training no images."""

    classes: list[str]

    def validation_examples(self, most: int) -> "tuple[Examples, Examples]":
        """Return the worst mistakes on the validation images, and the least certain ones."""


def write(trainer: Run, trial: TrialId, folder: Path) -> None:
    """Write the worst mistakes of a trial on the validation images, and those it is least certain of, for the report.

    An error costs the trial nothing: it is a warning.

    Args:
        trainer: that has trained the trial to its end.
        trial: which trial.
        folder: of the attempt.
    """
    if not isinstance(trainer, _HasExamples):
        return
    try:
        mistakes, least_certain = trainer.validation_examples(MOST)
        classes = [escaped(name) for name in trainer.classes]
        titles = {
            f"The worst mistakes of {trial.label} on the validation images, at its last evaluation": mistakes,
            f"Validation images that {trial.label} is least certain of, at its last evaluation": least_certain,
        }
        sets = [
            PictureSet.of(title, zip(lines_of(examples, classes), examples.pixels.numpy(), strict=True))
            for title, examples in titles.items()
            if len(examples.indices)
        ]
        save(folder, sets)
    except Exception as error:
        warnings.warn(f"{trial.label}: no pictures ({type(error).__name__}: {error})", stacklevel=2)
