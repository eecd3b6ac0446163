"""The chapters on the errors by class and on single images, of the best trial and of the final trainings."""

from mt_sweeps.formatting import percent
from mt_sweeps.report import class_figures
from mt_sweeps.report.components import Chapter, Figure, Table
from mt_sweeps.report.findings import ClassFinding, Findings
from mt_sweeps.results import class_errors as results
from trainers.confusion import Confusion

_MOST_ROWS = 40  # classes in a table, the worst first


def class_errors(findings: Findings) -> Chapter:
    """Return the chapter."""
    title = "Errors by class"
    if not findings.classes:
        return Chapter(title, text=["No trial has completed, or its records are of a version that counted no classes."])
    explained = (
        "The balanced error is the mean of the errors of the classes, however many images each has. The macro F1 is "
        "the mean of their F1; the higher, the better."
    )
    matrices = [(one, Confusion.from_json(one.confusion)) for one in findings.classes]
    return Chapter(
        title,
        text=[
            *(f"{one.title}: {results.balance_text(matrix)} (standard errors)." for one, matrix in matrices),
            explained,
        ],
        tables=[_table(one, matrix) for one, matrix in matrices],
        figures=[_figure(one, matrix) for one, matrix in matrices if len(one.classes) <= class_figures.MOST_CLASSES],
    )


def images(findings: Findings, inspect: str) -> Chapter:
    """Return the chapter with pictures of images.

    Args:
        findings: the findings.
        inspect: the command that makes them.
    """
    title = "Images"
    if not findings.pictures and findings.best is None:
        return Chapter(title, text=["No trial has completed, so there is no model to look at them."])
    more = "the unlabeled images that the teacher is least sure of, to be labeled next"
    if not findings.pictures:
        more += ", and its worst mistakes"
    text = f"`{inspect}` writes {more}, and the next report shows them."
    percentages = "The percentage below a picture is the probability that the network gave to its answer."
    return Chapter(title, text=[text, percentages if findings.pictures else ""], pictures=findings.pictures)


def _table(finding: ClassFinding, matrix: Confusion) -> Table:
    errors = results.class_errors(matrix, finding.classes)
    rows = [[one.name, percent(one.error), f"{one.images:,}", one.taken_for] for one in errors[:_MOST_ROWS]]
    left_out = f"; the worst {_MOST_ROWS} of {len(errors)} classes" if len(errors) > _MOST_ROWS else ""
    return Table(finding.title + left_out, ["class", "error", "images", "most often taken for"], rows)


def _figure(finding: ClassFinding, matrix: Confusion) -> Figure:
    caption = (
        "How many images of each class (row) were classified as each class (column); the colour is their share of the "
        f"row. The worst: {results.worst_text(matrix, finding.classes)}."
    )
    return Figure(finding.title, class_figures.confusion(matrix, finding.classes), caption)
