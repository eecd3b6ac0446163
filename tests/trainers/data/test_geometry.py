import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2 import functional as F

from trainers.config import Augmentation
from trainers.data import geometry
from trainers.data.draws import Draws
from trainers.data.geometry import center_crop, crop_sides, sample_offsets, warp

IMAGES = torch.rand((4, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def warped(images: torch.Tensor = IMAGES, seed: int = 0, **settings) -> torch.Tensor:
    settings = {"translate": 0, "flip": False} | settings
    return warp(images, Augmentation(**settings), Draws([seed], torch.device("cpu")))


def test_without_any_movement_an_image_is_itself():
    torch.testing.assert_close(warped(), IMAGES)


def test_a_mirror_turns_left_and_right():
    found = warped(IMAGES[:1].expand(200, -1, -1, -1), flip=True)
    mirrored = [torch.allclose(image, IMAGES[0].flip(2)) for image in found]
    plain = [torch.allclose(image, IMAGES[0]) for image in found]
    assert sum(mirrored) + sum(plain) == 200
    assert 70 < sum(mirrored) < 130  # standard deviation 7


def test_a_translation_is_by_whole_pixels_up_to_the_reach():
    found = warped(IMAGES[:1].expand(500, -1, -1, -1), translate=1)
    inside = IMAGES[0, :, 1:-1, 1:-1]
    seen = set()
    for image in found:
        places = [
            (y, x)
            for y in (-1, 0, 1)
            for x in (-1, 0, 1)
            if torch.allclose(image[:, 2:-2, 2:-2], IMAGES[0, :, 2 + y : 14 + y, 2 + x : 14 + x])
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 9
    assert inside.shape == (3, 14, 14)


def test_a_rotation_is_torchvisions_of_one_angle_in_the_range():
    """Return the mask of the circle that stays inside the image under every rotation."""
    images = IMAGES[:1, :, :, :].expand(30, -1, -1, -1)
    distance = (torch.arange(16) - 7.5).square()
    inside = (distance[:, None] + distance[None]).sqrt() < 6.5
    angles = np.linspace(-10, 10, 2001)
    candidates = torch.stack([F.rotate(IMAGES[0], angle, F.InterpolationMode.BILINEAR) for angle in angles])
    found = []
    for image in warped(images, rotate=10.0):
        distances = (candidates - image)[:, :, inside].abs().amax((1, 2))
        assert distances.min() < 0.01
        found.append(angles[distances.argmin()])
    assert min(found) < -5
    assert max(found) > 5


@pytest.mark.parametrize("smallest", [0.08, 0.5])
def test_crops_have_torchvisions_distribution(smallest):
    transform = RandomResizedCrop(16, scale=(smallest, 1.0))
    torch.manual_seed(0)
    image = torch.zeros(3, 1000, 1000)
    theirs = [transform.make_params([image]) for _ in range(4000)]
    theirs = torch.tensor([(p["width"] / 1000, p["height"] / 1000) for p in theirs])
    ours = crop_sides(torch.rand((4000, 10, 2), generator=torch.Generator().manual_seed(1)), smallest)
    for of in (lambda s: s[:, 0], lambda s: s[:, 1], lambda s: s.prod(1), lambda s: (s[:, 0] / s[:, 1]).log()):
        a, b = of(ours).sort().values, of(theirs).sort().values
        # Kolmogorov and Smirnov: at the level 0.1 %, 1.95 sqrt(2 / n).
        both = torch.cat([a, b])
        ranks = [torch.searchsorted(values, both, right=True) / len(values) for values in (a, b)]
        assert (ranks[0] - ranks[1]).abs().max() < 1.95 * math.sqrt(2 / 4000)
    assert ours.max() <= 1


def test_a_crop_lies_within_the_image_and_is_resized():
    """The values of the image are its coordinates, so that they show which part was cropped."""
    places = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    image = torch.stack([places.expand(64, 64), places[:, None].expand(64, 64)])[None].expand(300, -1, -1, -1)
    found = warped(image, crop=32)
    assert found.shape == (300, 2, 32, 32)
    edges = found[:, 0].mean(1)  # x of each column
    widths = (edges[:, -2] - edges[:, 1]) * 32 / 29
    assert widths.min() > 0.2
    assert widths.max() <= 1.05
    left = edges[:, 16] - widths / 2
    assert left.min() > -0.06
    assert (left + widths).max() < 1.06
    assert left.max() > 0.3  # and not always the middle


@pytest.mark.parametrize(("size", "out", "gain"), [(64, 56, 1.5), (64, 32, 5.0), (64, 16, 5.0), (64, 8, 5.0)])
def test_a_crop_that_shrinks_is_nearly_torchvisions_antialiased_one(monkeypatch, size, out, gain):
    monkeypatch.setattr(geometry, "crop_sides", lambda chances, _: torch.ones(len(chances), 2))  # the whole image
    noise = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    theirs, aliased = (
        F.resized_crop(noise, 0, 0, size, size, [out, out], antialias=antialias) for antialias in (True, False)
    )
    error, before = (
        (one - theirs)[:, :, 1:-1, 1:-1].square().mean().sqrt() for one in (warped(noise, crop=out), aliased)
    )
    assert error < before / gain


def test_a_crop_that_does_not_shrink_has_its_samples_in_the_middle():
    assert not sample_offsets(torch.full((4, 2), 0.5), 16, 8).any()
    assert sample_offsets(torch.ones(4, 2), 16, 8).any()
    assert sample_offsets(torch.ones(4, 2), 16, 16).shape == (1, 4, 2)


def test_the_centre_is_what_evaluations_see():
    images = torch.arange(6 * 6).view(1, 1, 6, 6)
    assert center_crop(images, 2).tolist() == [[[[14, 15], [20, 21]]]]
    assert center_crop(images, None) is images


def test_the_same_seed_moves_alike_and_another_otherwise():
    settings = {"crop": 8, "rotate": 10.0, "flip": True}
    assert torch.equal(warped(seed=1, **settings), warped(seed=1, **settings))
    assert not torch.equal(warped(seed=1, **settings), warped(seed=2, **settings))
