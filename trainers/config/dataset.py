"""The settings of a data set: where its images come from, and how many serve which purpose."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from trainers.config.base import MAX_IMAGES, MAX_SEED, Settings
from trainers.config.known_datasets import KNOWN_DATASETS

_CONFLICTS = (
    "images with the same pixels and different classes; leave_out: no training image among them serves a purpose"
)


class DatasetSettings(Settings):
    """How many images serve which purpose. Each image serves one; the images left over are unlabeled.

    The settings of a data set that a plugin brings derive from it: see `trainers.register_dataset`. Where they have a
    field `image_size`, it is the pixels per side.
    """

    name: str
    labels: Annotated[int, Field(ge=1, le=MAX_IMAGES)] | Annotated[float, Field(gt=0, lt=1)] | Literal["all"] = Field(
        description="labeled training images, or their share; 'all': all images without another purpose"
    )
    draw: Literal["balanced", "random"] = Field(
        "balanced", description="the labeled images: as many of every class, or at random"
    )
    unlabeled: int | None = Field(
        None, ge=1, le=MAX_IMAGES, description="how many of the images left over are used; none: all"
    )
    validation: int = Field(ge=0, le=MAX_IMAGES, description="images that select among trials; 0 with folds")
    verdict: int = Field(0, ge=0, le=MAX_IMAGES, description="images that compare the finalists")
    folds: int | None = Field(
        None,
        ge=2,
        le=20,
        description="cross-validation: each trial is trained so many times, each time without a part of the labeled "
        "images, and its error is that on all of these parts; none: the validation images select",
    )
    fold: int | None = Field(
        None, ge=0, lt=20, description="the part that one training of a cross-validation holds out; none: no part"
    )
    split_seed: int = Field(0, ge=0, le=MAX_SEED, description="draws which images serve which purpose")
    with_validation: bool = Field(
        False,
        description="the validation and verdict images are trained on with their labels, and there is no validation; "
        "for a final training",
    )
    label_seed: int | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        description="draws other labeled images; validation and verdict stay; none: those of split_seed",
    )
    conflicts: Literal["refuse", "leave_out"] = Field("refuse", description=_CONFLICTS)

    @model_validator(mode="after")
    def _selects_by_validation_images_or_by_folds(self) -> "DatasetSettings":
        if self.folds is None and self.fold is not None:
            raise ValueError(f"fold ({self.fold}) is one of folds, and there are none; take it out, or set folds")
        if self.folds is None and not self.validation:
            raise ValueError(
                "validation is 0, so that no images select among trials; set folds (5, for cross-validation over the "
                "labeled images), or raise validation"
            )
        if self.folds is not None and self.validation:
            raise ValueError(
                f"folds ({self.folds}) and validation ({self.validation}) clash: with folds the labeled images select; "
                "use validation: 0, or take folds out"
            )
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold ({self.fold}) must be below folds ({self.folds})")
        return self

    @model_validator(mode="after")
    def _draws_labels_where_there_is_a_choice(self) -> "DatasetSettings":
        if self.label_seed is not None and self.labels == "all":
            raise ValueError("label_seed draws nothing with labels: all; take it out")
        return self

    @model_validator(mode="after")
    def _fits_a_known_dataset(self) -> "DatasetSettings":
        known = KNOWN_DATASETS.get(self.name)
        if known is not None:
            labels = self.label_count(known.train)
            check_split_sizes(labels, self.validation, self.verdict, known.train, known.classes, known.name)
        return self

    def label_count(self, images: int) -> int | Literal["all"]:
        """Return the number of labels, of this many images with classes."""
        return self.labels if self.labels == "all" or isinstance(self.labels, int) else round(self.labels * images)

    def unlabeled_count(self, images: int, others: int = 0) -> int:
        """Return how many unlabeled images are used, of this many images with classes and this many others."""
        labels = self.label_count(images)
        left = others if labels == "all" else images - labels - self.validation - self.verdict + others
        return left if self.unlabeled is None else self.unlabeled


class _Known(DatasetSettings):
    # Nobody can mend the files of a data set that everyone uses, so it must not stop a sweep.
    conflicts: Literal["refuse", "leave_out"] = Field("leave_out", description=_CONFLICTS)


class Digits(_Known):
    """scikit-learn's digits: 1,797 grey images of 8x8 pixels, shipped with the package."""

    name: Literal["digits"]


class _Downloaded(_Known):
    root: str | None = Field(None, description="folder that holds or receives the download; none: the cache folder")


class Cifar10(_Downloaded):
    """CIFAR-10: 60,000 colour images of 32x32 pixels, downloaded by torchvision when not there."""

    name: Literal["cifar10"]


class Cifar100(_Downloaded):
    """CIFAR-100: as many images as CIFAR-10, of ten times as many classes."""

    name: Literal["cifar100"]


class Svhn(_Downloaded):
    """Street View House Numbers: 99,289 colour images of 32x32 pixels, downloaded by torchvision when not there."""

    name: Literal["svhn"]
    extra: bool = Field(False, description="531,131 more images, which are unlabeled")


def _as_tuple(value: object) -> object:
    """Return a list as a tuple: YAML and JSON have lists alone."""
    return tuple(value) if isinstance(value, list) else value


class _OnDisk(DatasetSettings):
    root: str = Field(min_length=1, description="folder that holds the images")
    image_size: int | None = Field(
        None, ge=4, le=1024, description="pixels per side after resizing and centre crop; none: they have one size"
    )
    label_file: str | None = Field(
        None,
        description="table of paths and classes (CSV, TSV, JSON lines, or lines `path class`); images that are not in "
        "it are unlabeled; none: class folders",
    )
    test_label_file: str | None = Field(
        None, description="such a table for the test images, in test/ or train/; none: test/<class>/"
    )
    pixel_range: Annotated[tuple[float, float], BeforeValidator(_as_tuple)] | None = Field(
        None,
        description="greys of more than 8 bits: the values that become black and white in every image; none: 0 and "
        "65535 of integers, 0 and 1 of floats",
    )
    unreadable: Literal["refuse", "skip"] = Field(
        "refuse", description="images that cannot be read; skip: leave them out"
    )
    groups: str | None = Field(
        None,
        description="regular expression with one pair of parentheses, for the path of an image in root: images in "
        "whose paths it encloses the same text serve one purpose; without parentheses, the column of label_file that "
        "says which images do; none: each image is on its own",
    )

    @field_validator("groups")
    @classmethod
    def _encloses_one_group(cls, value: str | None) -> str | None:
        if value is None:
            return value
        try:
            count = re.compile(value).groups
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}") from None
        if count > 1:
            raise ValueError(
                f"{value!r} has {count} pairs of parentheses; write one, around what names the group, as in "
                "'(patient[0-9]+)_'; further ones as (?:...)"
            )
        return value

    @property
    def group_column(self) -> str | None:
        """The column of the tables that says which images belong together; None if `groups` names none."""
        return self.groups if self.groups is not None and not re.compile(self.groups).groups else None

    @model_validator(mode="after")
    def _has_a_table_for_the_column(self) -> "_OnDisk":
        if self.group_column is not None and self.label_file is None:
            raise ValueError(
                f"groups ({self.groups!r}) has no parentheses, so it is a column of label_file, and that is not set; "
                "set it, or write one pair of parentheses around what names the group in a path, as in "
                "'(patient[0-9]+)_'"
            )
        return self

    @field_validator("pixel_range")
    @classmethod
    def _black_is_below_white(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError(f"[{value[0]:g}, {value[1]:g}]: the first must be less than the second, as [0, 4095]")
        return value


class ImageFolder(_OnDisk):
    """Your own images: `<root>/train/<class>/*`, optional `<root>/unlabeled/*` and `<root>/test/<class>/*`."""

    name: Literal["image_folder"]


class Imagenet(_OnDisk):
    """ILSVRC 2012: `<root>/train/<wnid>/*` and `<root>/val/<wnid>/*`, which is its test set. Never downloaded."""

    name: Literal["imagenet"]
    conflicts: Literal["refuse", "leave_out"] = Field("leave_out", description=_CONFLICTS)
    image_size: int | None = Field(256, ge=32, le=1024, description="pixels per side after resizing and centre crop")


DatasetConfig = Digits | Cifar10 | Cifar100 | Svhn | ImageFolder | Imagenet


def check_split_sizes(
    labels: int | Literal["all"], validation: int, verdict: int, train: int, classes: int, dataset: str
) -> None:
    """Refuse a split that the training images of a data set cannot give.

    Raises:
        ValueError: there are fewer labels than classes, or fewer images than the split needs.
    """
    wanted = classes if labels == "all" else labels
    if wanted < classes:
        raise ValueError(
            f"labels: {labels} is fewer than the {classes} classes of {dataset}; use at least {classes}, one per class"
        )
    if wanted + validation + verdict > train:
        raise ValueError(
            f"labels + validation + verdict = {labels} + {validation} + {verdict} is more than the {train:,} training "
            f"images of {dataset}; lower one of them"
        )
