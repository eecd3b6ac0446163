"""Tables and pictures of images, for `inspect` and `train`: which they are, and what they were taken for."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mt_sweeps.commands.pictures import grid, small_jpeg
from mt_sweeps.errors import InputError
from mt_sweeps.formatting import no_formula, percent
from mt_sweeps.results.pictures import SIDE, PictureSet
from trainers.files import write_atomically

if TYPE_CHECKING:
    import numpy as np

    from trainers.uncertainty import Mistakes


@dataclass(frozen=True)
class Mistake:
    """An image that was classified wrongly.

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
        small = ((lines, small_jpeg(image, SIDE)) for lines, image in zip(captions, images, strict=True))
        self.sets.append(PictureSet.of(title, small))

    def write_mistakes(
        self,
        name: str,
        title: str,
        mistakes: "Mistakes",
        paths: Sequence[str],
        classes: Sequence[str],
        images: "Sequence[np.ndarray]",
    ) -> None:
        """Write mistakes, if there are any.

        Args:
            name: as for `write`.
            title: as for `write`.
            mistakes: of a network.
            paths: of their images.
            classes: names, in the order of their indices.
            images: as for `write`.
        """
        columns = (mistakes.labels, mistakes.classes, mistakes.probability, mistakes.of_label)
        rows = [
            Mistake(path, classes[true], classes[predicted], probability, of_true)
            for path, true, predicted, probability, of_true in zip(
                paths, *(column.tolist() for column in columns), strict=True
            )
        ]
        captions = [[f"true: {row.true}", f"taken for: {row.predicted}", percent(row.probability)] for row in rows]
        if rows:
            self.write(name, title, rows, images, captions)


def pixels_of(take: Callable[[Any], Any], indices: Any) -> "list[np.ndarray]":
    """Return images as arrays: uint8 [height, width, channels] each."""
    return list(take(indices).cpu().numpy()) if len(indices) else []


def _cell(value: Any) -> str:
    """Return a cell: a number with six digits, or a text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else no_formula(value)
