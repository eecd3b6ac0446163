"""Choose what fits a folder of images, a machine and the time there is: network, sizes, split and lengths.

Everything here follows from its arguments alone: nothing is read, and nothing is measured.
"""

import re
from dataclasses import dataclass, replace

from mt_sweeps.spec.speed import Speed
from trainers.data.inspection import FolderFacts

_SPARES_VERDICT = 1000  # labeled images from which on some are kept back for the verdict
_MOST_KEPT = 1000  # validation images, and verdict images: more cost labels and say little more
_MOST_FOR_RAREST = 4000  # validation images, where so many are needed for two of the rarest class
_PLANNED = 0.9  # share of the time that is planned: the rest is for starting, decoding and the report
_PLANNED_WITH_PROBES = 0.8  # likewise where linear probes are fitted, which are not counted as trainings
_LADDER = (
    (64, 3, 8, 4.0),
    (32, 3, 8, 2.0),
    (32, 3, 6, 1.5),
    (24, 2, 6, 1.25),
    (16, 1, 6, 1.0),
    (12, 1, 5, 1.0),
    (8, 1, 4, 1.0),
    (6, 1, 3, 0.0),
)
"""(trials, finalists, their seeds at most, how many times enough steps this wants), from many hours to few."""
_SHARES = (0.25, 0.5)  # labeled shares of a batch that are searched from nothing; the last is the usual one
_SHARES_PRE_TRAINED = (0.75, 0.5)  # likewise from pre-trained weights: docs/accuracy.md
_SMALLEST_PHOTOGRAPH = 24  # pixels per side from which on pre-trained weights help, though images are enlarged
_SMALLEST_GREY = 64  # likewise of grey images, of which small ones are rather digits and letters
_SIDES = {"left", "right", "east", "west", "clockwise", "counterclockwise", "anticlockwise", "arrow", "arrows"}
_DIGITS = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}


@dataclass(frozen=True)
class Machine:
    """What trains: how many trials at once, and whether on GPUs."""

    has_gpu: bool
    concurrent: int


@dataclass(frozen=True)
class WeightsAtHand:
    """Pre-trained weights that are at hand.

    Attributes:
        file: as `model.weights` names it.
        architecture: of timm.
        origin: where they are from, in words.
    """

    file: str
    architecture: str
    origin: str


@dataclass(frozen=True)
class Length:
    """How long a sweep is.

    Attributes:
        steps: of each training.
        evaluate_every: steps between evaluations.
        trials: of the search.
        top: how many of the best are trained again.
        seeds: with how many seeds they and the baselines are, at most.
    """

    steps: int
    evaluate_every: int
    trials: int
    top: int
    seeds: int

    @property
    def trainings(self) -> int:
        """All trainings together: the search, as many supervised ones, the published values, and the finalists."""
        return 2 * self.trials + 1 + (self.top + 2) * self.seeds


@dataclass(frozen=True)
class Network:
    """A network, and what depends on its kind.

    Attributes:
        first: the pre-trained weights that it starts from; None: a small network that starts from nothing.
        image_size: pixels per side.
        width: of the small network.
        batch_size: images per step.
        learning_rate: a usual one, of SGD, or of AdamW from pre-trained weights.
        rates: the lowest and the highest learning rate that is searched.
        epochs: passes over the labeled images that are enough, and that are too many.
        steps: that a training has at least, and, of the passes that are enough, the fewest and the most.
    """

    first: WeightsAtHand | None
    image_size: int
    width: int
    batch_size: int
    learning_rate: float
    rates: tuple[float, float]
    epochs: tuple[int, int]
    steps: tuple[int, int, int]


@dataclass(frozen=True)
class SplitSizes:
    """How many labeled images select trials, compare finalists, and are trained on."""

    validation: int
    verdict: int
    trained: int


@dataclass(frozen=True)
class Flip:
    """Whether mirroring keeps the classes what they are (None: nobody knows), and why."""

    value: bool | None
    why: str


@dataclass(frozen=True)
class Fit:
    """What fits.

    Attributes:
        split: of the labeled images.
        network: with its image size and batch size.
        fractions: labeled shares of a batch that can be searched, the usual one last; 1.0 alone: there are no unlabeled
            images.
        length: of the sweep.
        flip: whether images may be mirrored.
    """

    split: SplitSizes
    network: Network
    fractions: list[float]
    length: Length
    flip: Flip


def fit(
    found: FolderFacts, machine: Machine, first: WeightsAtHand | None, hours: float, speed: Speed | None = None
) -> Fit:
    """Choose the network and all sizes.

    Args:
        found: in the folder of images.
        machine: that trains.
        first: pre-trained weights that are at hand, or None.
        hours: that the sweep may take.
        speed: as measured; None: not yet, so that only what does not depend on it can be used.

    Raises:
        ValueError: no sweep fits these images; what to do.
    """
    alone = [name for name, count in found.classes.items() if count < 2]
    if alone:
        raise ValueError(
            f"class {alone[0]!r} has 1 labeled image, and at least 2 are needed: one to train on and one to validate "
            "on; add images of it, or leave the class out"
        )
    split = _split(found)
    network = _network(found, machine, first, hours)
    most = split.trained + min(found.unlabeled, split.trained)  # images that a batch can be filled with
    network = replace(network, batch_size=max(2, min(network.batch_size, most)))
    fractions = _fractions(found.unlabeled, network)
    epoch = split.trained / (fractions[-1] * network.batch_size)
    planned = _PLANNED if network.first is None else _PLANNED_WITH_PROBES
    length = _length(network, epoch, 3600 * hours * machine.concurrent * planned, speed)
    return Fit(split, network, fractions, length, _flip(found))


def suits_pre_trained(found: FolderFacts) -> bool:
    """Return whether images are such as pre-trained weights help with: photographs, and large grey images."""
    return found.side >= (_SMALLEST_PHOTOGRAPH if found.is_colour else _SMALLEST_GREY)


def _split(found: FolderFacts) -> SplitSizes:
    """Keep a quarter back, or two fifths of many; two validation images of the rarest class if possible."""
    n = found.labeled
    two_of_rarest = 1.6 / min(found.classes.values())  # the share that gives two: all classes have the same share
    if n >= _SPARES_VERDICT:
        share = max(min(0.2, _MOST_KEPT / n), min(two_of_rarest, 0.25, _MOST_FOR_RAREST / n))
        validation = _rounded(share * n)
        verdict = min(validation, _MOST_KEPT)
        return SplitSizes(validation, verdict, n - validation - verdict)
    validation = max(1, _rounded(max(0.25, min(two_of_rarest, 1 / 3)) * n))
    return SplitSizes(validation, 0, n - validation)


def _rounded(count: float) -> int:
    return round(count / 10) * 10 if count >= 200 else round(count)


def _network(found: FolderFacts, machine: Machine, first: WeightsAtHand | None, hours: float) -> Network:
    gpu, side = machine.has_gpu, found.side
    if first is not None and suits_pre_trained(found):
        large = 128 if side >= 128 else 96
        size = large if gpu else 96 if side >= 96 and hours >= 4 else 64
        return Network(first, size, 0, 64 if gpu else 32, 0.0003, (0.00003, 0.0005), (3, 30), (60, 160, 600))
    resized = max(16, min(96 if gpu else 64, 8 * round(side / 8)))
    size = side if found.is_one_square and 8 <= side <= 64 else resized
    width = (16 if size < 24 else 32) * (2 if gpu else 1)
    return Network(None, size, width, 100 if gpu else 64, 0.1, (0.02, 0.4), (20, 150), (160, 300, 3000))


def _fractions(unlabeled: int, network: Network) -> list[float]:
    """Return the labeled shares that are searched, as far as the unlabeled images allow; the usual one last."""
    batch, shares = network.batch_size, _SHARES if network.first is None else _SHARES_PRE_TRAINED
    possible = [share for share in shares if batch - round(share * batch) <= unlabeled]
    return possible if possible and batch >= 8 else [(batch - min(batch // 2, unlabeled)) / batch]


def _length(network: Network, epoch: float, seconds: float, speed: Speed | None) -> Length:
    """Return the sweep of the most trials whose trainings are long enough, and in the time as long as it can be.

    Args:
        network: that is trained.
        epoch: steps in which each labeled image is seen once.
        seconds: of all trainings one after another.
        speed: as measured.
    """
    least, fewest, most = network.steps
    enough = -(-min(max(fewest, round(network.epochs[0] * epoch)), most) // 20) * 20
    too_many = max(2 * enough, round(network.epochs[1] * epoch))
    if speed is None:
        return Length(enough, max(1, enough // 10), *_LADDER[-1][:3])
    for trials, top, seeds, times in _LADDER:
        per_training = seconds / Length(1, 1, trials, top, seeds).trainings
        evaluations = next((count for count in (20, 10) if count * speed.evaluation <= 0.2 * per_training), 4)
        steps = max(0, int((per_training - evaluations * speed.evaluation) / max(speed.step, 1e-5)))
        if steps >= times * enough:
            steps = _rounded_down(min(max(steps, least), too_many))
            # Of four, the first is at 0.3 of the steps, where trials are ranked.
            every = 3 * steps // 10 if evaluations == 4 else steps // evaluations
            return Length(steps, every, trials, top, seeds)
    raise AssertionError("the last wants nothing")


def _rounded_down(steps: int) -> int:
    """Return a number of steps with two digits, or three of large ones, that 20 divides."""
    unit = 20 * int(10 ** max(0, len(str(steps)) - 4))
    return max(20, steps // unit * unit)


def _flip(found: FolderFacts) -> Flip:
    words = {name: {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", name)} for name in found.classes}
    signs = [name for name in words if len(name) == 1 or name.isdigit() or words[name] & _DIGITS]
    sided = [name for name in words if words[name] & _SIDES]
    if signs:
        return Flip(False, f"class names such as {signs[0]!r} may be digits, letters or signs, which a mirror changes")
    if sided:
        return Flip(False, f"class names such as {sided[0]!r} say sides, which a mirror swaps")
    if found.is_colour:
        return Flip(True, "most photographs are as good mirrored; false if left and right matter in yours")
    if found.side < 48:
        return Flip(False, "small grey images may be digits or letters, which a mirror changes; true if yours are not")
    return Flip(None, "whether these grey images may be mirrored, you know better: leave it out if they must not be")
