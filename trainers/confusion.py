"""The confusion matrix of a network on some images, and what follows from it. This module does not import torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trainers.report import rate_standard_error


def correct_bits(correct: np.ndarray) -> str:
    """Return one bit per image, 1 if it was classified correctly, as hexadecimal digits: of 5,000 images, 1,250.

    The bits are filled up with zeros to whole bytes. So texts of several sets of images can be joined into one.

    Args:
        correct: bool [images].
    """
    return np.packbits(correct).tobytes().hex()


@dataclass(frozen=True, eq=False)
class Confusion:
    """How many images of each class were classified as each class.

    A class is present if it has an image; the balanced error is a mean over these. The macro F1 is a mean over the
    classes that are present or predicted. Both are as scikit-learn has them.

    Attributes:
        counts: int64 [classes, classes], at least 0: a row for each class of the images, a column for each prediction.
    """

    counts: np.ndarray

    @cached_property
    def images(self) -> np.ndarray:
        """The number of images of each class: int64 [classes]."""
        images: np.ndarray = self.counts.sum(1)
        return images

    @property
    def class_errors(self) -> list[float | None]:
        """The error of each class, in [0, 1]; None if it has no image."""
        right = self.counts.diagonal()
        return [1 - int(r) / int(n) if n else None for r, n in zip(right, self.images, strict=True)]

    @property
    def balanced_error(self) -> float:
        """The mean of the errors of the classes that are present, in [0, 1]."""
        return float(self._present_errors.mean())

    @property
    def balanced_standard_error(self) -> float:
        """The standard error of the balanced error, from those of the classes by Wilson's interval.

        It takes the number of images of each class as given: a split draws validation images by class.
        """
        pairs = zip(self._present_errors, self.images[self.images > 0], strict=True)
        return math.hypot(*(rate_standard_error(float(error), int(n)) for error, n in pairs)) / len(
            self._present_errors
        )

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that are present or predicted, in [0, 1]; the higher, the better."""
        f1, sizes = self._f1
        return float(f1[sizes > 0].mean())

    @property
    def macro_f1_standard_error(self) -> float:
        """The standard error of the macro F1, by the delta method for images drawn at random (Takahashi et al. 2022).

        With the shares p of the cells, their row and column sums s, and F1 = 2 p_cc / s_c, the derivative by p_ij is
        (2 [i = j] - F1_i) / s_i, less F1_j / s_j, over the number of classes. Its mean is 0, since the F1 does not
        change if all shares are multiplied by one factor; its mean square over n images is the variance.
        Where no image is classified wrongly that would be 0, so it is the balanced error's.
        """
        if int(self.counts.trace()) == int(self.images.sum()):
            return self.balanced_standard_error
        f1, sizes = self._f1
        rows, columns = np.nonzero(self.counts)
        images = int(self.images.sum())
        shares, sums = self.counts[rows, columns] / images, sizes / images
        gradients = (2 * (rows == columns) - f1[rows]) / sums[rows] - f1[columns] / sums[columns]
        gradients /= np.count_nonzero(sizes)
        return math.sqrt(float((shares * gradients**2).sum()) / images)

    def metrics(self, name: str) -> dict[str, float]:
        """Return the numbers that stand for all classes, as a run reports them.

        Args:
            name: what they begin with: `validation.teacher`.
        """
        return {
            f"{name}_balanced_error": self.balanced_error,
            f"{name}_balanced_standard_error": self.balanced_standard_error,
            f"{name}_macro_f1": self.macro_f1,
            f"{name}_macro_f1_standard_error": self.macro_f1_standard_error,
        }

    def as_json(self) -> dict[str, Any]:
        """Return the number of classes, and [class, predicted class, images] of every cell that is not 0."""
        cells = zip(*np.nonzero(self.counts), self.counts[self.counts > 0], strict=True)
        return {"classes": len(self.counts), "cells": [[int(number) for number in cell] for cell in cells]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Confusion":
        """Return what `as_json` was called on."""
        counts = np.zeros((content["classes"], content["classes"]), np.int64)
        for row, column, images in content["cells"]:
            counts[row, column] = images
        return cls(counts)

    @classmethod
    def of(cls, labels: Sequence[int], predictions: Sequence[int], classes: int) -> "Confusion":
        """Count images by class and by predicted class; both are in [0, classes)."""
        codes = np.asarray(labels, np.int64) * classes + np.asarray(predictions, np.int64)
        return cls(np.bincount(codes, minlength=classes**2).reshape(classes, classes))

    @cached_property
    def _present_errors(self) -> np.ndarray:
        present = self.images > 0
        errors: np.ndarray = 1 - self.counts.diagonal()[present] / self.images[present]
        return errors

    @cached_property
    def _f1(self) -> tuple[np.ndarray, np.ndarray]:
        """The F1 of each class, 0 where it is not defined, and its images plus its predictions."""
        sizes = self.counts.sum(0) + self.images
        f1: np.ndarray = 2 * self.counts.diagonal() / np.maximum(sizes, 1)
        return f1, sizes
