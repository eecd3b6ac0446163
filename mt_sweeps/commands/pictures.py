"""Pictures for people: images enlarged until they can be recognised, with short texts."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    import numpy as np

SMALLEST = 128  # pixels per side that an image is shown with
LINE = 21  # pixels of a line of text
MARGIN = 2  # pixels between images
_PER_ROW = 8  # images of a grid


def factor(size: int, smallest: int = SMALLEST) -> int:
    """Return how many pixels stand for one, so that an image of a size is shown with `smallest` or more per side."""
    return max(1, -(-smallest // size))


class Pen:
    """Writes on a canvas, in letters for a line of `LINE` pixels."""

    def __init__(self, canvas: Image.Image) -> None:
        self._draw, self._font = ImageDraw.Draw(canvas), ImageFont.load_default(size=LINE * 2 / 3)

    def write(self, text: str, x: float, y: float, most: float) -> None:
        """Write a line at a place, shortened until it is no wider than `most` pixels."""
        while self._font.getlength(text) > most:
            text = text.rstrip("…")[:-1] + "…"
        self._draw.text((x, y + LINE / 2), text, "black", self._font, anchor="lm")


def picture_of(pixels: "np.ndarray", smallest: int = SMALLEST) -> Image.Image:
    """Return an image as a picture of at least so many pixels per side.

    Args:
        pixels: uint8 [height, width, channels], one channel for grey or three.
        smallest: pixels per side.
    """
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    scale = factor(min(image.size), smallest)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).convert("RGB")


def grid(images: "Sequence[np.ndarray]", captions: Sequence[Sequence[str]]) -> Image.Image:
    """Return a picture of images in rows, with lines of text below each.

    Args:
        images: uint8 [height, width, channels] each, at least one, all of one size.
        captions: the lines of each image; the same number for all.
    """
    drawn = [picture_of(image) for image in images]
    width, height = drawn[0].width + MARGIN, drawn[0].height + LINE * len(captions[0]) + MARGIN
    columns = min(_PER_ROW, len(drawn))
    canvas = Image.new("RGB", (MARGIN + columns * width, MARGIN + -(-len(drawn) // columns) * height), "white")
    pen = Pen(canvas)
    for i, (image, lines) in enumerate(zip(drawn, captions, strict=True)):
        x, y = MARGIN + i % columns * width, MARGIN + i // columns * height
        canvas.paste(image, (x, y))
        for number, text in enumerate(lines):
            pen.write(text, x + MARGIN, y + image.height + number * LINE, image.width - 2 * MARGIN)
    return canvas


def small_jpeg(pixels: "np.ndarray", side: int) -> bytes:
    """Return an image as a JPEG of a few kB, of about `side` pixels per side; arguments as for `picture_of`."""
    image = picture_of(pixels, side)
    if min(image.size) > 2 * side:
        image.thumbnail((side, side))
    written = io.BytesIO()
    image.save(written, "JPEG", quality=70, optimize=True)
    return written.getvalue()
