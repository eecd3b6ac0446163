"""What `train` shows while it works: a line that is redrawn on a terminal, plain lines if the output is piped."""

import threading
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from mt_sweeps.formatting import duration, errors_text
from mt_sweeps.terminal import can_redraw, print
from trainers.report import Report

_SECONDS_OF_A_PHASE = 5  # after which a plain line says what is being done
_SECONDS_OF_SILENCE = 60  # at most, between two plain lines
_SECONDS_TO_TIME = 3  # of training, before the time left is worth showing
_POLL_SECONDS = 0.5


class TrainingProgress:
    """Shows what a final training does: which phase it is in, and of the training its step, errors and time left."""

    def __init__(self) -> None:
        self._phase, self._began, self._due = "", 0.0, float("inf")
        self._step: Callable[[], int] | None = None  # while steps are taken
        self._steps = self._first = 0  # of the whole training, and those taken before it went on here
        self._paced: tuple[float, int] | None = None  # when a first step was seen to be taken, and how many were then
        self._last: Report | None = None
        self._over = threading.Event()
        self._console = Console()
        self._is_live = can_redraw() and self._console.is_terminal
        self._live = Live(get_renderable=self._view, console=self._console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        else:
            threading.Thread(target=self._repeat, name="progress", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._is_live:
            self._live.stop()

    def phase(self, text: str) -> None:
        """Something else is done from now on: `registering the model in MLflow`. It has no steps."""
        self._begin(text, None)

    def training(self, step: Callable[[], int], steps: int) -> None:
        """Optimiser steps are taken from now on.

        Args:
            step: returns how many the training has taken so far; it is called by another thread.
            steps: of the whole training.
        """
        self._first, self._steps, self._last, self._paced = step(), steps, None, None
        self._begin("", step)

    def reported(self, report: Report) -> None:
        """The training was evaluated."""
        self._last = report
        if self._step is None:
            self._line(f"{self._phase}: {_errors(report)}")
        elif not self._is_live or report.step == self._steps:  # the last one stays on a terminal
            self._line(f"step {report.step}/{self._steps}: {_errors(report)}{self._left_text(report.step)}")

    def _begin(self, phase: str, step: Callable[[], int] | None) -> None:
        self._began = time.monotonic()
        self._due = self._began + _SECONDS_OF_A_PHASE
        self._phase, self._step = phase, step

    def _text(self) -> str:
        """Return what is being done, and how far it is."""
        if self._step is None:
            return self._phase
        step = self._step()
        errors = f"  {_errors(self._last)}" if self._last is not None else ""
        if self._last is not None and self._last.step != step:
            errors += f" at step {self._last.step}"
        return f"step {step}/{self._steps}{errors}{self._left_text(step)}"

    def _left_text(self, step: int) -> str:
        """Return the time left, at the pace since the first step here, evaluations included; empty: not known.

        The first step is left out, since much is prepared in it.
        """
        if self._step is None or step <= self._first:
            return ""
        now = time.monotonic()
        began, first = self._paced = self._paced or (now, step)
        if step == first or now - began < _SECONDS_TO_TIME:
            return ""
        left = (self._steps - step) * (now - began) / (step - first)
        return f"  about {duration(left)} left" if round(left) else ""

    def _view(self) -> RenderableType:
        """Return what is on the screen of a terminal."""
        if self._step is None:
            return Text(f"{self._phase}  {duration(time.monotonic() - self._began)} so far") if self._phase else Text()
        bar = ProgressBar(total=self._steps, completed=self._step(), width=min(60, self._console.width))
        return Group(Text(self._text()), bar)

    def _repeat(self) -> None:
        """Print what is being done where a phase takes long, and once in a while that it goes on."""
        while not self._over.wait(_POLL_SECONDS):
            text = self._text()
            if time.monotonic() >= self._due:
                self._line(text)

    def _line(self, text: str) -> None:
        self._due = time.monotonic() + _SECONDS_OF_SILENCE
        print(text, flush=True)


def _errors(report: Report) -> str:
    return errors_text(report) or f"loss {report.metrics['train.loss']:.4g}"
