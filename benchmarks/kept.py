"""Results that are kept as they come, so that a benchmark that was interrupted goes on where it was."""

import argparse
import json
from pathlib import Path
from typing import Any

from trainers.files import write_atomically


def add_options(parser: argparse.ArgumentParser, results: Path) -> None:
    """Add the options that say where results are kept, and that nothing is to be trained."""
    parser.add_argument("--results", type=Path, default=results, help="where results are kept")
    parser.add_argument("--table", action="store_true", help="show what has been trained, and train nothing")


def read(file: Path) -> dict[str, Any]:
    """Return what has been kept so far."""
    return json.loads(file.read_text()) if file.exists() else {}


def keep(file: Path, found: dict[str, Any], line: str) -> None:
    """Write all results, and print what is new."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(found, indent=1) + "\n")
    print(line, flush=True)
