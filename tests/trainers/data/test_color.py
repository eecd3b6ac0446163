import pytest
import torch
from torchvision.transforms.v2 import functional as F

from trainers.config import Augmentation
from trainers.data.color import jitter, shift_hue
from trainers.data.draws import Draws

IMAGES = torch.rand((5, 3, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ADJUST = {"brightness": F.adjust_brightness, "contrast": F.adjust_contrast, "saturation": F.adjust_saturation}


def jittered(images: torch.Tensor = IMAGES, seed: int = 0, **settings) -> torch.Tensor:
    return jitter(images, Augmentation(**settings), Draws([seed], torch.device("cpu")))


@pytest.mark.parametrize("name", ADJUST)
def test_each_image_is_torchvisions_of_an_amount_of_its_own(name):
    chances = torch.rand((5, 1, 1, 1), generator=torch.Generator().manual_seed(0), dtype=torch.float64).flatten()
    for image, chance, found in zip(IMAGES, chances, jittered(**{name: 0.4}), strict=True):
        expected = ADJUST[name](image, 1 + (2 * chance.item() - 1) * 0.4)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert chances.unique().numel() == 5


@pytest.mark.parametrize("turn", [-0.5, -0.2, 0.0, 0.07, 0.5])
def test_a_hue_is_turned_as_torchvision_does(turn):
    found = shift_hue(IMAGES, torch.full((5, 1, 1), turn, dtype=torch.float64))
    torch.testing.assert_close(found, F.adjust_hue(IMAGES, turn), atol=1e-5, rtol=0)


def test_grey_stays_grey_whatever_its_hue():
    grey = torch.full((1, 3, 2, 2), 0.3)
    assert torch.equal(shift_hue(grey, torch.full((1, 1, 1), 0.3)), grey)


def test_images_of_one_channel_change_in_brightness_and_contrast_alone():
    grey = IMAGES[:, :1]
    assert not torch.equal(jittered(grey, brightness=0.4, contrast=0.4), grey)
    torch.testing.assert_close(jittered(grey, saturation=0.4, hue=0.5), grey)


def test_all_of_them_together_keep_pixels_in_range_and_follow_the_seed():
    settings = {"brightness": 0.9, "contrast": 0.9, "saturation": 0.9, "hue": 0.5}
    found = jittered(seed=3, **settings)
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(found, jittered(seed=3, **settings))
    assert not torch.equal(found, jittered(seed=4, **settings))
