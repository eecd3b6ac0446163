"""Pictures for people: images with short texts below them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from mt_sweeps.results.enlarged import picture_of

if TYPE_CHECKING:
    import numpy as np

LINE = 21  # pixels of a line of text
MARGIN = 2  # pixels between images
_PER_ROW = 8  # images of a grid


class Pen:
    """Writes on a canvas, in letters for a line of `LINE` pixels."""

    def __init__(self, canvas: Image.Image) -> None:
        self._draw, self._font = ImageDraw.Draw(canvas), ImageFont.load_default(size=LINE * 2 / 3)

    def write(self, text: str, x: float, y: float, most: float) -> None:
        """Write a line at a place, shortened until it is no wider than `most` pixels."""
        while self._font.getlength(text) > most:
            text = text.rstrip("…")[:-1] + "…"
        self._draw.text((x, y + LINE / 2), text, "black", self._font, anchor="lm")


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
