"""The report: one HTML file that is read offline, on a screen or on paper.

Its findings are data (`findings`), gathered from the sweep (`gather`). `chapters` makes words and tables of them,
`figures` makes plots.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from mt_sweeps.errors import InputError
from mt_sweeps.report import chapters
from mt_sweeps.report.axes import axes
from mt_sweeps.report.findings import FORMAT, Findings
from mt_sweeps.report.gather import gather
from mt_sweeps.report.plotting import mark
from mt_sweeps.results.status import sweep_state
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study.ledger import Ledger
from trainers.files import write_atomically

_CODE = re.compile(r"`([^`\n]+)`")  # what a sentence has between backticks
_BREAKS = re.compile(r"([._])(?=\w)")  # where the name of a column may go on in the next line


def build(sweep: SweepStore, ledger: Ledger | None = None, driven: bool | None = None) -> Findings:
    """Return what the report says, as data.

    Args:
        sweep: the sweep.
        ledger: of the sweep, if it is open already; only read.
        driven: whether a process drives the sweep, if that is known already.
    """
    sweep.check_plugins()
    ledger = ledger or Ledger(sweep.ledger, sweep.load_spec())
    driven = sweep.is_driven if driven is None else driven
    return gather(sweep, ledger, sweep_state(sweep, ledger, driven))


def write(
    sweep: SweepStore,
    ledger: Ledger | None = None,
    driven: bool | None = None,
    pages: Mapping[str, str] | None = None,
) -> Path:
    """Write `report.html` into the sweep's folder and return its path.

    Args:
        sweep: as for `build`.
        ledger: likewise.
        driven: likewise.
        pages: addresses in MLflow: of the sweep by an empty text, of trials by `TrialId.slug`; None: none is known.

    Raises:
        InputError: it cannot be written, or a plugin of the sweep is not imported.
    """
    sweep.check_plugins()
    ledger = ledger or Ledger(sweep.ledger, sweep.load_spec())
    page = html(
        build(sweep, ledger, driven), ledger, pages or {}, (sweep.command("dashboard"), sweep.command("inspect"))
    )
    try:
        sweep.report.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(sweep.report, page)
    except OSError as error:
        raise InputError(f"{sweep.report}: cannot be written: {error.strerror}; make room, or allow it") from None
    return sweep.report


def html(findings: Findings, ledger: Ledger, pages: Mapping[str, str], commands: tuple[str, str]) -> str:
    """Return the page.

    Args:
        findings: what it says.
        ledger: knows the space that was searched.
        pages: as for `write`.
        commands: those that show the sweep in MLflow, and that make pictures of its images.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup, escape

    environment = Environment(loader=PackageLoader(__name__, ""), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "with_code": lambda text: Markup(_CODE.sub(r"<code>\1</code>", str(escape(text)))),  # noqa: S704 (escaped)
        "breakable": lambda text: Markup(_BREAKS.sub(r"\1<wbr>", str(escape(text)))),  # noqa: S704 (escaped)
        "without_marks": lambda text: _CODE.sub(r"\1", text),
    }
    script = _own("page.js")
    shown = chapters.all_chapters(findings, axes(ledger.spec), pages, *commands)
    return environment.get_template("page.html").render(
        format=FORMAT,
        name=findings.sweep.name,
        state_line=chapters.state_line(findings),
        chapters=shown,
        columns=max((len(table.head) for chapter in shown for table in chapter.tables), default=0),
        drawn=Markup,  # of figures, whose texts are escaped where they are drawn
        legend_mark=mark,
        style=Markup(_own("page.css")),  # noqa: S704 (ours)
        script={"text": Markup(script), "hash": _hash(script)},  # noqa: S704 (ours)
    )


def _own(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Return the hash by which the page allows this script, and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
