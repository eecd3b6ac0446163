"""Facts of the data sets we know by name, so that a configuration can be checked on any machine."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownDataset:
    """Sizes of one data set: images of `train`, `test` and `extra`, `classes`, pixels a side, and colour channels."""

    name: str
    train: int
    test: int
    classes: int
    image_size: int
    channels: int
    extra: int = 0


KNOWN_DATASETS = {
    known.name: known
    for known in (
        # The package ships one set of 1,797; we keep every fifth image as the test set.
        KnownDataset("digits", train=1438, test=359, classes=10, image_size=8, channels=1),
        KnownDataset("cifar10", train=50_000, test=10_000, classes=10, image_size=32, channels=3),
        KnownDataset("cifar100", train=50_000, test=10_000, classes=100, image_size=32, channels=3),
        KnownDataset("svhn", train=73_257, test=26_032, classes=10, image_size=32, channels=3, extra=531_131),
    )
}
