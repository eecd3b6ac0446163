"""Strong augmentation: random operations with random amounts, drawn for each image.

TrivialAugmentWide (Müller & Hutter 2021) and RandAugment (Cubuk et al. 2020), with the operations, ranges and 31 steps
that torchvision has.
"""

from functools import cache
from typing import Literal

import torch
from torch import Tensor

from trainers.config import Augmentation
from trainers.data.draws import Draws
from trainers.data.image_operations import OPERATIONS, apply

_STEPS = 31  # from the smallest amount to the largest
_SIGNED = 9  # operations after identity whose amount has a random sign


def strengthen(images: Tensor, config: Augmentation, draws: Draws) -> Tensor:
    """Apply one random operation of a random amount to each image, or some operations of a given amount.

    Args:
        images: uint8 [b, channels, size, size].
        config: `strong`, not "none"; for RandAugment, `rand_operations` and `rand_magnitude`.
        draws: on the device of the images.

    Returns:
        uint8, of the same shape.
    """
    b, device = len(images), images.device
    if config.strong == "none":
        return images
    amounts = _amounts(config.strong, images.shape[3], device)
    for _ in range(1 if config.strong == "trivial_augment" else config.rand_operations):
        operations = draws.integers(0, len(OPERATIONS), b)
        signs = draws.integers(0, 2, b)
        if config.strong == "trivial_augment":
            steps = draws.integers(0, _STEPS, b)
        else:
            steps = torch.full_like(signs, config.rand_magnitude)
        images = apply(images, operations, amounts[operations, signs, steps])
    return images


@cache
def _amounts(strong: Literal["trivial_augment", "rand_augment"], size: int, device: torch.device) -> Tensor:
    """Return the amount of each operation: float64 [operations, 2 signs, steps], on the device."""
    if strong == "trivial_augment":
        shear, translate, rotate, blend, bits = 0.99, 32.0, 135.0, 0.99, 6
    else:
        shear, translate, rotate, blend, bits = 0.3, 150 / 331 * size, 30.0, 0.9, 4
    amounts = torch.zeros(len(OPERATIONS), _STEPS, dtype=torch.float32)
    largest = (shear, shear, translate, translate, rotate, blend, blend, blend, blend)
    for number, limit in enumerate(largest, 1):
        amounts[number] = torch.linspace(0, limit, _STEPS, dtype=torch.float32)
    amounts[OPERATIONS.index("posterize")] = (8 - torch.arange(_STEPS) / ((_STEPS - 1) / bits)).round()
    amounts[OPERATIONS.index("solarize")] = torch.linspace(1, 0, _STEPS, dtype=torch.float32)
    negative = amounts.clone()
    negative[1 : 1 + _SIGNED] *= -1
    return torch.stack([amounts, negative], 1).double().to(device)
