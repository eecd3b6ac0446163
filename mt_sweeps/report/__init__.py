"""The report: one HTML file that is read offline, on a screen or on paper. What it says is `findings`, as data."""

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from mt_sweeps.errors import InputError
from mt_sweeps.report import chapters, findings
from mt_sweeps.report.axes import axes
from mt_sweeps.results import status
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study.ledger import Ledger
from trainers.files import write_atomically


def build(directory: SweepStore, ledger: Ledger | None = None, driven: bool | None = None) -> dict[str, Any]:
    """What the report says, as data; its shape is that of `findings.gather`.

    Args:
        directory: of the sweep.
        ledger: of it, where it is open already; only read.
        driven: whether a process drives it, where that is known already.
    """
    ledger = ledger or Ledger(directory.ledger, directory.load_spec())
    driven = directory.is_driven if driven is None else driven
    return findings.gather(directory, ledger, status.sweep_state(directory, ledger, driven))


def write(directory: SweepStore, ledger: Ledger | None = None, driven: bool | None = None) -> Path:
    """Write `report.html` into the sweep's directory; arguments as of `build`.

    Raises:
        InputError: it cannot be written.
    """
    ledger = ledger or Ledger(directory.ledger, directory.load_spec())
    page = html(build(directory, ledger, driven), ledger)
    try:
        directory.report.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(directory.report, page)
    except OSError as error:
        raise InputError(f"{directory.report}: cannot be written: {error.strerror}; make room, or allow it") from None
    return directory.report


def html(found: dict[str, Any], ledger: Ledger) -> str:
    """The page of what `build` found; the ledger knows the space that was searched."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(loader=PackageLoader(__name__, ""), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    scripts = [get_plotlyjs(), _own("page.js")]
    return environment.get_template("page.html").render(
        format=found["format"],
        name=found["sweep"]["name"],
        stand=chapters.stand(found),
        sections=chapters.all_chapters(found, axes(ledger.spec)),
        style=Markup(_own("page.css")),  # noqa: S704 (ours)
        scripts=[{"text": Markup(text), "hash": _hash(text)} for text in scripts],  # noqa: S704 (ours and plotly's)
    )


def _own(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """By which the page allows a script, and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
