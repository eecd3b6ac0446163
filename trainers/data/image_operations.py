"""The operations of TrivialAugment and RandAugment on a batch of images, each image with an amount of its own.

An image becomes what torchvision's operation makes of it alone, with nearest interpolation and black where there was no
image. torchvision itself takes one amount for a whole batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample
from torchvision.transforms.v2 import functional as torchvision

from trainers.determinism import exact_in_any_order

OPERATIONS = (
    *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("brightness", "color", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize"),
)
"""The names, in the order of the numbers that `apply` takes."""

_MOVES = range(1, 6)  # the operations that move pixels


def apply(images: Tensor, operations: Tensor, amounts: Tensor) -> Tensor:
    """Apply one operation to each image.

    Args:
        images: uint8 [b, channels, height, width], of one channel or three.
        operations: int64 [b], each the position of a name in `OPERATIONS`.
        amounts: float64 [b]. Shears: pixels per pixel; translations: pixels, rounded towards 0; rotate: degrees,
            counter-clockwise; brightness, color, contrast and sharpness: what is added to the factor 1, at least -1;
            posterize: how many bits are kept; solarize: the threshold, as a share of 255. The others have no amount.

    Returns:
        uint8 [b, channels, height, width]. As in torchvision, color does not change images of one channel.
    """
    changed = images.clone(memory_format=torch.contiguous_format)
    moving = (operations >= _MOVES.start) & (operations < _MOVES.stop)
    _change_where(moving, _move, changed, operations, amounts)
    for name, change in _CHANGES.items():
        _change_where(operations == OPERATIONS.index(name), change, changed, amounts)
    return changed


def _change_where(asked: Tensor, change: Callable[..., Tensor], images: Tensor, *arguments: Tensor) -> None:
    """Change, in place, the images for which it is asked; each of the arguments has a value for each image."""
    if _would_wait(images.device):
        images.copy_(torch.where(asked[:, None, None, None], change(images, *arguments), images))
        return
    rows = asked.nonzero().flatten()
    if len(rows):
        images.index_copy_(0, rows, change(images[rows], *(values[rows] for values in arguments)))


def _would_wait(device: torch.device) -> bool:
    """Return whether the program would have to wait for the device to know how many images there are to change."""
    return device.type != "cpu"


def _move(images: Tensor, operations: Tensor, amounts: Tensor) -> Tensor:
    """Shear about the upper left corner, translate, or rotate about the centre."""
    height, width = images.shape[2:]
    shear_x, shear_y, x, y, degrees = (torch.where(operations == number, amounts, 0.0) for number in _MOVES)
    cosines, sines = degrees.deg2rad().cos(), degrees.deg2rad().sin()
    # Where each pixel of the result comes from, in pixels from the centre. All but one of the amounts are 0.
    to_x = torch.stack([cosines, shear_x - sines, shear_x * (height / 2) - x.trunc()]).float() / (width / 2)
    to_y = torch.stack([shear_y + sines, cosines, shear_y * (width / 2) - y.trunc()]).float() / (height / 2)
    rows, columns = (
        torch.linspace((1 - size) / 2, (size - 1) / 2, size, dtype=torch.float32, device=images.device)
        for size in (height, width)
    )
    grid = [
        (columns * of_column[:, None, None] + rows[:, None] * of_row[:, None, None]).add_(shift[:, None, None])
        for of_column, of_row, shift in (to_x, to_y)
    ]
    moved = grid_sample(images.float(), torch.stack(grid, 3), mode="nearest", align_corners=False)
    return moved.to(torch.uint8)


def _brightness(images: Tensor, amounts: Tensor) -> Tensor:
    factors = 1 + amounts[:, None, None, None]
    return (factors.float() * images).clamp_(0, 255).to(torch.uint8)


def _blend(images: Tensor, others: Tensor, amounts: Tensor) -> Tensor:
    """Return the images times 1 + amounts, plus the others times -amounts."""
    factors = 1 + amounts[:, None, None, None]
    return (factors.float() * images).addcmul_((1 - factors).float(), others).clamp_(0, 255).to(torch.uint8)


def _color(images: Tensor, amounts: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    return _blend(images, torchvision.rgb_to_grayscale(images).float(), amounts)


def _contrast(images: Tensor, amounts: Tensor) -> Tensor:
    grey = torchvision.rgb_to_grayscale(images).float()
    return _blend(images, grey.mean((1, 2, 3), keepdim=True), amounts)


def _sharpness(images: Tensor, amounts: Tensor) -> Tensor:
    """Blend with a 3x3 average in which the centre counts five times; the edge pixels stay as they are."""
    pixels = images.float()
    centre = pixels[:, :, 1:-1, 1:-1]
    average = avg_pool2d(pixels, 3, stride=1, divisor_override=1).add_(centre, alpha=4).div_(13).round_()
    # Not as `_blend` does it, but as torchvision: a product that is just below a whole number would lose one.
    centre.addcmul_((-amounts[:, None, None, None]).float(), average.sub_(centre))
    return pixels.clamp_(0, 255).to(torch.uint8)


def _posterize(images: Tensor, amounts: Tensor) -> Tensor:
    dropped = (8 - amounts[:, None, None, None]).to(torch.uint8)
    return (images >> dropped) << dropped


def _solarize(images: Tensor, amounts: Tensor) -> Tensor:
    return torch.where(images >= (255 * amounts[:, None, None, None]).float(), 255 - images, images)


def _autocontrast(images: Tensor, amounts: Tensor) -> Tensor:  # noqa: ARG001
    changed: Tensor = torchvision.autocontrast(images)
    return changed


def _equalize(images: Tensor, amounts: Tensor) -> Tensor:  # noqa: ARG001
    with exact_in_any_order():  # it counts pixels; what torch would do instead waits for the device
        changed: Tensor = torchvision.equalize(images)
    return changed


_CHANGES = {
    "brightness": _brightness,
    "color": _color,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
"""The operations that change colours, by name."""
