"""Small pictures that a report shows, in a file that `inspect` and `train` write: they have the images at hand."""

import base64
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from mt_sweeps.errors import InputError
from mt_sweeps.storage.reading import read_text
from trainers.config import Settings
from trainers.files import write_atomically

FILE = "pictures.json"
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
    def of(cls, title: str, pictures: Iterable[tuple[list[str], bytes]]) -> "PictureSet":
        """Return a set of the first of some pictures: of as many as a report has room for.

        Args:
            title: what they are.
            pictures: lines and JPEG of each.
        """
        kept: list[Picture] = []
        size = 0
        for lines, jpeg in pictures:
            size += len(jpeg)
            if len(kept) == MOST or size > _MOST_BYTES:
                break
            kept.append(Picture(lines=lines, jpeg=base64.b64encode(jpeg).decode()))
        return cls(title=title, pictures=kept)


class PictureFile(Settings):
    """The content of `pictures.json`."""

    format: str = "mt-sweeps-pictures/1"
    sets: list[PictureSet]


def save(folder: Path, sets: list[PictureSet]) -> None:
    """Write the pictures of a folder."""
    write_atomically(folder / FILE, PictureFile(sets=sets).model_dump_json())


def load(folder: Path) -> list[PictureSet]:
    """Return the pictures of a folder; none, if there are none or they cannot be read: a report goes without them."""
    if not (folder / FILE).is_file():
        return []
    try:
        sets = PictureFile.model_validate_json(read_text(folder / FILE, "remove it")).sets
        for one in sets:
            for picture in one.pictures:
                base64.b64decode(picture.jpeg, validate=True)
    except (InputError, ValidationError, ValueError):
        return []
    return sets
