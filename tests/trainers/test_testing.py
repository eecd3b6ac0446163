"""The checks for networks and data sets of one's own find what the trainer would stumble over."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.plugins import Squares, Tiny, WithDropout, plugins, squares, tiny  # noqa: F401 (a fixture)
from trainers import ImageArrays, register_dataset, register_model
from trainers.config.plugins import DATASETS
from trainers.models import Dropout
from trainers.testing import check_dataset, check_model

pytestmark = pytest.mark.usefixtures("plugins")


class Overstated(Tiny):
    @property
    def parameters(self):
        return 1_000_000


class Layer(nn.Module):
    """A layer of a few lines, on averages of the pixels."""

    def __init__(self, channels, forward=lambda layer, means: layer.linear(means)):
        super().__init__()
        self.linear, self.spare = nn.Linear(channels, 4), nn.Identity()
        self.seen = torch.zeros(())
        self.register_buffer("count", torch.zeros(()))
        self.change = forward

    def forward(self, images):
        return self.change(self, images.mean((2, 3)))


def layer(forward, **attributes):
    def made(_, channels):
        one = Layer(channels, forward)
        for name, value in attributes.items():
            setattr(one, name, value(one))
        return one, 4

    return made


def freezes(one):
    one.linear.bias.requires_grad_(False)
    return one.change


def counts(one, means):
    one.count = one.count + 1
    return one.linear(means)


def remembers(one, means):
    if one.training:
        one.seen = means.mean()
    return one.linear(means) + one.seen


def unseeded(_, channels):
    one = Layer(channels)
    nn.init.normal_(one.linear.weight, generator=torch.Generator().manual_seed(torch.seed() % 2**31))
    return one, 4


class Skipping(Layer):
    def __init__(self, channels):
        super().__init__(channels)
        self.dropped = Dropout(0.5)


def test_a_good_network_passes_for_every_number_of_channels_and_heads():
    register_model(Tiny)(tiny)
    check_model("tiny", width=3)


@pytest.mark.parametrize(
    ("function", "settings", "message"),
    [
        (
            lambda _, channels: (nn.Flatten(), channels),
            Tiny,
            r"the features of 4 images have the shape .*; expected: \[b, 1\]",
        ),
        (lambda *_: (nn.Linear(8, 4), 4), Tiny, r"the features of 4 images have the shape \[4, 1, 8, 4\]"),
        (lambda *_: (nn.Linear(7, 4), 4), Tiny, "RuntimeError: .*mat1 and mat2 shapes cannot be multiplied"),
        (layer(lambda one, x: (one.linear(x),)), Tiny, "the features are tuple; expected: a floating-point tensor"),
        (unseeded, Tiny, "two networks of one seed have different weights"),
        (layer(lambda one, x: one.linear(x) + np.random.rand()), Tiny, "two passes in train mode of one seed differ"),
        (layer(lambda one, x: one.linear(x).detach()), Tiny, "no gradient reaches features.linear"),
        (
            layer(lambda one, x: one.linear(x), spare=lambda _: nn.Linear(1, 1)),
            Tiny,
            "reaches features.spare",
        ),
        (layer(lambda one, x: one.linear(x) + torch.rand(())), Tiny, "two passes in eval mode differ"),
        (layer(counts), Tiny, "a pass in eval mode changes its state"),
        (layer(lambda one, x: one.linear(x - x.mean(0))), Tiny, "an image's logits depend on the others of its batch"),
        (layer(remembers), Tiny, "a network with the same state_dict gives other outputs"),
        (layer(lambda one, x: one.linear(x), spare=lambda one: one.linear), Tiny, "its state_dict cannot be saved"),
        (layer(lambda one, x: one.linear(x) / 0), Tiny, "logits in train mode are not finite"),
        (lambda _, channels: (Skipping(channels), 4), WithDropout, "another probability changes nothing"),
        (lambda _, channels: (Layer(channels), 4), Overstated, "parameters says 1,000,000 and the network has 8"),
    ],
)
def test_what_is_wrong_with_a_network_is_said(function, settings, message):
    register_model(settings)(function)
    with pytest.raises(AssertionError, match=f"model tiny with 1 channels, 1 heads, images of 8 pixels: .*{message}"):
        check_model("tiny", image_size=8)


def test_a_frozen_weight_is_named():
    register_model(Tiny)(layer(lambda one, x: one.linear(x), change=freezes))
    with pytest.raises(AssertionError, match=r"features.linear.bias is frozen; expected: every parameter is trained"):
        check_model("tiny", image_size=8)


def test_a_good_data_set_passes():
    register_dataset(Squares)(squares)
    check_dataset("squares", labels=4, validation=10)


def test_what_is_wrong_with_a_data_set_is_said():
    def random(_):
        pixels = np.random.default_rng().integers(0, 256, (40, 8, 8, 1), np.uint8)
        return ImageArrays(pixels, np.arange(40) % 2, ["a", "b"])

    register_dataset(Squares)(random)
    with pytest.raises(AssertionError, match="two calls return different images; expected: the same"):
        check_dataset("squares", labels=4, validation=10)
    DATASETS.remove("squares")
    register_dataset(Squares, lambda _: str(np.random.default_rng().random()))(squares)
    with pytest.raises(AssertionError, match="its key differs between two calls"):
        check_dataset("squares", labels=4, validation=10)
    with pytest.raises(AssertionError, match="is more than the 40 training images"):
        check_dataset("squares", labels=4, validation=40)
    DATASETS.remove("squares")
    register_dataset(Squares)(lambda _: None)
    with pytest.raises(AssertionError, match=r"returned NoneType; expected: trainers.ImageArrays"):
        check_dataset("squares", labels=4, validation=10)


def test_names_and_settings_that_are_wrong_are_refused():
    register_model(Tiny)(tiny)
    with pytest.raises(ValueError, match=r"'tinyy' is not registered; import its module first. Registered: .*tiny"):
        check_model("tinyy")
    with pytest.raises(ValueError, match="'squares' is not registered; import its module first"):
        check_dataset("squares", labels=4, validation=10)
    with pytest.raises(ValueError, match=r"model.tiny.widht\n  Extra inputs are not permitted"):
        check_model("tiny", widht=3)
