"""Tables and pictures of images, for `inspect` and `train`: which they are, and what they were taken for."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mt_sweeps.commands.pictures import grid
from mt_sweeps.errors import InputError
from mt_sweeps.formatting import no_formula
from mt_sweeps.results.pictures import PictureSet, lines_of
from trainers.files import write_atomically

if TYPE_CHECKING:
    import numpy as np

    from trainers.uncertainty import Examples


@dataclass(frozen=True)
class LabeledImage:
    """An image whose class is known, and what it was taken for.

    Attributes:
        path: of the image, or its number.
        true: its class.
        predicted: class that it was taken for.
        probability: of that class.
        of_true: probability of its class.
    """

    path: str
    true: str
    predicted: str
    probability: float
    of_true: float


class ImageTables:
    """Writes tables and pictures into a folder, which it makes.

    Args:
        folder: where.

    Attributes:
        files: the names of those that were written.
        sets: the same images as small pictures for a report.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: list[str] = []
        self.sets: list[PictureSet] = []

    def write(
        self, name: str, title: str, rows: Sequence[Any], images: "Sequence[np.ndarray]", captions: list[list[str]]
    ) -> None:
        """Write a table, and a picture of its images.

        Args:
            name: of both files, without a suffix.
            title: what the images are, for a report.
            rows: dataclasses, one or more, whose fields are the columns.
            images: uint8 [height, width, channels] each.
            captions: lines below each image.

        Raises:
            InputError: they cannot be written.
        """
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(type(rows[0]).__dataclass_fields__)
        for row in rows:
            table.writerow(map(_cell, asdict(row).values()))
        picture = io.BytesIO()
        grid(images, captions).save(picture, "PNG")
        for file, content in ((f"{name}.csv", text.getvalue()), (f"{name}.png", picture.getvalue())):
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                write_atomically(self._folder / file, content)
            except OSError as error:
                raise InputError(f"{self._folder / file}: cannot be written: {error.strerror}") from None
            self.files.append(file)
        self.sets.append(PictureSet.of(title, zip(captions, images, strict=True)))

    def write_examples(
        self, name: str, title: str, examples: "Examples", paths: Sequence[str], classes: Sequence[str]
    ) -> None:
        """Write images whose classes are known, if there are any.

        Args:
            name: as for `write`.
            title: as for `write`.
            examples: the images, and what a network takes them for.
            paths: of the images.
            classes: names, in the order of their indices.
        """
        columns = (examples.labels, examples.classes, examples.probability, examples.of_label)
        rows = [
            LabeledImage(path, classes[true], classes[predicted], probability, of_true)
            for path, true, predicted, probability, of_true in zip(
                paths, *(column.tolist() for column in columns), strict=True
            )
        ]
        if rows:
            self.write(name, title, rows, list(examples.pixels.numpy()), lines_of(examples, classes))


def pixels_of(take: Callable[[Any], Any], indices: Any) -> "list[np.ndarray]":
    """Return images as arrays: uint8 [height, width, channels] each."""
    return list(take(indices).cpu().numpy()) if len(indices) else []


def _cell(value: Any) -> str:
    """Return a cell: a number with six digits, or a text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else no_formula(value)
