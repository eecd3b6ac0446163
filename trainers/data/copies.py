"""Which images are the same picture: exact copies by their pixels, near copies by a hash of how the picture looks."""

from hashlib import sha256

import numpy as np

_SMALLEST = 32  # pixels per side; a smaller picture has too little in it to say that two are alike
_LARGEST = 64  # pixels per side, about, that are looked at; of larger images, evenly spaced ones
_STEP = 2.0  # grey levels by which the brightness must rise, so that noise on a plain background is no feature
_FLAT = 4.0  # grey levels; an image whose brightness varies less shows nothing
_BITS = 8  # that may differ between the hashes of two near copies
_NEIGHBOURS = 3  # in the order of hashes that an image is compared with
_MOST_PAIRS = 10_000  # that are compared pixel by pixel
_ALIKE = 0.99  # the least correlation of two near copies, both as 8x8 fields
_SAME_EDGES = 0.9  # the least correlation of the differences between neighbouring fields; two pieces of sky have less


class PixelDigests:
    """Collects digests of images while they are written: 25 bytes per image."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._hashes: list[np.ndarray] = []
        self._hashed: list[np.ndarray] = []

    def add(self, images: np.ndarray) -> None:
        """Add the next images.

        Args:
            images: uint8 [n, height, width, channels].
        """
        for image in images:
            self._digests += sha256(np.ascontiguousarray(image).data).digest()[:16]
        if len(images) and min(images.shape[1:3]) >= _SMALLEST:
            hashes, hashed = difference_hashes(images)
            self._hashes.append(hashes)
            self._hashed.append(hashed)

    def copies(self) -> np.ndarray:
        """Return the number of the first image that has the same pixels, of every image: int64 [n]."""
        halves = np.frombuffer(bytes(self._digests), "<u8").reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: the first of equals comes first
        is_new = np.ones(len(order), bool)
        is_new[1:] = (halves[order[1:]] != halves[order[:-1]]).any(1)
        first = np.empty(len(order), np.int64)
        first[order] = order[is_new][np.cumsum(is_new) - 1]
        return first

    def near_copies(self, copies: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Return pairs of images that look almost the same and are no exact copies.

        Only images of which the hashes are nearly equal are compared, so the time grows with the number of images and
        not with its square. Some pairs may be missed.

        Args:
            copies: as `copies` returns them. Of exact copies, the first stands for all.
            pixels: uint8 [n, height, width, channels], of all images; may be mapped into memory.

        Returns:
            int64 [pairs, 2], the lower number first.
        """
        if not self._hashes:
            return np.zeros((0, 2), np.int64)
        hashes = np.concatenate(self._hashes)
        distinct = np.flatnonzero(np.concatenate(self._hashed) & (copies == np.arange(len(copies))))
        similar = distinct[_similar(hashes[distinct])][:_MOST_PAIRS]
        near: np.ndarray = similar[np.array([_are_alike(pixels[a], pixels[b]) for a, b in similar], bool)]
        return near


def under_two_classes(copies: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the numbers of the images that have a class, and of which a copy has another class: int64, sorted.

    Args:
        copies: int64 [n], the number of the first image with the same pixels.
        labels: int64 [n]; -1 where an image has no class.
    """
    classed = np.flatnonzero(labels >= 0)
    lowest, highest = np.full(len(labels), np.iinfo(np.int64).max), np.full(len(labels), -1)
    np.minimum.at(lowest, copies[classed], labels[classed])
    np.maximum.at(highest, copies[classed], labels[classed])
    conflicts: np.ndarray = classed[lowest[copies[classed]] != highest[copies[classed]]]
    return conflicts


def difference_hashes(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a hash of how each image looks, which small changes of its pixels do not change by much.

    The image becomes 8 rows of 9 fields of its green or only channel, which is close to its brightness. A bit is set
    where a field is brighter than its left neighbour.

    Args:
        images: uint8 [n, height, width, channels], of 9 pixels or more per side.

    Returns:
        The hashes, uint64 [n]; and whether each image shows enough to be compared, bool [n].
    """
    fields = _fields(images[..., images.shape[3] // 2], 8, 9)
    bits = np.diff(fields, axis=2) > _STEP
    hashes: np.ndarray = np.packbits(bits.reshape(len(images), 64), axis=1).view("<u8")[:, 0]
    return hashes, fields.std(axis=(1, 2)) >= _FLAT


def _similar(hashes: np.ndarray) -> np.ndarray:
    """Return pairs of hashes that differ in few bits: int64 [pairs, 2].

    Two such hashes share some of their eight parts, so they are neighbours, or nearly, where hashes are sorted with one
    of these first.
    """
    pairs = [np.zeros((0, 2), np.int64)]
    for shift in np.arange(0, 64, 8, dtype=np.uint64):
        rotated = hashes if not shift else (hashes << shift) | (hashes >> (np.uint64(64) - shift))
        order = np.argsort(rotated, kind="stable")
        for distance in range(1, _NEIGHBOURS + 1):
            both = np.stack([order[:-distance], order[distance:]], axis=1)
            near = np.bitwise_count(hashes[both[:, 0]] ^ hashes[both[:, 1]]) <= _BITS
            pairs.append(np.sort(both[near], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def _are_alike(first: np.ndarray, second: np.ndarray) -> bool:
    """Return True if two images [height, width, channels] are alike in the large, and have their edges in common."""
    a, b = (_fields(image.transpose(2, 0, 1), 8, 8) for image in (first, second))
    if _correlation(a, b) < _ALIKE:
        return False
    edges = [np.concatenate([np.diff(fields, axis=1).ravel(), np.diff(fields, axis=2).ravel()]) for fields in (a, b)]
    return _correlation(*edges) >= _SAME_EDGES


def _fields(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the mean of each field of images [n, height, width]: float32 [n, rows, columns]."""
    step = max(1, min(images.shape[1:]) // _LARGEST)
    fields: np.ndarray = images[:, ::step, ::step].astype(np.float32)
    for axis, count in ((1, rows), (2, columns)):
        ends = np.arange(count + 1) * fields.shape[axis] // count
        sizes = np.diff(ends).reshape([-1 if i == axis else 1 for i in range(3)])
        fields = np.add.reduceat(fields, ends[:-1], axis=axis) / sizes
    return fields


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float((a * b).sum()) / scale if scale else 0.0
