"""People who steer a simulated sweep: they add points and end trials, at any moment, also late and twice."""

from dataclasses import replace

from optuna.exceptions import StorageInternalError

from mt_sweeps.commands import steer
from mt_sweeps.errors import InputError
from mt_sweeps.results.trials import trial_named
from mt_sweeps.storage.file_store import StorageUnavailable
from mt_sweeps.storage.requests import Request
from tests.simulation import invariants
from tests.simulation.parts import Parts
from tests.simulation.world import Crash, Process, Violation

_POINTS = 3  # that people think of: few, so that two ask for the same one


class People:
    """They type `mt-sweep add` and `mt-sweep end`.

    Args:
        parts: of the world.
        listener: hears of what they end.

    Attributes:
        asked: every request that may have been left with the sweep, by its id.
        accepted: the ids of those of which a command has said so.
    """

    def __init__(self, parts: Parts, listener: invariants.Listener) -> None:
        self._parts = parts
        self._world = parts.world
        self._listener = listener
        self._late: list[Request] = []  # of commands that have looked, and are stopped before they write
        self.asked: dict[str, Request] = {}
        self.accepted: set[str] = set()
        self._answered: set[str] = set()

    def act(self, is_driven: bool) -> None:
        """Have a person type a command, which may be killed at any of its points.

        Args:
            is_driven: whether a process has the lock of the sweep; if none has, the command does what is asked for.
        """
        world, sweep = self._world, self._parts.sweep
        person = Process("person", world.rng.randint(1, 30) if world.chance(0.3) else 0)
        sweep.has_driver = is_driven
        with world.running(person):
            try:
                if (request := self._request()) is not None:
                    self.asked[request.id] = request
                    sweep.add_request(request)
                    self.accepted.add(request.id)
                    world.log(f"asks: {request}")
                if not is_driven:
                    self.take_up()
            except (InputError, StorageInternalError, StorageUnavailable) as error:
                world.log(f"gets the answer: {error}")
            except Crash:
                pass

    def take_up(self) -> None:
        """Do what is asked of a sweep that nobody drives, as the command does that has its lock."""
        if self._parts.sweep.requests():
            before = {trial.id for trial in self._parts.ledger().all_trials() if trial.finished}
            ledger = self._parts.ledger()
            steer.take_up(self._parts.sweep, ledger)
            for trial in ledger.all_trials():
                if trial.finished and trial.id not in before:
                    self._listener.ended(trial)

    def is_answered(self, request: Request) -> None:
        """A request is about to be removed."""
        invariants.check_answered(self._parts, request)
        self._answered.add(request.id)

    def check_left(self) -> None:
        """Check that each request that was accepted is answered, or still there."""
        left = {request.id for request in self._parts.sweep.requests()}
        lost = self.accepted - self._answered - left
        if lost:
            raise Violation(f"nobody has answered the requests {lost}")

    def _request(self) -> Request | None:
        """Return what is asked for; None: nothing yet.

        Raises:
            InputError: it is refused at once.
        """
        rng, parts = self._world.rng, self._parts
        if self._late and self._world.chance(0.5):
            return self._late.pop()
        if self.accepted and self._world.chance(0.2):  # a database whose answer was lost is asked again
            return self.asked[rng.choice(sorted(self.accepted))]
        ledger = parts.ledger()
        if self._world.chance(0.5):
            point = rng.choice(invariants.points(parts, _POINTS))
            request = steer.point_request(parts.sweep, ledger, point)
        else:
            trials = [trial.id.slug for trial in ledger.all_trials()] or ["0000"]
            request = steer.end_request(parts.sweep, trial_named(parts.sweep, ledger, rng.choice(trials)))
        number = len(self.asked) + len(self._late)
        request = replace(request, id=f"{int(self._world.clock.time() * 1e9):020d}-{number:08x}")
        if self._world.chance(0.3):
            self._late.append(request)
            return None
        return request
