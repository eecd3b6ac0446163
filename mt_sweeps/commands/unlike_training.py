"""Images that are unlike those that a model was trained on: in colour, grey, or much smaller."""

from mt_sweeps.formatting import counted
from trainers.checkpoint import Model
from trainers.data.decoding import ImageFile
from trainers.errors import escaped

_HARDLY_ANY = 0.02  # of the training images: of their kind, the model has learned next to nothing
_MUCH_SMALLER = 0.5  # of the model's side


class UnlikeTraining:
    """Counts images that are unlike those that a model was trained on.

    Args:
        model: that classifies them.
    """

    def __init__(self, model: Model) -> None:
        self._side = model.image_size
        self._color_share = 0.0 if model.channels == 1 else model.color_share
        self._images = 0
        self._unlike: dict[str, tuple[int, str]] = {}  # how they are unlike -> how many images, and the first of them

    def add(self, path: str, image: ImageFile) -> None:
        """Take an image into account."""
        self._images += 1
        share = self._color_share
        if share is not None and not image.is_grey and share < _HARDLY_ANY:
            self._count("in colour, and the model was trained on grey ones", path)
        if share is not None and image.is_grey and share > 1 - _HARDLY_ANY:
            self._count("grey, and the model was trained on images in colour", path)
        if image.side < _MUCH_SMALLER * self._side:
            side = f"{self._side}x{self._side} pixels"
            self._count(f"much smaller than the {side} that the model takes, and enlarged", path)

    def cautions(self) -> list[str]:
        """Return a sentence for each way in which some of the images are unlike, with their number and an example."""
        return [
            f"of {counted(self._images, 'image')}, {count:,} {'is' if count == 1 else 'are'} {how}; expect more errors "
            f"(for example: {escaped(path)})"
            for how, (count, path) in self._unlike.items()
        ]

    def _count(self, how: str, path: str) -> None:
        count, first = self._unlike.get(how, (0, path))
        self._unlike[how] = count + 1, first
