"""Images as pictures for people, enlarged until they can be recognised."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SMALLEST = 128  # pixels per side that an image is shown with


def factor(size: int, smallest: int = SMALLEST) -> int:
    """Return how many pixels stand for one, so that an image of a size is shown with `smallest` or more per side."""
    return max(1, -(-smallest // size))


def picture_of(pixels: "np.ndarray", smallest: int = SMALLEST) -> "Image.Image":
    """Return an image as a picture of at least so many pixels per side.

    Args:
        pixels: uint8 [height, width, channels], one channel for grey or three.
        smallest: pixels per side.
    """
    from PIL import Image  # takes its time to load, and a report without pictures does without

    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    scale = factor(min(image.size), smallest)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).convert("RGB")


def small_jpeg(pixels: "np.ndarray", side: int) -> bytes:
    """Return an image as a JPEG of a few kB, of about `side` pixels per side; arguments as for `picture_of`."""
    image = picture_of(pixels, side)
    if min(image.size) > 2 * side:
        image.thumbnail((side, side))
    written = io.BytesIO()
    image.save(written, "JPEG", quality=70, optimize=True)
    return written.getvalue()
