"""Read which image has which class from a table."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from trainers.data.class_names import class_name
from trainers.data.image_index import ImageIndex
from trainers.data.table_columns import HOW_TO_NAME, Reading, Row, listed, read_columns, shown_cell
from trainers.errors import DataError, escaped


@dataclass(frozen=True)
class LabelTable:
    """What a table says.

    Attributes:
        labels: class name of each image, by its path.
        unlabeled: images whose class the table leaves empty.
        lines: where in the table each image is, by its path.
        groups: what the column of groups says of each image, by its path; without those of which it says nothing.
    """

    labels: dict[str, str]
    unlabeled: list[str]
    lines: dict[str, int]
    groups: dict[str, str]


def read_label_table(key: str, file: Path, index: ImageIndex, where: str, groups: str | None = None) -> LabelTable:
    """Read a table of labels.

    Columns are recognised as `read_columns` says, and further ones are ignored. An image whose label is empty has no
    class.

    Args:
        key: of the setting, to name in an error: `dataset.label_file`.
        file: the table; UTF-8, or UTF-16 with a byte order mark.
        index: of the images that it may name.
        where: which images these are, to name in an error: `train/ or unlabeled/`.
        groups: the name of a column that says which images belong together; None: there is none.

    Raises:
        DataError: names the file and the line, what is wrong, what is allowed, and what to do.
    """
    path = Path(os.path.abspath(file))
    place = f"{key}: {escaped(path)}"
    reading = read_columns(path, index, place)
    labels: dict[str, str] = {}
    unlabeled: list[str] = []
    lines: dict[str, int] = {}
    together: dict[str, str] = {}
    group = None if groups is None else _column_of_groups(groups, reading, place)
    for number, row in enumerate(reading.rows):
        at = f"{place}, line {row.line}"
        if len(row.cells) <= max(reading.path, reading.label):
            raise DataError(f"{at}: {_shown(row)!r} is no `path class`: it has no {reading.kind}; add the class")
        if reading.names and any(cell.strip() for cell in row.cells[len(reading.names) :]):
            raise DataError(
                f"{at}: has {len(row.cells)} values, and the first line has {len(reading.names)} names; write a value "
                "that holds a comma or another delimiter in quotation marks"
            )
        image = _image(row.cells[reading.path], index, at, where, reading, number)
        if image in lines:
            raise DataError(
                f"{at}: {escaped(row.cells[reading.path])} is named a second time, first in line {lines[image]}; "
                "remove one of the lines: an image has one class"
            )
        lines[image] = row.line
        name = class_name(row.cells[reading.label])
        if name:
            labels[image] = name
        else:
            unlabeled.append(image)
        if group is not None and len(row.cells) > group and row.cells[group].strip():
            together[image] = row.cells[group].strip()
    if len(labels) > 2 and len(set(labels.values())) == len(labels):
        first = reading.rows[0]
        raise DataError(
            f"{place}, line {first.line}: column {reading.label + 1} ({shown_cell(first, reading.label)!r}) gives "
            f"each of the {len(labels):,} images a class of its own, so it is no class; {HOW_TO_NAME}"
        )
    return LabelTable(labels, unlabeled, lines, together)


def _column_of_groups(name: str, reading: Reading, place: str) -> int:
    found = [column for column, one in enumerate(reading.names) if one.strip() == name]
    if not found:
        known = listed(reading.names) or "none: it has no first line of names"
        raise DataError(
            f"{place}: there is no column {escaped(name)!r}, which dataset.groups names; its columns: {known}. An "
            "expression for paths has parentheses"
        )
    return found[0]


def _image(name: str, index: ImageIndex, at: str, where: str, reading: Reading, number: int) -> str:
    """Return the one image that a name in a row means; the rows after it are looked at for a count of mistakes."""
    found = index.find(name)
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"{at}: {escaped(name)} can be {' or '.join(escaped(one) for one in sorted(found)[:3])}; write the whole "
            "path with its suffix"
        )
    rest = reading.rows[number : number + 10_000]
    missing = sum(len(row.cells) > reading.path and not index.find(row.cells[reading.path]) for row in rest)
    more = f" (further lines like it: {missing - 1:,})" if missing > 1 else ""
    paths = [os.path.join(folder, name.strip().replace("\\", "/")) for folder in index.folders] if name.strip() else []
    there = next((os.path.normpath(path) for path in paths if "\0" not in path and os.path.exists(path)), None)
    first = paths[0] if paths else "image with an empty path"
    reason = "" if there is None else f": {escaped(there)} is there, but is none of the images in {where}"
    alike = "" if there is not None else " or ".join(escaped(one) for one in index.of_the_same_name(name)[:2])
    meant = f". Did you mean {alike}?" if alike else ""
    folders = ", ".join(escaped(folder) for folder in index.folders)
    raise DataError(
        f"{at}: there is no {escaped(first)}{reason}; paths are relative to one of {folders}, and name images in "
        f"{where}; correct the line or remove it{more}{meant}"
    )


def _shown(row: Row) -> str:
    return escaped(" ".join(row.cells))[:80]


def unknown_classes(table: LabelTable, classes: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the name and advice for each class of a table that is not known."""
    for image, name in table.labels.items():
        if name not in classes:
            close = get_close_matches(name, classes, n=1)
            yield table.lines[image], name, f"did you mean {close[0]!r}? " if close else ""
