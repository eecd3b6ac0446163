"""The metric records of a trial: one line per evaluation, on the disk before the driver receives it.

The ledger and MLflow can both be rebuilt from them.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from pydantic import TypeAdapter, ValidationError

from mt_sweeps.errors import InputError
from mt_sweeps.storage.reading import first_problem
from trainers.report import Report

FILE = "records.jsonl"
_REMEDY = "put back what was here, or remove the file: the curve of this training is then lost, no more"
_report = TypeAdapter(Report)


class Run(Protocol):
    """A training run that can be recorded: a `Trainer`."""

    history: list[Report]

    def run(self) -> Iterator[Report]:
        """Train to the end."""


def record_run(
    trainer: Run, directory: Path, extra_metrics: Callable[[], dict[str, float]] = dict[str, float]
) -> Iterator[Report]:
    """Train to the end, and write each report to the disk before it is yielded.

    A crash may fall between a checkpoint and its record. So a resumed run first yields the reports that its checkpoint
    has and the records do not, or else its last report again. A record is never replaced, also if the evaluation is
    computed again after a checkpoint was lost.

    Args:
        trainer: trains.
        directory: for the records.
        extra_metrics: returns metrics that do not come from the trainer, to be recorded beside its own.
    """
    known = {report.step: report for report in read(directory)}
    missing = [report for report in trainer.history if report.step not in known]
    for reports in (missing or trainer.history[-1:], trainer.run()):
        for report in reports:
            if report.step not in known:
                known[report.step] = replace(report, metrics=report.metrics | extra_metrics())
                append(directory, known[report.step])
            yield known[report.step]


def text(reports: list[Report]) -> str:
    """Return records as the content of a file."""
    return "".join(map(_line, reports))


def append(directory: Path, report: Report) -> None:
    """Add one record. It is on the disk when this returns."""
    with (directory / FILE).open("a+b") as file:
        _cut_torn_line(file)
        file.write(_line(report).encode())
        file.flush()
        os.fsync(file.fileno())


def read(directory: Path) -> list[Report]:
    """Return all whole records in a directory, in the order of their steps.

    Raises:
        InputError: the file cannot be read, or is none of records.
    """
    file = directory / FILE
    if file.exists() and not file.is_file():
        raise InputError(f"{file}: is not a file; {_REMEDY}")
    try:
        return parse(file.read_bytes(), str(file))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); allow it, or {_REMEDY}") from None


def parse(content: bytes, source: str) -> list[Report]:
    """Return the whole records in the content of a file, in the order of their steps.

    A crash may cut off a line. It is left out, also where an earlier version wrote the next record behind it.

    Args:
        content: of the file.
        source: what to call it in an error.

    Raises:
        InputError: a line is whole, but no record.
    """
    reports = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):  # what follows the last newline is not whole
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        try:
            reports.append(_report.validate_python(record))
        except ValidationError as error:
            key, problem = first_problem(error)
            raise InputError(f"{source}: line {number}: is no record ({key}: {problem}); {_REMEDY}") from None
    return sorted(reports, key=lambda report: report.step)


def _cut_torn_line(file: BinaryIO) -> None:
    """Cut off what follows the last newline: a record that a crash cut off. The next one must not be glued to it."""
    end = file.seek(0, os.SEEK_END)
    if end and (file.seek(end - 1), file.read(1))[1] != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def _line(report: Report) -> str:
    content = asdict(report)
    for name in ("confusion", "correct"):
        if not content[name]:
            del content[name]
    return json.dumps(content) + "\n"
