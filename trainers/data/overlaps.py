"""What is not trained on so that no picture and no group serves two purposes, in sentences for people."""

import csv
import io
from pathlib import Path

import numpy as np

from trainers.config import DatasetConfig
from trainers.data.cache import Facts, image_names
from trainers.data.groups import LEFT_OUT
from trainers.data.splits import Split
from trainers.files import write_atomically


def groups_per_purpose(facts: Facts, split: Split) -> dict[str, int]:
    """Return how many groups of images are trained on, and how many validation and verdict have.

    Copies are one group. In a cross-validation, the labeled images are those of validation. Where every image is on its
    own, these are numbers of images.
    """
    purposes = {
        "training": np.concatenate([split.labeled, split.unlabeled]),
        "validation": split.validation if len(split.validation) else split.labeled,
        "verdict": split.verdict,
    }
    return {name: len(np.unique(facts.groups[images])) for name, images in purposes.items()}


def overlap_sentences(file: Path, facts: Facts, split: Split, config: DatasetConfig) -> list[str]:
    """Return one sentence for each reason why images are left out; none if there is none.

    Args:
        file: that `prepare` returned.
        facts: in that file.
        split: of a run.
        config: of the data set.
    """
    trained, held = _trained_and_held(facts, split)
    left_out = ~trained & ~held
    return [
        *_conflicts(file, facts),
        *_copies(file, facts, held, trained, left_out),
        *_groups(facts, held, left_out),
        *_sizes(split, config),
    ]


def look_alike_caution(file: Path, facts: Facts, split: Split, config: DatasetConfig) -> str | None:
    """Return that training images look almost like images that are scored, and what to do; None if none does.

    Args: as of `overlap_sentences`.
    """
    trained, held = _trained_and_held(facts, split)
    both = np.concatenate([facts.near, facts.near[:, ::-1]])
    with_trained, with_held = (np.isin(facts.copies, facts.copies[images]) for images in (trained, held))
    both = both[with_trained[both[:, 0]] & with_held[both[:, 1]]]
    count = int((trained & np.isin(facts.copies, both[:, 0])).sum())
    if not count:
        return None
    pairs = both[np.lexsort((both[:, 1], both[:, 0]))]
    first, second = (
        [int(np.flatnonzero(images & (facts.copies == number))[0]) for number in numbers]
        for images, numbers in zip((trained, held), pairs.T, strict=True)
    )
    names = list(zip(image_names(file, first), image_names(file, second), strict=True))
    a, b = names[0]
    return (
        f"{_counted(count)} {'look' if count > 1 else 'looks'} almost like test, validation or verdict images, e.g. "
        f"{a} and {b}: errors may come out too low"
        + ("; remove them, or keep them together with dataset.groups" if hasattr(config, "groups") else "")
        + (f"; all of them: {_listed(file, names)}" if len(names) > 1 else "")
    )


def _trained_and_held(facts: Facts, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return which images are trained on, and which are scored: those of validation, verdict and test."""
    every = np.arange(len(facts.groups))
    trained = np.isin(every, np.concatenate([split.labeled, split.unlabeled]))
    held = np.isin(every, np.concatenate([split.validation, split.verdict])) | (every >= len(facts.train_labels))
    return trained, held


def _conflicts(file: Path, facts: Facts) -> list[str]:
    count = int((facts.groups == LEFT_OUT).sum())
    if not count:
        return []
    first = facts.conflicts[facts.copies[facts.conflicts] == facts.copies[facts.conflicts[0]]]
    return [
        f"{_counted(count)} with the same pixels as an image of another class {_are(count)} left out: "
        f"{', '.join(image_names(file, first[:2].tolist()))}" + (", ..." if count > 2 else "")
    ]


def _copies(file: Path, facts: Facts, held: np.ndarray, trained: np.ndarray, left_out: np.ndarray) -> list[str]:
    of_held = left_out & (facts.groups != LEFT_OUT) & np.isin(facts.copies, facts.copies[held])
    sentences = []
    if count := int(of_held.sum()):
        names = ", ".join(image_names(file, np.flatnonzero(of_held)[:3].tolist()))
        sentences.append(
            f"{_counted(count)} {_are(count, 'copies', 'a copy')} of test, validation or verdict images and "
            f"{_are(count)} not trained on: {names}" + (", ..." if count > 3 else "")
        )
    images = np.flatnonzero(trained | held)
    images = images[images < len(facts.train_labels)]
    if count := len(images) - len(np.unique(facts.copies[images])):
        sentences.append(
            f"{_counted(count)} {_are(count, 'copies', 'a copy')} of another training image: copies serve one purpose "
            "together"
        )
    return sentences


def _groups(facts: Facts, held: np.ndarray, left_out: np.ndarray) -> list[str]:
    if not facts.groups_of_paths:
        return []
    same_group = np.isin(facts.groups, facts.groups[held]) & ~np.isin(facts.copies, facts.copies[held])
    count = int((left_out & (facts.groups != LEFT_OUT) & same_group).sum())
    found = f"{facts.groups_of_paths:,} group{'s' * (facts.groups_of_paths > 1)} by dataset.groups"
    if count:
        found += f"; {_counted(count)} of a group with test, validation or verdict images {_are(count)} not trained on"
    return [found]


def _sizes(split: Split, config: DatasetConfig) -> list[str]:
    if config.with_validation:
        return []
    return [
        f"dataset.{name}: {len(images):,} images, of {size:,} asked for, since groups and copies are not divided"
        for name, images, size in (
            ("validation", split.validation, config.validation),
            ("verdict", split.verdict, config.verdict),
        )
        if len(images) < size
    ]


def _listed(file: Path, pairs: list[tuple[str, str]]) -> Path:
    """Write pairs of images as a table beside the prepared ones; return its file."""
    table = io.StringIO()
    csv.writer(table).writerows([("training image", "looks like"), *pairs])
    listed = file.with_suffix(".look-alikes.csv")
    write_atomically(listed, table.getvalue())
    return listed


def _counted(count: int) -> str:
    return f"{count:,} training image{'s' * (count > 1)}"


def _are(count: int, several: str = "", one: str = "") -> str:
    return f"are {several}".strip() if count > 1 else f"is {one}".strip()
