"""The simulated training: errors that follow from configuration and step, and the files that a real one writes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from mt_sweeps.execution.attempt import Assignment
from mt_sweeps.execution.simulated_trainer import Script, SimulatedTrainer
from tests.simulation.world import World
from trainers.config import TrainerConfig
from trainers.errors import Diverged, UnreadableCheckpoint
from trainers.files import CHECKPOINT, CHECKPOINTS, PREVIOUS_CHECKPOINT, write_atomically
from trainers.report import Report


@cache
def curve(settings: str) -> dict[int, Report]:
    """Return what a training that nothing disturbs reports, by step.

    Args:
        settings: as an assignment has them.
    """
    trainer = SimulatedTrainer(TrainerConfig.model_validate_json(settings), None, Script())
    return {report.step: replace(report, confusion={}) for report in trainer.run()}


class ScriptedTrainer:
    """One training. It resumes from its checkpoint, as `Trainer` does, and saves it in the same steps.

    Args:
        world: where.
        assignment: what is trained.
        folder: for the checkpoint.
        diverges: it does, after its first evaluation interval.
    """

    def __init__(self, world: World, assignment: Assignment, folder: Path, diverges: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._world = world
        self._trial = assignment.trial
        self._folder = folder
        self._diverges = diverges
        self._curve = curve(assignment.settings)
        self.history = [self._at(step, time) for step, time in self._load()]

    def run(self) -> Iterator[Report]:
        """Train to the end."""
        for step in list(self._curve)[len(self.history) :]:
            if self._world.process is None or not self._world.process.is_given_up:
                self._world.computed[self._trial] += 1
            if self._diverges:
                raise Diverged("as the schedule says")
            self.history.append(self._at(step, self._world.clock.time()))
            self.save()
            yield self.history[-1]

    def save(self) -> None:
        """Write the checkpoint; the one that was there becomes the previous one."""
        if (self._folder / CHECKPOINT).exists():
            (self._folder / CHECKPOINT).replace(self._folder / PREVIOUS_CHECKPOINT)
        write_atomically(self._folder / CHECKPOINT, checkpoint(self.history))

    def _at(self, step: int, time: float) -> Report:
        return replace(self._curve[step], time=time)

    def _load(self) -> list[tuple[int, float]]:
        files = [self._folder / name for name in reversed(CHECKPOINTS) if (self._folder / name).exists()]
        for file in files:
            if (saved := saved_in(file.read_bytes())) is not None:
                if file.name == PREVIOUS_CHECKPOINT and (self._folder / CHECKPOINT).exists():
                    (self._folder / CHECKPOINT).replace(self._folder / f"{CHECKPOINT}.unreadable")
                return saved
        if files:
            raise UnreadableCheckpoint(f"{files[0]} is torn")
        return []


def checkpoint(history: list[Report]) -> str:
    """Return the content of a checkpoint."""
    return json.dumps([(report.step, report.time) for report in history])


def saved_in(content: bytes) -> list[tuple[int, float]] | None:
    """Return the steps and times that a checkpoint has; None if it is torn."""
    try:
        return [(step, time) for step, time in json.loads(content)]
    except ValueError:
        return None
