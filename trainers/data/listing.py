"""Lists the files below a folder: the images, and what is left out with the reason. Every file is one or the other."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from trainers.data.image_formats import IMAGE_SUFFIXES, is_hidden, why_no_image
from trainers.errors import escaped

HIDDEN = "hidden, or files of the system"
CIRCLE = "link to a folder that is read already"
DEAD_LINK = "link that leads nowhere"
SPECIAL = "a FIFO, socket or device"
_UNLISTED = "folder that cannot be listed"

_MOST_SUFFIXES = 12  # further ones are counted together, so that a folder of anything does not fill the screen
_OTHER_SUFFIXES = "other suffixes, of no image"
_EXAMPLES = 3

Listed = Callable[[int], None]
"""Called about once per second with the number of files that are listed so far."""


@dataclass(frozen=True)
class LeftOut:
    """Files that are not used, for one reason.

    Attributes:
        reason: in words, with what to do where that is known.
        files: paths, relative to the folder that was listed, sorted. A folder that cannot be listed, and a link to a
            folder that is not followed, is one entry.
    """

    reason: str
    files: list[str]

    def brief(self) -> "LeftOutCount":
        """Return the reason with the number of files and the first few of them."""
        return LeftOutCount(self.reason, len(self.files), self.files[:_EXAMPLES])


@dataclass(frozen=True)
class LeftOutCount:
    """How many files are not used, for one reason.

    Attributes:
        reason: as in `LeftOut`.
        count: of the files.
        examples: the first few paths.
    """

    reason: str
    count: int
    examples: list[str]

    def text(self) -> str:
        """Return a line for people: `left out: 12 files: unknown suffix .xyz: train/cat/a.xyz, ...`."""
        names = ", ".join(map(escaped, self.examples)) + (", ..." if self.count > len(self.examples) else "")
        return f"left out: {self.count:,} {'file' if self.count == 1 else 'files'}: {escaped(self.reason)}: {names}"


@dataclass
class Level:
    """What lies directly in a folder, apart from what is left out.

    Attributes:
        images: paths of files.
        folders: names, sorted; those of links to folders too.
        links: which of `folders` are links.
    """

    images: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    links: set[str] = field(default_factory=set)


class Lister:
    """Lists folders, and notes what is left out.

    Args:
        root: below which everything lies; paths of what is left out are relative to it.
        used: paths of files that are neither images nor left out, as a table of labels.
        listed: called while files are listed.
    """

    def __init__(self, root: str, used: Iterable[str] = (), listed: Listed | None = None) -> None:
        self._root = root
        self._used = {os.path.realpath(path) for path in used}
        self._names_used = {os.path.basename(path) for path in self._used}
        self._listed = listed
        self._count, self._last = 0, time.monotonic()
        self._left_out: dict[str, list[str]] = {}
        self.unlisted: dict[str, str] = {}
        """Folders that cannot be listed, and why."""

    def level(self, folder: str) -> Level:
        """List what lies directly in a folder. What is hidden, or no image, is left out."""
        level = Level()
        for entry in self._scan(folder):
            try:
                if is_hidden(entry.name):
                    self._leave_out_entry(entry, HIDDEN)
                elif entry.is_dir():
                    level.folders.append(entry.name)
                    if entry.is_symlink():
                        level.links.add(entry.name)
                elif entry.is_file():
                    self._add_file(entry, level)
                elif entry.is_symlink() and not os.path.exists(entry.path):
                    self._add_dead_link(entry, level)
                else:
                    self.leave_out(SPECIAL, [entry.path])
            except OSError as error:
                if entry.is_symlink() and not os.path.exists(entry.path):  # a link to itself
                    self._add_dead_link(entry, level)
                else:
                    self.leave_out(f"cannot be opened ({_text(error)})", [entry.path])
        level.folders.sort()
        return level

    def images_below(self, folder: str) -> list[str]:
        """Return the images in and below a folder, sorted. Links to folders are followed, each folder is read once."""
        images: list[str] = []
        seen = self._above(folder)
        folders, links = [folder], list[str]()
        while folders or links:
            path = folders.pop() if folders else links.pop()  # links last, so that a folder has its own name
            try:
                here = _identity(path)
            except OSError as error:
                self._cannot_list(path, error)
                continue
            if here in seen:
                self.leave_out(CIRCLE, [path])
                continue
            seen.add(here)
            level = self.level(path)
            images += level.images
            for name in level.folders:
                (links if name in level.links else folders).append(os.path.join(path, name))
            links.sort(reverse=True)
        return sorted(images)

    def is_circle(self, path: str) -> bool:
        """Return True if a link leads to a folder that holds the link."""
        try:
            return _identity(path) in self._above(path)
        except OSError:
            return False

    def leave_out(self, reason: str, paths: Iterable[str]) -> None:
        """Note that files are not used."""
        self._left_out.setdefault(reason, []).extend(paths)

    def leave_out_all(self, folder: str, reason: str) -> None:
        """Note that no file below a folder is used. Links to folders are not followed, and no file is opened."""
        folders = [folder]
        while folders:
            for entry in self._scan(folders.pop()):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    self._leave_out_entry(entry, reason)

    @property
    def left_out(self) -> list[LeftOut]:
        """What is left out, the most frequent reason first."""
        groups: dict[str, list[str]] = {}
        suffixes = 0
        for reason, paths in sorted(self._left_out.items(), key=lambda item: (-len(item[1]), item[0])):
            is_suffix = reason.startswith(("unknown suffix ", "suffix "))
            suffixes += is_suffix
            key = _OTHER_SUFFIXES if is_suffix and suffixes > _MOST_SUFFIXES else reason
            groups.setdefault(key, []).extend(paths)
        return [
            LeftOut(reason, sorted(os.path.relpath(path, self._root) for path in paths))
            for reason, paths in groups.items()
            if paths
        ]

    def why_unlisted(self, folder: str) -> tuple[str, str] | None:
        """Return a folder that cannot be listed, this one or one below it, and why; or None."""
        below = (path for path in self.unlisted if path == folder or path.startswith(folder + os.sep))
        path = min(below, default=None)
        return None if path is None else (path, self.unlisted[path])

    def _scan(self, folder: str) -> list["os.DirEntry[str]"]:
        entries: list[os.DirEntry[str]] = []
        try:
            with os.scandir(folder) as scan:
                for entry in scan:
                    entries.append(entry)
                    self._count += 1
                    if self._listed is not None and self._count % 1000 == 0 and time.monotonic() - self._last > 1:
                        self._last = time.monotonic()
                        self._listed(self._count)
        except OSError as error:
            self._cannot_list(folder, error)
        return entries

    def _cannot_list(self, folder: str, error: OSError) -> None:
        self.unlisted[folder] = _text(error)
        self.leave_out(f"{_UNLISTED} ({_text(error)})", [folder])

    def _add_file(self, entry: "os.DirEntry[str]", level: Level) -> None:
        if self._used and self._is_used(entry):
            return
        reason = why_no_image(entry.path, os.path.splitext(entry.name)[1].lower())
        if reason is None:
            level.images.append(entry.path)
        else:
            self.leave_out(reason, [entry.path])

    def _add_dead_link(self, entry: "os.DirEntry[str]", level: Level) -> None:
        """Add a link to an image that is gone as an image, which then cannot be read: an image is missing."""
        if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
            level.images.append(entry.path)
        else:
            self.leave_out(DEAD_LINK, [entry.path])

    def _leave_out_entry(self, entry: "os.DirEntry[str]", reason: str) -> None:
        if entry.is_dir(follow_symlinks=False):
            self.leave_out_all(entry.path, reason)
        elif not (self._used and self._is_used(entry)):
            self.leave_out(reason, [entry.path])

    def _is_used(self, entry: "os.DirEntry[str]") -> bool:
        return entry.name in self._names_used and os.path.realpath(entry.path) in self._used

    def _above(self, folder: str) -> set[tuple[int, int]]:
        """Return the identities of all folders that hold a folder, by its path and by where links lead."""
        parent = os.path.dirname(os.path.abspath(folder))
        paths = {Path(parent), *Path(parent).parents}
        real = Path(os.path.realpath(folder))
        paths |= set(real.parents)
        found = set()
        for path in paths:
            try:
                found.add(_identity(str(path)))
            except OSError:  # above the images there may be folders that are not ours
                continue
        return found


def list_images(folder: Path) -> tuple[list[str], list[LeftOut]]:
    """List any folder.

    Args:
        folder: of images, in it and in the folders below it.

    Returns:
        The images, sorted, as paths that begin with the folder; and what else is there.
    """
    lister = Lister(str(folder))
    return lister.images_below(str(folder)), lister.left_out


def left_out_text(left_out: Iterable[LeftOut]) -> str:
    """Return the reasons in one sentence part: `3 files: unknown suffix .xyz; 1 file: hidden`."""
    counts = Counter({one.reason: len(one.files) for one in left_out})
    return "; ".join(f"{n:,} {'file' if n == 1 else 'files'}: {reason}" for reason, n in counts.most_common())


def _identity(path: str) -> tuple[int, int]:
    facts = os.stat(path)
    return facts.st_dev, facts.st_ino


def _text(error: OSError) -> str:
    return error.strerror or str(error)
