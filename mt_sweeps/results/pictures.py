"""Small pictures that a report shows. Whoever has the images at hand writes them: a trial, `inspect` and `train`."""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mt_sweeps.errors import InputError
from mt_sweeps.formatting import percent
from mt_sweeps.results.enlarged import small_jpeg
from mt_sweeps.storage.reading import read_text
from mt_sweeps.storage.trial_files import PICTURES as FILE
from trainers.config import Settings
from trainers.files import write_atomically

if TYPE_CHECKING:
    import numpy as np

    from trainers.uncertainty import Examples

SIDE = 72  # pixels per side of a picture, about
MOST = 12  # pictures of a set
_MOST_BYTES = 36_000  # of the pictures of a set


class Picture(Settings):
    """A picture: lines that say what it is, and a JPEG in base64."""

    lines: list[str]
    jpeg: str


class PictureSet(Settings):
    """Pictures of one kind, the first the most important."""

    title: str
    pictures: list[Picture]

    @classmethod
    def of(cls, title: str, pictures: "Iterable[tuple[list[str], np.ndarray]]") -> "PictureSet":
        """Return a set of the first of some pictures: of as many as a report has room for.

        Args:
            title: what they are.
            pictures: lines and pixels of each, uint8 [height, width, channels].
        """
        kept: list[Picture] = []
        size = 0
        for lines, pixels in pictures:
            jpeg = small_jpeg(pixels, SIDE)
            size += len(jpeg)
            if len(kept) == MOST or size > _MOST_BYTES:
                break
            kept.append(Picture(lines=lines, jpeg=base64.b64encode(jpeg).decode()))
        return cls(title=title, pictures=kept)


class PictureFile(Settings):
    """The content of `pictures.json`."""

    format: str = "mt-sweeps-pictures/1"
    sets: list[PictureSet]


def lines_of(examples: "Examples", classes: Sequence[str]) -> list[list[str]]:
    """Return what stands below each of some images: its class, what it was taken for, and how sure the network was.

    Args:
        examples: the images.
        classes: names, in the order of their indices.
    """
    columns = (examples.labels.tolist(), examples.classes.tolist(), examples.probability.tolist())
    return [
        [f"true: {classes[true]}", f"taken for: {classes[predicted]}", percent(probability)]
        for true, predicted, probability in zip(*columns, strict=True)
    ]


def save(folder: Path, sets: list[PictureSet]) -> None:
    """Write the pictures of a folder."""
    write_atomically(folder / FILE, PictureFile(sets=sets).model_dump_json())


def load(folder: Path) -> list[PictureSet]:
    """Return the pictures of a folder; none, if there are none or they cannot be read: a report goes without them."""
    if not (folder / FILE).is_file():
        return []
    try:
        return parse(read_text(folder / FILE, "remove it"))
    except InputError:
        return []


def parse(content: str | bytes) -> list[PictureSet]:
    """Return the pictures in the content of a file; none, if it is damaged."""
    try:
        sets = PictureFile.model_validate_json(content).sets
        for one in sets:
            for picture in one.pictures:
                base64.b64decode(picture.jpeg, validate=True)
    except (ValidationError, ValueError):
        return []
    return sets
