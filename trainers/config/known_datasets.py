"""Facts of the data sets that are known by name, so that a configuration can be checked on any machine."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownDataset:
    """Sizes of one data set.

    Attributes:
        name: as in `dataset.name`.
        train: images with classes.
        test: images.
        classes: how many.
        image_size: pixels per side. None: it is a setting.
        channels: 1 is grey, 3 is colour.
        extra: images that are used without their classes.
        files: the files that a download leaves in its folder.
    """

    name: str
    train: int
    test: int
    classes: int
    image_size: int | None
    channels: int
    extra: int = 0
    files: str = ""


KNOWN_DATASETS = {
    known.name: known
    for known in (
        # scikit-learn has one set of 1,797 images; every fifth image is the test set.
        KnownDataset("digits", train=1438, test=359, classes=10, image_size=8, channels=1),
        KnownDataset(
            "cifar10",
            train=50_000,
            test=10_000,
            classes=10,
            image_size=32,
            channels=3,
            files="cifar-10-batches-py/, or cifar-10-python.tar.gz (170 MB)",
        ),
        KnownDataset(
            "cifar100",
            train=50_000,
            test=10_000,
            classes=100,
            image_size=32,
            channels=3,
            files="cifar-100-python/, or cifar-100-python.tar.gz (169 MB)",
        ),
        KnownDataset(
            "svhn",
            train=73_257,
            test=26_032,
            classes=10,
            image_size=32,
            channels=3,
            extra=531_131,
            files="train_32x32.mat (182 MB), test_32x32.mat (64 MB), with extra: true also extra_32x32.mat (1.3 GB)",
        ),
        KnownDataset("imagenet", train=1_281_167, test=50_000, classes=1000, image_size=None, channels=3),
    )
}
