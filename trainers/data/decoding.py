"""From image files to pixels: in colour, upright, of one size. Images are decoded in blocks to save memory."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps

from trainers.config.dataset import ImageFolder, Imagenet
from trainers.errors import DataError

BLOCK = 256  # images that are decoded and then written together

Progress = Callable[[int, int], None]
"""Called with (images decoded, images in all)."""

Write = Callable[[np.ndarray], None]
"""Called with uint8 [n, height, width, channels], the next images of a data set."""


def decode_files(
    files: list[str], config: ImageFolder | Imagenet, write: Write, progress: Progress | None
) -> list[int]:
    """Decode images to one size, on all cores.

    Args:
        files: in the order in which their images are to be written.
        config: the size of the images, and whether unreadable files are skipped.
        write: called with each block of images.
        progress: called after each block.

    Returns:
        The indices of the files that could be read, in order.

    Raises:
        DataError: a file is unreadable and must not be skipped; or no size is set and the images differ in size.
    """
    kept: list[int] = []
    shape: tuple[int, ...] | None = None
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # decoding releases the GIL
        for first in range(0, len(files), BLOCK):
            block: list[np.ndarray] = []
            part = files[first : first + BLOCK]
            for i, image in enumerate(threads.map(lambda file: _read_or_skip(file, config), part), first):
                if image is None:
                    continue
                shape = shape or image.shape
                if image.shape != shape:
                    raise DataError(
                        f"images differ in size: {files[kept[0]]} has {_pixels(shape)} pixels, {files[i]} has "
                        f"{_pixels(image.shape)}; set dataset.image_size to resize and centre-crop them all"
                    )
                block.append(image)
                kept.append(i)
            if block:
                write(np.stack(block))
            if progress is not None:
                progress(first + len(part), len(files))
    return kept


def _read_or_skip(path: str, config: ImageFolder | Imagenet) -> np.ndarray | None:
    try:
        return _read(path, config.image_size)
    except Unreadable:
        if config.unreadable == "skip":
            return None
        raise


class Unreadable(DataError):
    """The file is not an image, or it is damaged."""


def read_image(path: str, size: int, channels: int) -> np.ndarray:
    """Read an image in the way that training images are read.

    Args:
        path: of the file.
        size: pixels per side, after resizing and centre crop.
        channels: 3, or 1 for grey.

    Returns:
        uint8 [size, size, channels].

    Raises:
        Unreadable: the file is not an image, or it is damaged.
    """
    image = _read(path, size)
    return image if channels == 3 else np.asarray(Image.fromarray(image).convert("L"))[..., None]


def _read(path: str, size: int | None) -> np.ndarray:
    try:
        with Image.open(path) as file:
            if size is not None:
                file.draft(None, (2 * size, 2 * size))  # so that a much larger JPEG is not decoded in full
            image = _opaque(_eight_bit(ImageOps.exif_transpose(file)))
            if size is not None:
                image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
            elif image.width != image.height:
                raise DataError(
                    f"{path} is not square ({image.width}x{image.height} pixels); set dataset.image_size to resize "
                    "and centre-crop all images"
                )
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Unreadable(
            f"{path} cannot be read as an image: {error}; repair or remove it, or set dataset.unreadable: skip"
        ) from None


def _opaque(image: Image.Image) -> Image.Image:
    """Convert to colour, with transparent parts on white: nobody chose the colours that transparency hides."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layers = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # which PIL would clip to white
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    return image


def _pixels(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
