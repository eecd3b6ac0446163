"""What classes are called, and names that look like mistakes."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from trainers.errors import escaped

_NO_CLASS = {
    "-", "?", "n/a", "na", "nan", "none", "null", "unlabeled", "unlabelled", "not labeled", "no label",
}  # fmt: skip


def class_name(text: str) -> str:
    r"""Return the name of a class: composed (Unicode NFC) and without blanks around it, which nobody sees.

    Bytes of a folder's name that are no UTF-8 become `\xe9`: neither MLflow nor a report could write them.
    """
    return unicodedata.normalize("NFC", text.encode(errors="surrogateescape").decode(errors="backslashreplace")).strip()


def class_name_cautions(classes: Sequence[str]) -> list[str]:
    """Return what to tell about names that differ in upper and lower case alone, or that say that there is no class.

    Args:
        classes: names.
    """
    cautions = []
    for folded, count in Counter(name.casefold() for name in classes).items():
        if count > 1:
            alike = [escaped(name) for name in classes if name.casefold() == folded]
            cautions.append(f"classes {' and '.join(alike)} differ in upper and lower case alone; are they one class?")
    cautions += [
        f"class {escaped(name)} is trained on as any other class; if it means that nobody knows the class, leave the "
        "label empty, or move the images to unlabeled/"
        for name in classes
        if name.casefold().replace("_", " ") in _NO_CLASS
    ]
    return cautions
