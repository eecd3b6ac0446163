"""Random erasing has the distribution of torchvision's RandomErasing."""

import pytest
import torch
from torchvision.transforms import v2

from trainers.data.draws import Draws
from trainers.data.erasing import erase

SIZE = 16


def erased(n: int, chance: float = 1.0, seed: int = 0) -> torch.Tensor:
    """Return which pixels are erased of n images: bool [n, SIZE, SIZE]."""
    found = erase(torch.ones(n, 2, SIZE, SIZE), chance, Draws([seed], torch.device("cpu")))
    assert torch.equal(found[:, 0], found[:, 1]), "all channels alike"
    return found[:, 0] == 0


def sides(masks: torch.Tensor) -> torch.Tensor:
    """Return heights and widths of the erased rectangles: float [n, 2]."""
    return torch.stack([masks.any(2).sum(1), masks.any(1).sum(1)], 1).float()


def test_what_is_erased_of_an_image_is_one_rectangle():
    masks = erased(6000)
    assert torch.equal(masks.sum((1, 2)).float(), sides(masks).prod(1))
    assert masks.any(0).all(), "wherever"


def test_areas_and_sides_are_distributed_as_torchvisions():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transform = v2.RandomErasing(p=1.0)
        theirs = torch.stack([transform(torch.ones(1, SIZE, SIZE))[0] == 0 for _ in range(800)])
    ours = erased(6000)
    for measure in (lambda masks: sides(masks).prod(1), lambda masks: sides(masks)[:, 0]):
        one, other = measure(ours), measure(theirs)
        assert (one.mean() - other.mean()).abs() < 4.5 * other.std() / 800**0.5
        assert one.std().item() == pytest.approx(other.std().item(), rel=0.1)
    corners = [masks.float().mean(0)[0, 0].item() for masks in (ours, theirs)]
    assert corners[0] == pytest.approx(corners[1], abs=0.02)


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_a_share_of_the_images_is_erased(chance):
    share = erased(4000, chance).any((1, 2)).float().mean().item()
    assert share == pytest.approx(chance, abs=0.03)


def test_a_seed_gives_the_same_rectangles_and_another_seed_others():
    assert torch.equal(erased(10), erased(10))
    assert not torch.equal(erased(10), erased(10, seed=1))


def test_an_image_is_left_whole_where_no_rectangle_is_smaller_than_it():
    pixels = torch.ones(50, 1, 1, 1)
    assert torch.equal(erase(pixels, 1.0, Draws([0], torch.device("cpu"))), pixels)


def test_nothing_else_changes_and_not_the_images_themselves():
    pixels = torch.rand(20, 3, 8, 8) + 1
    before = pixels.clone()
    found = erase(pixels, 1.0, Draws([0], torch.device("cpu")))
    assert torch.equal(pixels, before)
    assert torch.equal(found[found != 0], pixels[found != 0])
