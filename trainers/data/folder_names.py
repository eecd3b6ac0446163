"""Names that people give to the folders of training, unlabeled, validation and test images."""

from difflib import get_close_matches
from pathlib import Path

_SPELLINGS = {
    "train": ("training", "train_images", "trainset"),
    "unlabeled": ("unlabelled", "unlabel", "unlabeled_images", "not_labeled", "nolabel", "unsup", "unsupervised"),
    "test": ("testing", "tests", "test_images", "testset"),
}
VALIDATION_NAMES = ("val", "valid", "validation", "dev", "eval")


def purpose_of(name: str) -> str | None:
    """Return the purpose that a folder's name says in any usual spelling (train, unlabeled, test, val), or None."""
    plain = _plain(name)
    for part, spellings in {**_SPELLINGS, "val": VALIDATION_NAMES}.items():
        if plain == part or plain in spellings:
            return part
    return None


def meant_folder(name: str, parts: set[str]) -> str | None:
    """Return the folder that is read and that a name nearly is, or None."""
    plain = _plain(name)
    for part in sorted(parts):
        if plain == part or plain in _SPELLINGS.get(part, ()):
            return part
    close = get_close_matches(plain, sorted(parts), n=1, cutoff=0.75)
    return close[0] if close else None


def where_train_is(root: Path, folders: list[str]) -> str | None:
    """Return what to do if the training images lie under another name, or a folder deeper; or None.

    Args:
        root: of the images, without a folder `train`.
        folders: names of its folders.
    """
    for name in folders:
        if purpose_of(name) == "train":
            return f"Rename {name}/ to train/."
    for name in folders:
        if (root / name / "train").is_dir():
            return f"Name {root / name}, which holds a folder train/, in its place."
    return None


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_").strip("_")
