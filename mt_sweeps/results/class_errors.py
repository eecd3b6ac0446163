"""The errors of the classes in words and tables, from a confusion matrix."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from mt_sweeps.formatting import counted, error_text, percent
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study.ledger_view import LedgerView
from trainers.confusion import Confusion

MOST_CLASSES = 20  # whose confusion matrix is shown in a terminal
_MOST_LINES = 20  # classes that are listed, the worst first
_SHORTEST = 3  # characters of a name over a column
_PIPED = 120  # columns where there is no terminal


@dataclass(frozen=True)
class ClassError:
    """The error of one class.

    Attributes:
        name: of the class.
        error: share of its images that were classified wrongly, in [0, 1].
        images: how many it has.
        taken_for: the class that most of the wrong ones were taken for; empty if there are none.
    """

    name: str
    error: float
    images: int
    taken_for: str


def class_errors(confusion: Confusion, classes: Sequence[str]) -> list[ClassError]:
    """Return the errors of all classes that have images, the worst first.

    Args:
        confusion: of the classes.
        classes: their names; if there are not as many, the numbers of the classes stand for them.
    """
    names = class_names(confusion, classes)
    wrong = confusion.counts.copy()
    for c in range(len(wrong)):
        wrong[c, c] = 0
    found = [
        ClassError(names[c], error, int(confusion.images[c]), names[int(wrong[c].argmax())] if wrong[c].any() else "")
        for c, error in enumerate(confusion.class_errors)
        if error is not None
    ]
    return sorted(found, key=lambda one: -one.error)


def of_best(sweep: SweepStore, ledger: LedgerView) -> Confusion | None:
    """Return the confusion matrix of the best trial of the search, at its last evaluation on the validation images.

    Args:
        sweep: has the records of the trial.
        ledger: of the sweep; its metric says which network's. Without a teacher, it is the student's.

    Returns:
        The matrix, or None if no trial has completed, or the records are gone or of an earlier version.
    """
    best = ledger.best()
    if best is None or best.last is None:
        return None
    reports = [report for report in sweep.trials.records(best.id) if report.step == best.last.step]
    matrices = reports[-1].confusion if reports else {}
    content = matrices.get(f"validation.{ledger.spec.network}", matrices.get("validation.student"))
    return None if content is None else Confusion.from_json(content)


def guessing_error(sweep: SweepStore, ledger: LedgerView) -> float | None:
    """Return the error of always naming the largest class of the validation images, or None if it is not known.

    Of a balanced error, and where the classes of the images are not known, it is that of naming any of the classes.
    """
    classes = len(sweep.load_environment().classes)
    confusion = of_best(sweep, ledger)
    if confusion is not None and len(confusion.counts) == classes and ledger.spec.error_name == "error":
        return 1 - int(confusion.images.max()) / int(confusion.images.sum())
    return 1 - 1 / classes if classes else None


def class_names(confusion: Confusion, classes: Sequence[str]) -> list[str]:
    """Return the names of the classes, or their numbers if the names are not known."""
    count = len(confusion.counts)
    return list(classes) if len(classes) == count else [f"class {c}" for c in range(count)]


def balance_text(confusion: Confusion) -> str:
    """Return `balanced error 12.5 % ± 2.1, macro F1 85.0 % ± 2.4`."""
    balanced = error_text((confusion.balanced_error, confusion.balanced_standard_error))
    return f"balanced error {balanced}, macro F1 {error_text((confusion.macro_f1, confusion.macro_f1_standard_error))}"


def worst_text(confusion: Confusion, classes: Sequence[str], most: int = 3) -> str:
    """Return the worst classes in one line: `glass (31.2 % of 16 images), metal (4.0 % of 50 images)`."""
    worst = class_errors(confusion, classes)[:most]
    return ", ".join(f"{one.name} ({percent(one.error)} of {counted(one.images, 'image')})" for one in worst)


def table_lines(confusion: Confusion, classes: Sequence[str], columns: int | None = None) -> list[str]:
    """Return the error of each class, the worst first, and, if there are few classes, the confusion matrix.

    Args:
        confusion: of the classes.
        classes: as of `class_errors`.
        columns: that the lines may have; None: those of the terminal.
    """
    errors, names = class_errors(confusion, classes), class_names(confusion, classes)
    width = max(map(len, names))
    lines = ["error by class, the worst first:"]
    for one in errors[:_MOST_LINES]:
        most = f", most often taken for {one.taken_for}" if one.taken_for else ""
        lines.append(f"  {one.name:{width}}  {percent(one.error):>7} of {counted(one.images, 'image')}{most}")
    if len(errors) > _MOST_LINES:
        lines.append(f"  and {len(errors) - _MOST_LINES} more classes with lower errors")
    if len(names) > MOST_CLASSES:
        return lines
    columns = shutil.get_terminal_size((_PIPED, 0)).columns if columns is None else columns
    return [*lines, "confusion matrix:", *_matrix_lines(confusion, names, columns)]


def _matrix_lines(confusion: Confusion, names: list[str], columns: int) -> list[str]:
    """Return the confusion matrix with the names of the classes at its rows and columns.

    Where there is no room for names over the columns, numbers stand for them.
    """
    digits = len(str(confusion.counts.max()))
    width = max(map(len, ["true", *names]))
    heads = _heads(names, digits, columns - width - 2)
    if heads is None:
        heads = [str(c + 1) for c in range(len(names))]
        names = [f"{c + 1:>2} {name}" for c, name in enumerate(names)]
        width += 3
    cells = [max(len(head), digits) for head in heads]

    def line(name: str, row: Sequence[object]) -> str:
        return f"  {name:{width}}" + "".join(f"  {one:>{cell}}" for one, cell in zip(row, cells, strict=True))

    rows = confusion.counts.tolist()
    return [
        f"  {'':{width}}  predicted",
        line("true", heads),
        *(line(name, row) for name, row in zip(names, rows, strict=True)),
    ]


def _heads(names: list[str], digits: int, room: int) -> list[str] | None:
    """Return the names, shortened so that they fit over the columns of a matrix; None: no short ones tell them apart.

    Args:
        names: of the classes.
        digits: of the largest number in the matrix.
        room: characters, of all columns.
    """
    for most in range(max(_SHORTEST, *map(len, names)), _SHORTEST - 1, -1):
        for heads in (
            [name if len(name) <= most else f"{name[: most - 1]}." for name in names],
            [name if len(name) <= most else f".{name[1 - most :]}" for name in names],
        ):
            fits = sum(max(len(head), digits) + 2 for head in heads) <= room
            if fits and len(set(heads)) == len(names):
                return heads
    return None
