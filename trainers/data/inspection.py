"""Look at a folder of images: what is there, how large it is, and what is odd. No image is decoded in full."""

import os
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import numpy as np
from PIL import Image
from pydantic import ValidationError

from trainers.config.dataset import ImageFolder
from trainers.data.folder_names import purpose_of, where_train_is
from trainers.data.folders import Folder
from trainers.data.listing import LeftOutCount, list_images
from trainers.errors import DataError

MOST_HEADERS = 2000  # files whose size in pixels is read
_MOST_COLOURS = 48  # files whose pixels are compared, to see whether a colour file is grey
_THUMBNAIL = 32  # pixels per side

Progress = Callable[[str, int, int], None]
"""Called with (what is done, files done, files in all)."""


@dataclass(frozen=True)
class FolderFacts:
    """What is in a folder of images. Sizes and colours are those of the files that were looked at.

    Attributes:
        root: of the folder.
        label_file: as `dataset.label_file`; None: class folders.
        classes: training images of each class.
        unlabeled: training images without a class.
        test: test images.
        looked_at: files whose header was read.
        sizes: files by width and height in pixels.
        kinds: files by kind: colour, grey, 16 bit grey, palette.
        transparent: files with transparent parts.
        is_colour: False if the images have no colours, whatever kind their files are.
        unreadable: files whose header cannot be read.
        left_out: files that nothing uses, by reason.
        groups: as `dataset.groups`; None: each image is on its own.
        group_count: groups of the training images; 0 if `groups` is None.
    """

    root: str
    label_file: str | None
    classes: dict[str, int]
    unlabeled: int
    test: int
    looked_at: int
    sizes: dict[tuple[int, int], int]
    kinds: dict[str, int]
    transparent: int
    is_colour: bool
    unreadable: list[str]
    left_out: list[LeftOutCount]
    groups: str | None = None
    group_count: int = 0

    @property
    def labeled(self) -> int:
        """Training images that have a class."""
        return sum(self.classes.values())

    @property
    def side(self) -> int:
        """Pixels of the shorter side: the median."""
        sides = [min(size) for size, count in self.sizes.items() for _ in range(count)]
        return round(statistics.median(sides)) if sides else 0

    @property
    def is_one_square(self) -> bool:
        """Whether all images are square, and as large as each other."""
        return len(self.sizes) == 1 and all(width == height for width, height in self.sizes)

    @property
    def imbalance(self) -> float:
        """How many images the largest class has for each of the smallest."""
        return max(self.classes.values()) / min(self.classes.values())


def inspect_folder(
    root: str, label_file: str | None = None, groups: str | None = None, progress: Progress | None = None
) -> FolderFacts:
    """Look at a folder of images.

    Args:
        root: of the folder: `train/<class>/*`, and where there are any, `unlabeled/*` and `test/<class>/*`.
        label_file: a table of labels; None: class folders.
        groups: as `dataset.groups`.
        progress: called while files are looked at.

    Raises:
        DataError: the folder is missing or has another layout; if one can make it fit, with the commands.
            Or `groups` is no expression, or finds no group.
    """
    show = progress or (lambda *_: None)
    if (problem := why_not_laid_out(Path(root).expanduser(), label_file is not None)) is not None:
        raise DataError(problem)
    # The numbers do not matter: nothing is drawn here.
    settings = {"root": root, "label_file": label_file, "groups": groups, "labels": "all", "validation": 1}
    try:
        config = ImageFolder.model_validate({"name": "image_folder", **settings})
    except ValidationError as error:  # all else is text
        raise DataError(f"dataset.groups: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    folder = Folder(config)
    files = folder.files()
    headers = _read_headers(files[:: max(1, -(-len(files) // MOST_HEADERS))], show)
    if not headers.sizes:
        raise DataError(f"none of the images in {root} can be read: {headers.unreadable[0]}, ...; repair them")
    counts = Counter(label for _, label in folder.train)
    numbers = folder.group_numbers([file for file, _ in folder.train] + folder.unlabeled)
    return FolderFacts(
        root=root,
        label_file=label_file,
        classes={name: counts[number] for number, name in enumerate(folder.classes)},
        unlabeled=len(folder.unlabeled),
        test=len(folder.test),
        looked_at=headers.sizes.total(),
        sizes=dict(headers.sizes.most_common()),
        kinds=dict(headers.kinds.most_common()),
        transparent=headers.transparent,
        is_colour=_has_colours(headers.colour),
        unreadable=headers.unreadable,
        left_out=[one.brief() for one in folder.left_out],
        groups=groups,
        group_count=0 if numbers is None else len(np.unique(numbers)),
    )


def why_not_laid_out(root: Path, has_label_file: bool) -> str | None:
    """Return why a folder has not the layout that is needed, with the commands that give it that, or None."""
    if not root.is_dir():
        return f"there is no folder {root}; name the one that holds train/<class>/*"
    listing = "or list paths and classes in a table, and name it with --labels"
    if (root / "train").is_dir():
        count = sum(entry.is_dir() for entry in os.scandir(root / "train"))
        if has_label_file or count > 1:
            return None
        return (
            f"{root / 'train'} has {count} class folder{'s' * (count != 1)}, and at least two classes are needed; "
            f"expected train/<class>/*, one folder for each class; {listing}"
        )
    if root.absolute().name == "train":
        return f"{root} is the folder train/ itself; name the one that holds it: {root.absolute().parent}"
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    if not has_label_file and (advice := where_train_is(root.absolute(), folders)) is not None:
        return f"{root} has no folder train/; expected train/<class>/*. {advice}"
    purposes = [name for name in folders if purpose_of(name)]
    classes = [name for name in folders if name not in purposes and list_images(root / name)[0]]
    if len(classes) < 2 and not has_label_file:
        return (
            f"{root} has no folder train/; expected train/<class>/*, one folder for each class, and where there are "
            f"any, unlabeled/* and test/<class>/*; {listing}"
        )
    fitting, images = root.absolute().with_name(f"{root.absolute().name}-sweep"), root.absolute()
    holds = "the images themselves" if has_label_file else f"{len(classes)} folders of images ({_listed(classes)})"
    train = quote(str(fitting / "train"))
    commands = [f"mkdir {quote(str(fitting))}", f"ln -s {quote(str(images))} {train}"]
    if purposes and not has_label_file:  # they are no classes
        commands = [f"mkdir -p {train}", f"ln -s {quote(str(images))}/* {train}"]
        commands += [
            f"mv {quote(str(fitting / 'train' / name))} {quote(str(fitting / str(purpose_of(name))))}"
            for name in purposes
        ]
    number = "two" if len(commands) == 2 else str(len(commands))
    return (
        f"{root} has no folder train/; it holds {holds}. These {number} commands make a folder that fits, and leave "
        "yours as it is:\n" + "".join(f"  {command}\n" for command in commands) + f"then name {quote(str(fitting))} in "
        f"the place of {root}"
    )


@dataclass
class _Headers:
    """What the headers of files say; `colour` are readable files of a kind that can have colours."""

    sizes: Counter[tuple[int, int]]
    kinds: Counter[str]
    transparent: int
    colour: list[str]
    unreadable: list[str]


def _read_headers(files: list[str], show: Progress) -> _Headers:
    found = _Headers(Counter(), Counter(), 0, [], [])
    for done, file in enumerate(files, 1):
        try:
            with Image.open(file) as image:
                found.sizes[image.size] += 1
                kind = _kind(image.mode)
                found.transparent += image.has_transparency_data
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            found.unreadable.append(file)
        else:
            found.kinds[kind] += 1
            if kind in ("colour", "palette"):
                found.colour.append(file)
        show("reading sizes", done, len(files))
    return found


def _kind(mode: str) -> str:
    if mode.startswith("I") or mode == "F":
        return "16 bit grey"
    return {"1": "grey", "L": "grey", "LA": "grey", "P": "palette", "PA": "palette"}.get(mode, "colour")


def _has_colours(files: list[str]) -> bool:
    """Return whether most of some files of a kind that can have colours have some."""
    checked = files[:: max(1, -(-len(files) // _MOST_COLOURS))]
    coloured = 0
    for file in checked:
        try:
            with Image.open(file) as image:
                image.draft("RGB", (_THUMBNAIL, _THUMBNAIL))
                pixels = np.asarray(image.convert("RGB").resize((_THUMBNAIL, _THUMBNAIL))).astype(int)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            continue
        coloured += bool((pixels.max(2) - pixels.min(2)).mean() > 4)  # grey levels; JPEGs of grey images have less
    return coloured > len(checked) / 2


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
