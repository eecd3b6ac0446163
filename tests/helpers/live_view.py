"""The live view of a sweep as it was at a moment, drawn again from its ledger and its records."""

import re
import time
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace

from rich.console import Console

from mt_sweeps.commands.console import Board
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study.ledger_view import ledger_of
from mt_sweeps.study.trial import Trial

_FONT = "ui-monospace, Menlo, Consolas, monospace"


def drawn_at(sweep: SweepStore, share: float, width: int, height: int = 30) -> tuple[str, str]:
    """Return what a terminal showed, as text and as an SVG file.

    Args:
        sweep: that has ended.
        share: of its time that had passed, from 0 to 1.
        width: columns.
        height: lines.
    """
    ledger = ledger_of(sweep)
    trials = ledger.all_trials()
    began = min(trial.started for trial in trials)
    now = began + share * (max(_ended(trial) for trial in trials) - began)
    shown, environment = list[Trial](), sweep.load_environment()
    then = SimpleNamespace(
        spec=ledger.spec,
        total=ledger.total,
        remaining=ledger.remaining,
        all_trials=list,
        trials=lambda arm: [trial for trial in shown if trial.arm == arm],
        active_seconds=now - began,
        ended="",
    )
    board = Board(then, environment.concurrent, lambda: None, is_live=False, sweep=sweep)
    board._start = time.monotonic() - (now - began)
    board._console = Console(file=StringIO(), record=True, width=width, height=height, force_terminal=True)
    board._time_left._starting = 0
    for trial in trials:
        if trial.started > now:
            continue
        is_over = trial.finished and _ended(trial) <= now
        reports = [one for one in sweep.trials.records(trial.id) if one.time <= now]
        shown.append(trial if is_over else replace(trial, state="running", last=None, step=0))
        board._update(shown[-1])
        for report in reports:
            board._count_report(trial, report)
    board._console.print(board._view())
    text = board._console.export_text(clear=False)
    svg = board._console.export_svg(title="mt-sweep run search_spaces/digits.yaml", unique_id="run")
    svg = re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)  # fonts come from elsewhere
    return text, svg.replace("Fira Code, monospace", _FONT)


def _ended(trial: Trial) -> float:
    return trial.last.time if trial.last is not None else trial.attempt_started
