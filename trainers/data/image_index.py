"""Finds images by the paths that people and tools write for them."""

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path


class ImageIndex:
    """Finds images by what a table calls them.

    Args:
        images: paths of all images that a table may name.
        folders: that paths in the table may be relative to.
    """

    def __init__(self, images: Iterable[str], folders: Sequence[Path]) -> None:
        self.folders = [os.path.abspath(folder) for folder in folders]
        self._by_path: dict[str, str] = {}
        self._by_stem: dict[str, list[str]] = {}
        for image in images:
            path = _normal(os.path.abspath(image))
            self._by_path[path] = image
            self._by_stem.setdefault(os.path.splitext(path)[0], []).append(image)

    def find(self, name: str) -> list[str]:
        """Return the images that a name can mean: one, none, or several.

        Args:
            name: a path, absolute or relative to one of the folders, perhaps with Windows' separators or without its
                suffix.
        """
        for text in dict.fromkeys((name, name.strip(), name.strip().replace("\\", "/"))):
            if not text or "\0" in text:
                continue
            paths = [_normal(_joined(folder, text)) for folder in self.folders]
            found = dict.fromkeys(self._by_path[path] for path in paths if path in self._by_path)
            if not found:
                found = dict.fromkeys(image for path in paths for image in self._by_stem.get(path, ()))
            if found:
                return list(found)
        return []

    def of_the_same_name(self, name: str) -> list[str]:
        """Return the images whose file is called as the last part of a name, but for case and suffix."""
        wanted = _stem(name.strip().replace("\\", "/"))
        return [image for path, image in self._by_path.items() if _stem(path) == wanted]


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(_normal(path)))[0].casefold()


def _joined(folder: str, text: str) -> str:
    path = os.path.join(folder, text)
    return os.path.normpath(path) if "./" in text or "//" in text or text.endswith((".", "/")) else path


def _normal(path: str) -> str:
    return path if path.isascii() else unicodedata.normalize("NFC", path)
