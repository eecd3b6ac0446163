"""What the values in a TIFF file are, where Pillow does not say it, misreads it or cannot read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

_WIDTH, _BITS, _PHOTOMETRIC, _CHANNELS, _PLANES, _FORMAT = 256, 258, 262, 277, 284, 339  # tags of TIFF 6.0
_KINDS = {1: "integers", 2: "signed integers", 3: "floats", 4: "values of no type", 5: "complex integers", 6: "complex"}


@dataclass(frozen=True)
class TiffValues:
    """How the greys of a file are to be read.

    Attributes:
        dtype: type of the values, where Pillow takes them for another one: int8 for uint8, uint32 for int32. Else None.
        is_white_zero: the lowest value is white, and Pillow has not inverted the greys.
    """

    dtype: type[np.generic] | None = None
    is_white_zero: bool = False


def tiff_values(image: Image.Image) -> TiffValues:
    """Return how the greys of a file are to be read.

    Args:
        image: as opened, of any format.

    Raises:
        ValueError: its pixels would come out wrong.
    """
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    bits, kind = _first(tags, _BITS), _first(tags, _FORMAT)
    if bits == 16 and tags.get(_PLANES) == 2 and image.info.get("compression") == "raw" and len(image.getbands()) > 1:
        raise ValueError(
            "it has 16 bits per channel, in separate planes; save it with 8 bits, or with the channels together"
        )
    dtype: type[np.generic] | None = None
    if image.mode == "L" and kind == 2:
        dtype = np.int8
    elif image.mode == "I" and kind == 1 and bits == 32:
        dtype = np.uint32
    return TiffValues(dtype, tags.get(_PHOTOMETRIC) == 0 and image.mode.startswith(("I", "F")))


def unread_tiff(path: str) -> str | None:
    """Return what is in a TIFF file that Pillow does not know, in words; None if its header cannot be read.

    Args:
        path: of the file.
    """
    try:
        with Path(path).open("rb") as file:
            tags = ImageFileDirectory_v2(file.read(8))
            file.seek(tags.next)
            tags.load(file)
        bits, kind = _first(tags, _BITS), _KINDS[_first(tags, _FORMAT)]
        channels = int(tags.get(_CHANNELS, 1))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError):
        return None
    if _WIDTH not in tags:
        return None
    return f"{channels} channel{'s' * (channels > 1)} of {bits}-bit {kind}"


def _first(tags: Mapping[int, Any], tag: int) -> int:
    """Return the value of a tag for the first channel; 1, if it is not there, is the default of these tags."""
    value = tags.get(tag, 1)
    return int(value[0] if isinstance(value, tuple) else value)
