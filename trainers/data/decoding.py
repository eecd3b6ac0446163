"""From image files to pixels: in colour, upright, of one size. Images are decoded in blocks to save memory."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from trainers.config.dataset import ImageFolder, Imagenet
from trainers.data.grey_images import are_grey
from trainers.data.image_formats import first_bytes_format, how_to_read, register_formats
from trainers.data.tiff_values import tiff_values, unread_tiff
from trainers.data.wide_greys import GreyValues, OutOfRange, PixelRange, is_wide, to_eight_bits, why_too_dark
from trainers.errors import DataError, escaped

BLOCK = 256  # images that are decoded and then written together

_MOST_PIXELS = 2**30  # of a JPEG that is read reduced; libjpeg still passes over all of them

Progress = Callable[[int, int], None]
"""Called with (images decoded, images in all), first with 0."""

Write = Callable[[np.ndarray], None]
"""Called with uint8 [n, height, width, channels], the next images of a data set."""


@dataclass(frozen=True)
class Decoded:
    """What is known of the images that were decoded.

    Attributes:
        kept: indices of the files that could be read, in order.
        lowest: uint8 [kept], the lowest value of each image.
        highest: uint8 [kept], the highest value of each image.
        flat: bool [kept], whether all pixels of an image have the same colour.
        several: indices of the files with several pages or frames, of which the first is the image.
    """

    kept: list[int]
    lowest: np.ndarray
    highest: np.ndarray
    flat: np.ndarray
    several: list[int]


@dataclass(frozen=True)
class ImageFile:
    """An image that was read from a file.

    Attributes:
        pixels: uint8 [size, size, channels].
        side: pixels of the shorter side in the file. A JPEG that is much larger than needed is read with fewer.
        is_grey: whether it has no colour.
    """

    pixels: np.ndarray
    side: int
    is_grey: bool


@dataclass(frozen=True)
class _Picture:
    pixels: np.ndarray
    side: int  # of the file, the shorter one
    greys: GreyValues | None  # of a file of more than 8 bits
    is_one_of_several: bool  # pages or frames of its file


def decode_files(files: list[str], config: ImageFolder | Imagenet, write: Write, progress: Progress | None) -> Decoded:
    """Decode images to one size, on all cores.

    Args:
        files: in the order in which their images are to be written.
        config: the size of the images, the range of their greys, and whether unreadable files are skipped.
        write: called with each block of images.
        progress: called at the start, after each block, and once per second.

    Raises:
        DataError: a file is unreadable and must not be skipped; or no size is set and the images differ in size; or
            the greys do not fit `pixel_range`.
    """
    kept: list[int] = []
    extremes: list[tuple[int, int, bool]] = []
    greys: list[GreyValues] = []
    several: list[int] = []
    shape: tuple[int, ...] | None = None
    report = _once_per_second(progress, len(files))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # decoding releases the GIL
        for first in range(0, len(files), BLOCK):
            block: list[np.ndarray] = []
            part = files[first : first + BLOCK]
            for i, read in enumerate(threads.map(lambda file: _read_or_skip(file, config), part), first):
                report(i)
                if read is None:
                    continue
                picture, extreme = read
                image = picture.pixels
                shape = shape or image.shape
                if image.shape != shape:
                    raise DataError(
                        f"images differ in size: {escaped(files[kept[0]])} has {_pixels(shape)} pixels, "
                        f"{escaped(files[i])} has {_pixels(image.shape)}; set dataset.image_size to resize and "
                        "centre-crop them all"
                    )
                block.append(image)
                kept.append(i)
                extremes.append(extreme)
                if picture.is_one_of_several:
                    several.append(i)
                if picture.greys is not None:
                    greys.append(picture.greys)
            if block:
                write(np.stack(block))
            if progress is not None:
                progress(first + len(part), len(files))
    problem = None if config.pixel_range is not None else why_too_dark(greys)
    if problem is not None:
        raise DataError(f"dataset.root: {escaped(config.root)}: {problem}")
    columns = np.array(extremes, np.uint8).reshape(-1, 3)
    return Decoded(kept, columns[:, 0], columns[:, 1], columns[:, 2].astype(bool), several)


def _once_per_second(progress: Progress | None, total: int) -> Callable[[int], None]:
    last = time.monotonic()
    if progress is not None:
        progress(0, total)

    def report(done: int) -> None:
        nonlocal last
        if progress is not None and time.monotonic() - last > 1:
            last = time.monotonic()
            progress(done, total)

    return report


def _read_or_skip(path: str, config: ImageFolder | Imagenet) -> tuple[_Picture, tuple[int, int, bool]] | None:
    try:
        picture = _read(path, config.image_size, config.pixel_range)
    except UnsupportedGreys:  # the setting is wrong, not the file: skipping would keep the dark images alone
        raise
    except Unreadable:
        if config.unreadable == "skip":
            return None
        raise
    low, high = picture.pixels.min((0, 1)), picture.pixels.max((0, 1))
    return picture, (int(low.min()), int(high.max()), bool((low == high).all()))


class Unreadable(DataError):
    """The file is not an image, or it is damaged."""


class UnsupportedGreys(Unreadable):
    """The greys of the image do not fit `dataset.pixel_range`."""


def read_image(path: str, size: int, channels: int, pixel_range: PixelRange = None) -> np.ndarray:
    """Read an image in the way that training images are read.

    Args:
        path: of the file.
        size: pixels per side, after resizing and centre crop.
        channels: 3, or 1 for grey.
        pixel_range: `dataset.pixel_range` of the training.

    Returns:
        uint8 [size, size, channels].

    Raises:
        Unreadable: the file is not an image, or it is damaged, or its greys are out of range.
    """
    return read_image_file(path, size, channels, pixel_range).pixels


def read_image_file(path: str, size: int, channels: int, pixel_range: PixelRange = None) -> ImageFile:
    """Read an image as `read_image` does, and what its file is like; arguments and errors as there."""
    picture = _read(path, size, pixel_range)
    pixels, is_grey = picture.pixels, bool(are_grey(picture.pixels[None])[0])
    if channels == 1:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    return ImageFile(pixels, picture.side, is_grey)


def _read(path: str, size: int | None, pixel_range: PixelRange) -> _Picture:
    register_formats()
    try:
        with _opened(path, size) as file:
            stored = tiff_values(file)
            # Photographs of some phones have a second frame for the brightness of displays, or the distance.
            is_one_of_several = file.format != "MPO" and getattr(file, "is_animated", False)
            upright = ImageOps.exif_transpose(file)
            greys = None
            if is_wide(upright, stored):
                upright, greys = to_eight_bits(upright, stored, pixel_range)
            image = _opaque(upright)
            if size is not None:
                image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
            elif image.width != image.height:
                raise DataError(
                    f"{escaped(path)} is not square ({image.width}x{image.height} pixels); set dataset.image_size to "
                    "resize and centre-crop all images"
                )
            return _Picture(np.asarray(image), min(upright.size), greys, is_one_of_several)
    except OutOfRange as error:
        raise UnsupportedGreys(f"{escaped(path)}: {error}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Unreadable(_why_unreadable(path, error)) from None


def _opened(path: str, size: int | None) -> Image.Image:
    """Open a file, a JPEG that is much larger than needed with fewer pixels: it is then not decoded in full.

    Raises:
        Image.DecompressionBombError: it has more pixels than Pillow allows, also after that.
    """
    try:
        file = Image.open(path)
    except Image.DecompressionBombError as error:
        if size is None or first_bytes_format(path) != "JPEG":
            raise Image.DecompressionBombError(f"{error}; {_how_to_shrink(size)}") from None
        file = JpegImagePlugin.JpegImageFile(path)  # unlike Image.open, without a look at the number of pixels
        if file.width * file.height > _MOST_PIXELS:
            file.close()
            raise Image.DecompressionBombError(
                f"{file.width}x{file.height} pixels are more than {_MOST_PIXELS:,}; resize it first"
            ) from None
    if size is not None:
        file.draft(None, (2 * size, 2 * size))
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and file.width * file.height > 2 * most:
        file.close()
        raise Image.DecompressionBombError(
            f"{file.width}x{file.height} pixels are more than {2 * most:,}; {_how_to_shrink(size)}"
        )
    return file


def _how_to_shrink(size: int | None) -> str:
    return "resize it first" + (
        ", or set dataset.image_size: a JPEG is then read reduced" if size is None else ", or save it as JPEG"
    )


def _why_unreadable(path: str, error: Exception) -> str:
    kind = first_bytes_format(path) if Path(path).is_file() else None
    todo = None if kind is None else how_to_read(kind)
    if todo is not None:
        return f"{escaped(path)} cannot be read as an image: it is {kind}: {todo}"
    if kind == "TIFF" and isinstance(error, UnidentifiedImageError) and (values := unread_tiff(path)) is not None:
        return (
            f"{escaped(path)} cannot be read as an image: it is a TIFF of {values}, which Pillow does not read; "
            "save it with 8 bits per channel, or as one channel of 16 bits or of 32-bit floats"
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{escaped(path)} cannot be read as an image: {error.strerror}; {_REPAIR}"
    return f"{escaped(path)} cannot be read as an image: {escaped(error)}; {_REPAIR}"


_REPAIR = "repair or remove it, or set dataset.unreadable: skip"


def _opaque(image: Image.Image) -> Image.Image:
    """Convert to colour, with transparent parts on white: nobody chose the colours that transparency hides."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layers = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB")


def _pixels(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
