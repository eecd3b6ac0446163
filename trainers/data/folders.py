"""The files in a folder of images, and the class of each."""

import hashlib
import os
import time
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from trainers.config.dataset import ImageFolder, Imagenet
from trainers.config.known_datasets import KNOWN_DATASETS
from trainers.data.class_names import class_name
from trainers.data.folder_names import VALIDATION_NAMES, meant_folder, purpose_of, where_train_is
from trainers.data.groups import groups_of_paths, groups_of_table
from trainers.data.image_index import ImageIndex
from trainers.data.label_table import LabelTable, read_label_table, unknown_classes
from trainers.data.listing import CIRCLE, LeftOut, Listed, Lister, left_out_text
from trainers.errors import DataError, escaped

_LAYOUT = "expected train/<class>/*, and where there are any, unlabeled/* and test/<class>/*"
_IMAGENET = (
    "expected train/<wnid>/*.JPEG of ILSVRC 2012's 1,000 classes (138 GB) and val/<wnid>/*.JPEG (6 GB); it is "
    "not downloaded automatically: register at image-net.org; torchvision.datasets.ImageNet(root, split) unpacks both "
    "archives to this layout"
)


class Folder:
    """The image files of a folder, in an order that depends on their names alone.

    Args:
        config: of the data set.
        listed: called about once per second while the files are listed.

    Attributes:
        root: of the folder, absolute.
        classes: names, as `class_name` makes them, so that a name is the same on every system.
        train: (file, class index) of the training images that have a class.
        unlabeled: files of the training images that have none.
        test: (file, class index) of the test images.
        groups: what a table says of which images belong together, by file; None if `dataset.groups` names no column.
        left_out: all other files below the root, by reason.

    Raises:
        DataError: the folder does not exist or has another layout; or a table of labels is wrong.
    """

    def __init__(self, config: ImageFolder | Imagenet, listed: Listed | None = None) -> None:
        self._config = config
        self.root = Path(os.path.abspath(Path(config.root).expanduser()))
        self._layout, self._test = (_IMAGENET, "val") if isinstance(config, Imagenet) else (_LAYOUT, "test")
        tables = [file for file in (config.label_file, config.test_label_file) if file is not None]
        self._lister = Lister(str(self.root), (str(Path(file).expanduser()) for file in tables), listed)
        self.groups: dict[str, str] | None = None if config.group_column is None else {}
        self._folders = self._top()
        self._unlabeled_folder = self._images_in("unlabeled")
        self.classes: list[str] = []
        if config.label_file is None:
            self.train = self._train_from_folders()
            self.unlabeled = self._unlabeled_folder
        else:
            self.train, self.unlabeled = self._train_from_table(config.label_file)
        known = KNOWN_DATASETS.get(config.name)
        if known is not None and len(self.classes) != known.classes:
            train = self._path("train")
            raise DataError(
                f"dataset.root: {train} has {len(self.classes)} classes; {self._layout}; or use image_folder"
            )
        if config.test_label_file is None:
            self.test = self._test_from_folders()
        else:
            self.test = self._test_from_table(config.test_label_file)
        self.left_out: list[LeftOut] = self._lister.left_out

    def files(self) -> list[str]:
        """Return all files: those with a class, the unlabeled ones, those of the test set."""
        return [file for file, _ in self.train] + self.unlabeled + [file for file, _ in self.test]

    def paths(self, files: list[str]) -> list[str]:
        """Return the paths of files relative to the root, with `/` between folders."""
        return [os.path.relpath(file, self.root).replace(os.sep, "/") for file in files]

    def group_numbers(self, files: list[str]) -> np.ndarray | None:
        """Return the number of the group of each file: int64 [n]. None if `dataset.groups` is not set.

        Raises:
            DataError: the expression finds no group in the path of a file.
        """
        if self._config.groups is None:
            return None
        if self.groups is not None:
            return groups_of_table(self.groups, files)
        return groups_of_paths(self._config.groups, self.paths(files))

    def digest(self, listed: Listed | None = None) -> str:
        """Return a hash that changes if a file is added, removed, modified, replaced or given another class.

        No image is opened. The time of the last change (ctime) is part of it, since nobody can set it: a file that
        replaces another may have the same name, size and time of modification.

        Args:
            listed: called about once per second.

        Raises:
            DataError: a file cannot be accessed.
        """
        listing = hashlib.sha256(repr(self.classes).encode(errors="surrogateescape"))
        for part in (self.train, self.test):
            listing.update("".join(f"{label}\n" for _, label in part).encode())
        listing.update(repr(sorted((self.groups or {}).items())).encode(errors="surrogateescape"))
        last = time.monotonic()
        for count, file in enumerate(self.files()):
            if listed is not None and count % 1000 == 0 and time.monotonic() - last > 1:
                last = time.monotonic()
                listed(count)
            name = os.path.relpath(file, self.root)
            try:
                facts = os.stat(file)
            except OSError as error:
                if self._config.unreadable == "skip":
                    listing.update(f"{name}\tcannot be read\n".encode(errors="surrogateescape"))
                    continue
                raise DataError(
                    f"{escaped(file)} cannot be read: {error.strerror or error}; repair or remove it, or set "
                    "dataset.unreadable: skip"
                ) from None
            times = f"{facts.st_mtime_ns}\t{facts.st_ctime_ns}"
            listing.update(f"{name}\t{facts.st_size}\t{times}\n".encode(errors="surrogateescape"))
        return listing.hexdigest()

    def _path(self, *names: str) -> str:
        return os.path.join(self.root, *names)

    def _top(self) -> list[str]:
        """Return the folders of the root that are read; what else lies in the root is left out."""
        root = str(self.root)
        try:
            os.stat(root)
        except OSError as error:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise DataError(
                    f"dataset.root: {escaped(root)} cannot be opened: {error.strerror or error}; make it readable"
                ) from None
        if not os.path.isdir(root):
            raise DataError(f"dataset.root: there is no folder {escaped(root)}{self._relative_to()}; {self._layout}")
        level = self._lister.level(root)
        self._refuse_unlisted("the folder", root)
        parts = {"train", "unlabeled", self._test}
        whole = self._config.label_file is not None and "train" not in level.folders  # one folder and a table
        if not whole and "train" not in level.folders:
            found = ", ".join(f"{name}/" for name in level.folders[:5]) + (", ..." if len(level.folders) > 5 else "")
            near = next((name for name in level.folders if meant_folder(name, parts) == "train"), None)
            renamed = "" if near is None else f"Rename {near}/ to train/."
            advice = where_train_is(self.root, level.folders) or renamed
            raise DataError(
                f"dataset.root: there is no folder {escaped(self._path('train'))}{self._relative_to()}; {self._layout}."
                f" It holds {escaped(found) or 'no folders'}{f' and {len(level.images)} images' * bool(level.images)}."
                + escaped(f" {advice}" if advice else "")
            )
        self._loose = level.images
        if not whole:
            self._lister.leave_out("lies directly in the root; move it to train/<class>/ or unlabeled/", level.images)
            self._loose = []
        for name in level.folders:
            if name not in parts and not whole:
                self._leave_out_folder(name, name in level.links, parts)
        circles = [name for name in level.links - {"train"} if self._lister.is_circle(self._path(name))]
        self._lister.leave_out(CIRCLE, [self._path(name) for name in circles if whole or name in parts])
        return [name for name in level.folders if (whole or name in parts) and name not in circles]

    def _leave_out_folder(self, name: str, is_link: bool, parts: set[str]) -> None:
        meant = meant_folder(name, parts)
        if name.lower() in VALIDATION_NAMES and name not in parts:
            reason = (
                f"in {name}/: validation images are drawn from train/, as many as dataset.validation says; move them "
                f"to train/<class>/ or {self._test}/<class>/"
            )
        elif meant is not None:
            reason = f"in {name}/: it is not read; if you mean {meant}/, rename it"
        else:
            reason = f"in a folder that is not read: only train/, unlabeled/ and {self._test}/ are"
        if is_link:
            self._lister.leave_out(reason, [self._path(name)])
        else:
            self._lister.leave_out_all(self._path(name), reason)

    def _images_in(self, part: str) -> list[str]:
        return self._lister.images_below(self._path(part)) if part in self._folders else []

    def _class_folders(self, part: str, advice: str) -> dict[str, list[str]]:
        """Return the folders of each class, by its name; images that lie beside them are left out."""
        level = self._lister.level(self._path(part))
        self._lister.leave_out(f"lies directly in {part}/, in no class folder; {advice}", level.images)
        folders: dict[str, list[str]] = {}
        for name in level.folders:
            path = self._path(part, name)
            if name in level.links and self._lister.is_circle(path):
                self._lister.leave_out(CIRCLE, [path])
            else:
                folders.setdefault(class_name(name) or name, []).append(path)
        return folders

    def _images_of(self, folders: dict[str, list[str]]) -> list[tuple[str, int]]:
        below = self._lister.images_below
        return [
            (file, label)
            for label, name in enumerate(self.classes)
            for file in sorted(file for path in folders.get(name, ()) for file in below(path))
        ]

    def _train_from_folders(self) -> list[tuple[str, int]]:
        folders = self._class_folders("train", "move it to train/<class>/ or to unlabeled/")
        train = self._path("train")
        self._refuse_unlisted("the folder", train)
        self.classes = sorted(folders)
        if "train" in self.classes and all(purpose_of(name) for name in self.classes):
            names = ", ".join(f"{name}/" for name in self.classes)
            raise DataError(
                f"dataset.root: {escaped(train)} holds {escaped(names)}, which are no classes; if the images are in "
                f"train/<class>/ of this folder, set dataset.root to {escaped(train)}"
            )
        if len(self.classes) < 2:
            raise DataError(
                f"dataset.root: {escaped(train)} has {len(self.classes)} class folders"
                f"{': ' + escaped(self.classes[0]) if self.classes else ''}; {self._layout}{self._left_out_in(train)}"
            )
        images = self._images_of(folders)
        filled = {label for _, label in images}
        for label, name in enumerate(self.classes):
            for path in folders[name]:
                if label not in filled:
                    self._refuse_unlisted(f"class {name}: the folder", path)
            if label not in filled:
                raise DataError(
                    f"dataset.root: class {escaped(name)}: no images in {escaped(folders[name][0])}; add some or "
                    f"remove it{self._left_out_in(*folders[name])}"
                )
        for name, paths in folders.items():
            for path in paths:
                if path in self._lister.unlisted:
                    self._refuse_unlisted(f"class {name}: the folder", path)
        return images

    def _train_from_table(self, file: str) -> tuple[list[tuple[str, int]], list[str]]:
        if "train" in self._folders:
            images = self._images_in("train")
        else:
            apart = {"unlabeled", self._test}
            inside = [name for name in self._folders if name not in apart]
            images = sorted(
                self._loose + [image for name in inside for image in self._lister.images_below(self._path(name))]
            )
        table = self._read_table("label_file", file, images + self._unlabeled_folder, "train/ or unlabeled/")
        self.classes = sorted(set(table.labels.values()))
        if len(self.classes) < 2:
            raise DataError(
                f"dataset.label_file: {escaped(file)} names {len(self.classes)} classes; at least two are needed"
            )
        number_of = {name: number for number, name in enumerate(self.classes)}
        unlabeled = [image for image in self._unlabeled_folder + images if image not in table.labels]
        return [(image, number_of[name]) for image, name in sorted(table.labels.items())], unlabeled

    def _test_from_folders(self) -> list[tuple[str, int]]:
        if self._test not in self._folders:
            return []
        advice = f"move it to {self._test}/<class>/, or give its class in dataset.test_label_file"
        folders = self._class_folders(self._test, advice)
        unknown = sorted(set(folders) - set(self.classes))
        if unknown:
            close = get_close_matches(unknown[0], self.classes, n=1)
            raise DataError(
                f"dataset.root: {escaped(folders[unknown[0]][0])} is a class that train/ has not; "
                + (f"did you mean {escaped(close[0])!r}? " if close else "")
                + "give it the name of a class of train/, or remove it; or give the classes of the test images in "
                "dataset.test_label_file"
            )
        return self._images_of(folders)

    def _test_from_table(self, file: str) -> list[tuple[str, int]]:
        own = self._images_in(self._test)
        labeled = {image for image, _ in self.train}
        others = [image for image, _ in self.train] + self.unlabeled
        table = self._read_table("test_label_file", file, own + others, f"{self._test}/ or train/")
        place = f"dataset.test_label_file: {escaped(os.path.abspath(Path(file).expanduser()))}"
        for line, name, advice in unknown_classes(table, self.classes):
            raise DataError(
                f"{place}, line {line}: class {escaped(name)!r} is none of the training images; {escaped(advice)}"
                f"known: {escaped(', '.join(self.classes[:20]))}"
            )
        for image in table.unlabeled:
            raise DataError(
                f"{place}, line {table.lines[image]}: {escaped(image)} has no class; add it or remove the line"
            )
        for image, line in table.lines.items():
            if image in labeled:
                raise DataError(
                    f"{place}, line {line}: {escaped(image)} is a training image with a class, too; remove "
                    "it from one of the two: an image is trained on or tested, never both"
                )
        self.unlabeled = [image for image in self.unlabeled if image not in table.labels]
        self._lister.leave_out(
            f"in {self._test}/, but not in dataset.test_label_file",
            [image for image in own if image not in table.labels],
        )
        number_of = {name: number for number, name in enumerate(self.classes)}
        order = sorted(table.labels.items(), key=lambda item: (number_of[item[1]], item[0]))
        return [(image, number_of[name]) for image, name in order]

    def _read_table(self, key: str, file: str, images: list[str], where: str) -> LabelTable:
        path = Path(file).expanduser()
        part = "train" if key == "label_file" else self._test
        bases = dict.fromkeys(self._path(name) for name in (part, "train", "unlabeled", self._test))
        folders = [Path(base) for base in bases if os.path.isdir(base) and base != self._path(self._test)]
        if key == "test_label_file" and os.path.isdir(self._path(self._test)):
            folders.insert(0, Path(self._path(self._test)))
        folders += [self.root, Path(os.path.abspath(path)).parent, Path.cwd()]
        index = ImageIndex(images, list(dict.fromkeys(folders)))
        table = read_label_table(f"dataset.{key}", path, index, where, self._config.group_column)
        if self.groups is not None:
            self.groups |= table.groups
        return table

    def _refuse_unlisted(self, what: str, path: str) -> None:
        """Refuse a folder that cannot be listed, or that holds one: nobody knows what is in it."""
        unlisted = self._lister.why_unlisted(path)
        if unlisted is not None:
            raise DataError(
                f"dataset.root: {escaped(what)} {escaped(unlisted[0])} cannot be listed: {unlisted[1]}; make "
                "it readable"
            )

    def _left_out_in(self, *folders: str) -> str:
        """Return what was left out below folders, to end a message with."""
        inside = []
        for one in self._lister.left_out:
            paths = [os.path.join(self.root, file) for file in one.files]
            files = [path for path in paths if any(path.startswith(folder + os.sep) for folder in folders)]
            if files:
                inside.append(LeftOut(one.reason, files))
        return f"; left out there: {escaped(left_out_text(inside))}" if inside else ""

    def _relative_to(self) -> str:
        root = Path(self._config.root).expanduser()
        return "" if root.is_absolute() else f" ({escaped(root)} is relative to {escaped(Path.cwd())})"
