"""Read a table (CSV, TSV, JSON lines, or lines `path class`), and recognise its columns of paths and of classes."""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainers.data.image_index import ImageIndex
from trainers.errors import DataError, escaped

_PATH_NAMES = (
    "path", "file", "filename", "filepath", "image", "imagepath", "imagename", "imagefile", "imagefilename",
    "imageid", "img", "imgpath", "imgname", "photo", "photoid", "picture", "id", "name", "uuid", "key", "index",
)  # fmt: skip
_LABEL_NAMES = (
    "label", "labels", "class", "classname", "labelname", "category", "categoryname", "target", "classes",
    "classlabel", "labeltext", "species", "breed", "diagnosis", "groundtruth", "gt", "y", "tag", "annotation",
    "classid", "categoryid", "labelid",
)  # fmt: skip
_DELIMITERS = "\t,;|"
_DELIMITER_LINE = re.compile(r'\A"?sep=.?"?(?=[\r\n])', re.IGNORECASE)  # with which Excel begins
_END = "\x01"  # a last line, by which a value that runs to the end of the file is recognised
_SAMPLE = 200  # rows from which the columns are guessed
HOW_TO_NAME = "name the two columns `path` and `label` in a first line"


@dataclass(frozen=True)
class Row:
    """A row of a table, and the number of its line in the file, from 1."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """One way to read a table.

    Attributes:
        rows: without the header.
        path: the number of the column that names images, from 0.
        label: likewise of their classes.
        hits: the share of rows that name an image.
        kind: what the column of classes is called in an error.
        names: of the columns, from the header; empty if there is none.
    """

    rows: list[Row]
    path: int
    label: int
    hits: float
    kind: str
    names: tuple[str, ...] = ()


def read_columns(file: Path, index: ImageIndex, place: str) -> Reading:
    """Read a table.

    Columns are recognised by their names (path, file, image_id, ...; label, class, category, ...) if there is a first
    line of names, and else by their content: the column whose values are images, and the other one. Blank lines and
    comments (lines that begin with `#`) are left out.

    Args:
        file: the table; UTF-8, or UTF-16 with a byte order mark.
        index: of the images that it may name.
        place: to begin an error with.

    Raises:
        DataError: it cannot be read, holds no rows, or which column is which cannot be told.
    """
    text = _text(file, place)
    if text.lstrip().startswith("["):
        raise DataError(f"{place}, line 1: is a JSON list; write one JSON object per line, or CSV")
    reading = _as_json(text, index, place) if text.lstrip().startswith("{") else _as_columns(text, index, place)
    if not reading.rows:
        raise DataError(f"{place} holds no labels; expected: lines of a path and a class")
    return reading


def _text(file: Path, place: str) -> str:
    if file.exists() and not file.is_file():
        raise DataError(f"{place} cannot be read: it is no file; name a table")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror or error}") from None
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    no_text = f"{place} cannot be read: it is no text; save the table as CSV in UTF-8"
    if encoding == "utf-8-sig" and b"\0" in content:  # as in the files of spreadsheets
        raise DataError(no_text)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        name = encoding.removesuffix("-sig").upper()
        raise DataError(f"{place} cannot be read: line {line} is not {name}; save the table as UTF-8") from None
    if "\0" in text:
        raise DataError(no_text)
    return _DELIMITER_LINE.sub("", text)


def _as_json(text: str, index: ImageIndex, place: str) -> Reading:
    """Read a table in which each line is a JSON object."""
    records: list[tuple[int, dict[str, object]]] = []
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            record = json.loads(content)
        except ValueError as error:
            raise DataError(f"{place}, line {line}: is no JSON object ({error}); write one object per line") from None
        if not isinstance(record, dict):
            raise DataError(f"{place}, line {line}: is no JSON object; write one object per line")
        records.append((line, record))
    names = list(dict.fromkeys(key for _, record in records for key in record))
    rows = [Row(line, tuple(_json_cell(record.get(name)) for name in names)) for line, record in records]
    reading = _columns(rows, index, place, names)
    path, label = names[reading.path], names[reading.label]
    if reading.hits == 0 and _plain(path) not in _PATH_NAMES:
        raise DataError(
            f"{place}, line {rows[0].line}: no value is the path of an image; its keys: {listed(names)}; write one "
            "object per line, with the keys `path` and `label`"
        )
    for line, record in records:
        if isinstance(record.get(label), dict | list):
            raise DataError(
                f"{place}, line {line}: {escaped(label)} is {_json_cell(record[label])[:80]}; an image has one class: "
                "write its name or number"
            )
    return reading


def _json_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value)


def _as_columns(text: str, index: ImageIndex, place: str) -> Reading:
    """Read a table with delimiters, or of lines `path class`, whichever names most images."""
    readings, problems = [], []
    for delimiter in _DELIMITERS:
        if delimiter not in text:
            continue
        try:
            rows = _without_comments(_split(text, delimiter, place), index)
            if sum(len(row.cells) > 1 for row in rows) * 2 > len(rows):
                readings.append(_columns(rows, index, place, None))
        except DataError as error:
            problems.append(error)
    lines = enumerate(text.split("\n"), 1)
    blank = [Row(number, _path_and_class(line, index)) for number, line in lines if line.strip()]
    blank = _without_comments(blank, index)
    if not blank:
        raise DataError(f"{place} holds no labels; expected: lines of a path and a class")
    if len(blank) > 1 and _is_header(blank, [_plain(cell) for cell in blank[0].cells], 0, index):
        del blank[0]
    readings.append(Reading(blank, 0, 1, _hits(blank, 0, index), "class after a blank"))
    best = max(readings, key=lambda reading: reading.hits)
    if best.hits == 0 and problems:
        raise problems[0]
    if problems and best is readings[-1] and best.hits < 0.5:
        raise problems[0]
    return best if best.hits > 0 else readings[0]


def _path_and_class(line: str, index: ImageIndex) -> tuple[str, ...]:
    """Split a line at the last blank before which there is an image, or at the last one of all."""
    words = line.strip()
    at = len(words)
    while (at := words.rfind(" ", 0, at)) > 0:
        if index.find(words[:at]):
            return words[:at].strip(), words[at + 1 :]
    path, _, name = words.rpartition(" ")
    return (path.strip(), name) if path else (name,)


def _split(text: str, delimiter: str, place: str) -> list[Row]:
    content = io.StringIO(f"{text}\n{_END}\n", newline="")
    reader = csv.reader(content, delimiter=delimiter, skipinitialspace=delimiter != "\t")
    rows, line = list[Row](), 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(Row(line, tuple(cells)))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{place}, line {line}: is no line of a table ({error}); close its quotation marks") from None
    last = rows.pop()
    if last.cells != (_END,):  # the lines after the mark would all be one value
        raise DataError(
            f"{place}, line {last.line}: has a quotation mark that is not closed; close it, and write one inside a "
            "quoted value twice"
        )
    return rows


def _without_comments(rows: list[Row], index: ImageIndex) -> list[Row]:
    """Leave out rows that begin with `#`, unless that is the name of an image or the line of names."""

    def is_comment(row: Row) -> bool:
        if not row.cells[0].lstrip().startswith("#") or index.find(row.cells[0]):
            return False
        return len(row.cells) == 1 or not {_plain(cell) for cell in row.cells} & {*_PATH_NAMES, *_LABEL_NAMES}

    return [row for row in rows if not is_comment(row)]


def _columns(rows: list[Row], index: ImageIndex, place: str, names: list[str] | None) -> Reading:
    """Find the two columns of a table.

    Args:
        rows: of the table, with its line of names, if it has one and `names` is None.
        index: of the images.
        place: to begin an error with.
        names: of the columns, if the rows have none.
    """
    count = max(len(row.cells) for row in rows)
    first = [_plain(cell) for cell in (rows[0].cells if names is None else names)]
    hits = [_hits(rows, column, index) for column in range(count)]
    path = max(range(count), key=lambda column: (hits[column], -_rank(first, column, _PATH_NAMES)))
    if "path" in first and "label" in first:  # these two names are never guessed otherwise
        path = first.index("path")
    is_header = names is not None or _is_header(rows, first, path, index)
    body = rows[1:] if is_header and names is None else rows
    named = first if is_header else []
    if is_header and hits[path] == 0:
        ranks = [_rank(named, column, _PATH_NAMES) for column in range(count)]
        path = ranks.index(min(ranks))
    others = [column for column in range(count) if column != path]
    by_name = [column for column in others if _rank(named, column, _LABEL_NAMES) < len(_LABEL_NAMES)]
    filled = [
        column for column in others if any(cell.strip() for row in body for cell in row.cells[column : column + 1])
    ]
    if by_name:
        label = min(by_name, key=lambda column: _rank(named, column, _LABEL_NAMES))
    elif len(filled) == 1:
        label = filled[0]
    else:
        likely = [column for column in filled if _is_like_classes(body, column)]
        if len(likely) != 1:
            line = rows[0].line
            shown = ", ".join(f"{column + 1} ({shown_cell(rows[0], column)!r})" for column in filled[:6])
            raise DataError(
                f"{place}, line {line}: which column is the class? It can be {shown or 'none: there is one column'}; "
                f"known names: {', '.join(_LABEL_NAMES[:8])}; {HOW_TO_NAME}"
            )
        label = likely[0]
    header = tuple(names) if names is not None else rows[0].cells if is_header else ()
    return Reading(body, path, label, _hits(body, path, index), f"column {label + 1}", header)


def _is_header(rows: list[Row], first: list[str], path: int, index: ImageIndex) -> bool:
    """Return True if the first row is of names: known ones, or such as no later row has as its class."""
    cells = rows[0].cells
    if len(cells) > path and index.find(cells[path]):
        return False
    if any(name in _PATH_NAMES or name in _LABEL_NAMES for name in first):
        return True
    name = cells[path] if len(cells) > path else ""
    if len(rows) < 2 or any(c.isdigit() or c in "./\\" for c in name):  # a file that is not there
        return False
    later = [{row.cells[column].strip() for row in rows[1:] if len(row.cells) > column} for column in range(len(cells))]
    return all(cell.strip() not in values for cell, values in zip(cells, later, strict=True))


def _is_like_classes(rows: list[Row], column: int) -> bool:
    """Return True if a column has few different values, which are words or whole numbers."""
    values = [row.cells[column].strip() for row in rows if len(row.cells) > column]
    different = set(values) - {""}
    return 2 <= len(different) <= len(values) / 2 and not any(_is_fraction(value) for value in different)


def _is_fraction(value: str) -> bool:
    try:
        return not float(value).is_integer()
    except (ValueError, OverflowError):
        return False


def _hits(rows: list[Row], column: int, index: ImageIndex) -> float:
    """Return the share of rows whose cell in a column is an image; 0 if there are no rows."""
    sample = rows[:: max(1, len(rows) // _SAMPLE)]
    return sum(len(row.cells) > column and len(index.find(row.cells[column])) > 0 for row in sample) / max(
        1, len(sample)
    )


def listed(names: Sequence[str]) -> str:
    """Return the names of columns for an error."""
    return ", ".join(escaped(one) for one in names[:20])


def _rank(names: list[str], column: int, known: tuple[str, ...]) -> int:
    name = names[column] if column < len(names) else ""
    return known.index(name) if name in known else len(known)


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def shown_cell(row: Row, column: int) -> str:
    """Return the value in a column for an error, shortened; empty if the row ends before."""
    return escaped(row.cells[column])[:40] if column < len(row.cells) else ""
