"""Each operation gives what torchvision's gives, image by image."""

import pytest
import torch
from torch.nn.functional import interpolate
from torchvision.transforms import v2

from trainers.data.image_operations import OPERATIONS, apply

TRANSFORMS = {"trivial_augment": v2.TrivialAugmentWide(), "rand_augment": v2.RandAugment()}
EXACT = ("identity", "translate_x", "translate_y", "posterize", "solarize", "autocontrast", "equalize")
MOVED = ("shear_x", "shear_y", "rotate")


def pictures(size: int) -> torch.Tensor:
    """Return a smooth image, a noisy one, a dark one and one of a single colour: uint8 [4, 3, size, size]."""
    rng = torch.Generator().manual_seed(0)
    coarse = 255 * torch.rand((1, 3, 4, 4), generator=rng)
    smooth = interpolate(coarse, size=(size, size), mode="bilinear").to(torch.uint8)
    noisy = torch.randint(256, (1, 3, size, size), generator=rng, dtype=torch.uint8)
    return torch.cat([smooth, noisy, noisy // 5, torch.full_like(noisy, 17)])


def torchvisions(transform: v2.Transform, name: str, image: torch.Tensor, amount: float) -> torch.Tensor:
    """Return what torchvision's transform makes of an image when it draws this operation and this amount."""
    own = {one.lower(): one for one in transform._AUGMENTATION_SPACE}[name.replace("_", "")]
    return transform._apply_image_or_video_transform(
        image, own, amount, interpolation=transform.interpolation, fill=transform._fill
    )


def amounts(transform: v2.Transform, name: str, size: int) -> list[float]:
    """Return the amounts that torchvision draws from, in their order, then the negative ones if there are any."""
    space = {one.lower(): one_of for one, one_of in transform._AUGMENTATION_SPACE.items()}
    steps, signed = space[name.replace("_", "")]
    values = steps(31, size, size)
    if values is None:
        return [0.0]
    return [*values.tolist(), *(-values).tolist()] if signed else values.tolist()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [9, 32])
@pytest.mark.parametrize("policy", TRANSFORMS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_equals_torchvisions_on_each_image(name, policy, size, channels):
    transform, images = TRANSFORMS[policy], pictures(size)[:, :channels]
    for amount in amounts(transform, name, size)[::5]:
        expected = torch.stack([torchvisions(transform, name, image, amount) for image in images])
        numbers = torch.full((4,), OPERATIONS.index(name))
        found = apply(images, numbers, torch.full((4,), amount, dtype=torch.float64))
        differences = (found.int() - expected.int()).abs()
        if name in EXACT:
            assert torch.equal(found, expected)
        elif name in MOVED:  # a position halfway between two pixels may be rounded to the other one
            assert (differences > 0).float().mean() < 0.02
        else:
            assert differences.max() <= 1


def test_each_image_of_a_batch_has_an_operation_and_an_amount_of_its_own():
    transform, image = TRANSFORMS["trivial_augment"], pictures(16)[0]
    drawn = [(number, amounts(transform, name, 16)[-1]) for number, name in enumerate(OPERATIONS)]
    drawn += [(number, amounts(transform, name, 16)[0]) for number, name in enumerate(OPERATIONS)]
    numbers, values = (torch.tensor(column) for column in zip(*drawn, strict=True))
    found = apply(image.expand(len(drawn), -1, -1, -1), numbers, values.double())
    for i in range(len(drawn)):
        assert torch.equal(found[i], apply(image[None], numbers[i : i + 1], values[i : i + 1].double())[0])
    assert len({one.numpy().tobytes() for one in found}) >= 10


def test_the_images_themselves_are_not_changed():
    images = pictures(8)[:1].expand(14, -1, -1, -1).contiguous()
    before = images.clone()
    apply(images, torch.arange(14), torch.full((14,), 0.5, dtype=torch.float64))
    assert torch.equal(images, before)


def test_nothing_waits_for_a_device():
    """Tensors of the device `meta` have no values, so whatever asks for one raises."""
    on_device = [torch.empty(5, 3, 8, 8, dtype=torch.uint8), torch.zeros(5).long(), torch.zeros(5).double()]
    found = apply(*(one.to("meta") for one in on_device))
    assert found.shape == (5, 3, 8, 8)
    assert found.dtype == torch.uint8
