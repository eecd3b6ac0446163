"""The metric records of a trial: one line per evaluation, on the disk before the driver receives it.

The ledger and MLflow can both be rebuilt from them.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

from trainers.report import Report

FILE = "records.jsonl"


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
    with (directory / FILE).open("a", encoding="utf-8") as file:
        file.write(_line(report))
        file.flush()
        os.fsync(file.fileno())


def read(directory: Path) -> list[Report]:
    """Return all whole records in a directory, in the order of their steps."""
    file = directory / FILE
    return parse(file.read_bytes()) if file.exists() else []


def parse(content: bytes) -> list[Report]:
    """Return the records in the content of a file, without a last line that a crash cut off."""
    lines = content.decode().split("\n")[:-1]  # what follows the last newline is not whole
    return [Report(**json.loads(line)) for line in lines if line.strip()]


def _line(report: Report) -> str:
    content = asdict(report)
    if not report.confusion:
        del content["confusion"]
    return json.dumps(content) + "\n"
