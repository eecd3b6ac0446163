"""Which images serve a purpose together: those of one patient, track or camera, and copies of one picture."""

import re
from collections.abc import Sequence

import numpy as np

from trainers.errors import DataError, escaped

LEFT_OUT = -1  # the group of an image that serves no purpose


def groups_of_paths(expression: str, paths: Sequence[str]) -> np.ndarray:
    """Return the number of the group of each image: int64 [n]. Images with the same text have the same number.

    Args:
        expression: `dataset.groups`; the text that its parentheses enclose names the group.
        paths: relative to the root of the folder, with `/` between folders.

    Raises:
        DataError: the expression does not match a path, or encloses nothing there.
    """
    pattern, numbers = re.compile(expression), dict[str, int]()
    groups = np.empty(len(paths), np.int64)
    for i, path in enumerate(paths):
        match = pattern.search(path)
        if match is None or not match[1]:
            raise DataError(
                f"dataset.groups: {expression!r} finds no group in {escaped(path)}; it must find one in the path of "
                "every image, relative to dataset.root: correct it, or move the image out of the folder"
            )
        groups[i] = numbers.setdefault(match[1], len(numbers))
    return groups


def groups_of_table(named: dict[str, str], files: Sequence[str]) -> np.ndarray:
    """Return the number of the group of each image: int64 [n]. An image that is not named is on its own.

    Args:
        named: what a table says of which images belong together, by file.
        files: of the images.
    """
    numbers: dict[tuple[bool, str], int] = {}
    keys = [(True, named[file]) if file in named else (False, file) for file in files]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def united(copies: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Return groups such that images of one group, and copies, are in one group: int64 [n].

    Args:
        copies: int64 [n], the number of the first image with the same pixels.
        groups: int64 [n], or None where only copies belong together.
    """
    if groups is None:
        return copies
    from scipy.sparse import coo_array  # takes long to import, and is needed once per data set
    from scipy.sparse.csgraph import connected_components

    _, first, number = np.unique(groups, return_index=True, return_inverse=True)
    every = np.arange(len(copies))
    rows, columns = np.concatenate([every, every]), np.concatenate([copies, first[number]])
    links = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(copies), len(copies)))
    together: np.ndarray = connected_components(links, directed=False)[1].astype(np.int64)
    return together


class WholeGroups:
    """Draws validation and verdict images, so that no group of images is divided.

    Args:
        labels: int64 [n], of the training images; negative where an image has no class.
        groups: int64 [n].
        usable: bool [n], whether an image may serve a purpose.

    Attributes:
        taken: bool [n], the images that were drawn.
    """

    def __init__(self, labels: np.ndarray, groups: np.ndarray, usable: np.ndarray) -> None:
        images = np.flatnonzero(usable & (labels >= 0))
        _, numbers, sizes = np.unique(groups[images], return_inverse=True, return_counts=True)
        self._labels = labels
        self._number = np.full(len(labels), -1)
        self._number[images] = numbers
        self._members = images[np.argsort(numbers, kind="stable")]
        self._ends = np.cumsum(sizes)
        self.sizes = sizes
        self.taken = np.zeros(len(labels), bool)

    def draw(self, order: np.ndarray, size: int, spare: np.ndarray) -> np.ndarray:
        """Draw images in an order: each with its whole group, if the group still fits.

        If some classes have an image to spare and the order gives none of them, such images come first, if there is
        room for one of every class.

        Args:
            order: int64, images with classes.
            size: how many to draw at most; exactly so many where every group has one image and enough are to spare.
            spare: int64 [classes], how many of each class may be drawn. What is drawn is subtracted from it.

        Returns:
            The images.
        """
        order = order[~self.taken[order]]
        room = size >= (spare > 0).sum()
        first: list[int] = []
        tried: set[int] = set()
        while True:
            drawn, left = self._whole(np.concatenate([np.array(first, np.int64), order]), size, spare)
            covered = set(np.unique(self._labels[drawn]).tolist())
            missing = [c for c in np.flatnonzero(spare).tolist() if c not in covered and c not in tried]
            if not room or not missing:
                break
            tried.update(missing)
            for c in missing:
                candidates = order[self._labels[order] == c]
                fitting = (image for image in candidates.tolist() if self._fits(self._group(image), size, spare))
                first += [image for image in [next(fitting, None)] if image is not None]
        spare[:] = left
        self.taken[drawn] = True
        return drawn

    def _whole(self, order: np.ndarray, size: int, spare: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return whole groups in the order of their first images, as far as they fit; and what is left to spare."""
        spare, drawn, seen = spare.copy(), [order[:0]], set()
        for image in order.tolist():
            if not size:
                break
            number = int(self._number[image])
            if number in seen:
                continue
            seen.add(number)
            group = self._group(image)
            if self._fits(group, size, spare):
                spare -= np.bincount(self._labels[group], minlength=len(spare))
                drawn.append(group)
                size -= len(group)
        return np.concatenate(drawn), spare

    def _group(self, image: int) -> np.ndarray:
        number = self._number[image]
        end = self._ends[number]
        return self._members[end - self.sizes[number] : end]

    def _fits(self, group: np.ndarray, size: int, spare: np.ndarray) -> bool:
        if len(group) == 1:
            return size > 0 and bool(spare[self._labels[group[0]]] > 0)
        if len(group) > size:
            return False
        return bool((np.bincount(self._labels[group], minlength=len(spare)) <= spare).all())
