"""Strong operations are drawn as torchvision draws them."""

from collections import Counter

import pytest
import torch

from tests.helpers.training import config
from tests.trainers.data.test_image_operations import TRANSFORMS, amounts, pictures
from trainers import Trainer
from trainers.config import Augmentation
from trainers.data.draws import Draws
from trainers.data.image_operations import OPERATIONS, apply
from trainers.data.strong_views import strengthen

IMAGE = pictures(8)[:1]


def applied(images: torch.Tensor, number: int, amount: float) -> torch.Tensor:
    n = len(images)
    return apply(images, torch.full((n,), number), torch.full((n,), amount, dtype=torch.float64))


def drawn(n: int, seed: int = 0, **settings) -> list[bytes]:
    draws = Draws([seed], torch.device("cpu"))
    found = strengthen(IMAGE.expand(n, -1, -1, -1), Augmentation(**settings), draws)
    return [one.numpy().tobytes() for one in found]


def chances(policy: str, steps: slice) -> dict[tuple[str, bytes], float]:
    """Return the chance of each operation and each result of it, if torchvision drew it."""
    result: Counter[tuple[str, bytes]] = Counter()
    for number, name in enumerate(OPERATIONS):
        values = amounts(TRANSFORMS[policy], name, 8)
        chosen = [one for first in range(0, len(values), 31) for one in values[first : first + 31][steps] or [0.0]]
        for one in chosen:
            result[name, applied(IMAGE, number, one).numpy().tobytes()] += 1 / len(OPERATIONS) / len(chosen)
    return result


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"strong": "trivial_augment"}, slice(None)),
        ({"strong": "rand_augment", "rand_operations": 1}, slice(9, 10)),
        ({"strong": "rand_augment", "rand_operations": 1, "rand_magnitude": 30}, slice(30, 31)),
    ],
)
def test_operations_amounts_and_signs_are_drawn_alike_often(settings, steps):
    expected = chances(settings["strong"], steps)
    assert sum(expected.values()) == pytest.approx(1)
    n = 4000
    found = Counter(drawn(n, **settings))
    assert found.keys() <= {result for _, result in expected}
    owners = Counter(result for _, result in expected)
    for name in OPERATIONS[1:]:
        own = {result: chance for (one, result), chance in expected.items() if one == name and owners[result] == 1}
        mean = n * sum(own.values())
        assert abs(sum(found[result] for result in own) - mean) <= 4.5 * mean**0.5
        if len(own) == 2:  # the two signs of one amount
            assert all(abs(found[result] - mean / 2) <= 4.5 * mean**0.5 for result in own)


def test_rand_augment_applies_its_operations_one_after_another():
    values = [(number, value) for number, name in enumerate(OPERATIONS) for value in signed(name)]
    once = torch.cat([applied(IMAGE, *one) for one in values])
    twice = {one.numpy().tobytes() for value in values for one in applied(once, *value)}
    found = set(drawn(2000, strong="rand_augment"))
    assert found <= twice
    assert len(found - {one.numpy().tobytes() for one in once}) > 100


def signed(name: str) -> list[float]:
    values = amounts(TRANSFORMS["rand_augment"], name, 8)
    return [0.0] if len(values) == 1 else values[9::31]


def test_a_seed_gives_the_same_images_and_another_seed_others():
    assert drawn(50, strong="trivial_augment") == drawn(50, strong="trivial_augment")
    assert drawn(50, strong="trivial_augment") != drawn(50, 1, strong="trivial_augment")


STRONG = {"translate": 1, "flip": True, "rotate": 5.0, "brightness": 0.2, "noise": 0.1}
STRONG |= {"strong": "trivial_augment", "erase": 0.5}
WEAK = {"translate": 1, "flip": True}


@pytest.mark.parametrize("method", ["mean_teacher", "pi_model"])
@pytest.mark.parametrize("noise", [None, 0.2])
def test_a_weak_second_view_is_cropped_shifted_and_mirrored_alone(method, noise):
    teacher = {} if noise is None else {"noise": noise}
    strong = config(method=method, augmentation=STRONG, teacher=teacher | {"augmentation": "weak"})
    weak = config(method=method, augmentation=WEAK, teacher=teacher)
    (_, student, second), (_, _, expected) = (Trainer(one).preview_views(16) for one in (strong, weak))
    assert torch.equal(second, expected)
    assert not torch.equal(student, Trainer(weak).preview_views(16)[1])
