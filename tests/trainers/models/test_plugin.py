import pytest
import torch
from pydantic import Field, ValidationError
from torch import nn

from tests.helpers.plugins import Squares, Tiny, WithDropout, plugins, squares, tiny  # noqa: F401 (a fixture)
from tests.helpers.training import assert_same, config, finished, results, weights
from trainers import Trainer, register_dataset, register_model
from trainers.checkpoint import load_model
from trainers.config import ModelSettings
from trainers.config.plugins import DATASETS, MODELS
from trainers.errors import MissingPlugin, WrongNetwork
from trainers.models import Dropout, build
from trainers.models.inspection import inspect_network

pytestmark = pytest.mark.usefixtures("plugins")

FLAT = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Pooled(nn.Module):
    """Averages of the pixels, changed by a function in train mode, and in eval mode too unless it is told otherwise."""

    def __init__(self, change, in_eval=True):
        super().__init__()
        self.change, self.in_eval = change, in_eval

    def forward(self, images):
        means = images.mean((2, 3))
        return self.change(means) if self.training or self.in_eval else means


class WithAFact(Pooled):
    def get_extra_state(self):
        return {"a": "fact"}


def with_shared_weights(channels):
    first, second = nn.Linear(channels, channels), nn.Linear(channels, channels)
    second.weight = first.weight
    return nn.Sequential(*FLAT, first, second), channels


class ForLargeImages(Tiny):
    @property
    def smallest_image(self):
        return 16


def made(returned, settings=Tiny):
    register_model(settings)(lambda settings, channels: returned(channels))  # noqa: ARG005
    return config(model={"name": "tiny"})


def test_a_network_gets_its_heads_and_trains_like_the_own_ones():
    register_model(Tiny)(tiny)
    torch.manual_seed(0)
    network = build(Tiny(name="tiny", width=3), channels=3, classes=5, heads=2)
    first, second = network.forward_heads(torch.rand(2, 3, 8, 8))
    assert (first.shape, second.shape) == ((2, 5), (2, 5))
    trainer = finished(config(model={"name": "tiny"}, consistency={"heads": 2}))
    assert trainer.history[-1].metrics["train.consistency_loss"] > 0


def test_a_resumed_run_of_a_plugin_equals_an_uninterrupted_one(tmp_path):
    def dropping(settings, channels):
        layers, width = tiny(settings, channels)
        return nn.Sequential(layers, Dropout(settings.dropout)), width

    register_model(WithDropout)(dropping)
    settings = config(model={"name": "tiny", "dropout": 0.3}, augmentation={"noise": 0.1})
    next(Trainer(settings, tmp_path).run())
    resumed, whole = finished(settings, tmp_path), finished(settings)
    assert results(resumed) == results(whole)
    assert_same(weights(resumed, tmp_path / "resumed"), weights(whole, tmp_path / "whole"))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda _: FLAT, "returned Sequential; expected: a module from float"),
        (lambda _: (FLAT, 1.0), r"returned \('Sequential', 'float'\); expected"),
        (lambda _: (FLAT, 0), "returned the width 0; expected"),
        (
            lambda _: (nn.Sequential(*FLAT, nn.LazyLinear(4)), 4),
            "has lazy layers; give them their sizes: channels is 1",
        ),
        (lambda _: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (
            lambda c: (FLAT, c + 1),
            r"on images \[2, 1, 8, 8\]: the features of 2 images have the shape \[2, 1\]; expected: \[b, 2\]",
        ),
        (
            lambda _: (nn.Conv2d(1, 4, 3), 6),
            r"the features of 2 images have the shape \[2, 4, 6, 6\]; expected: \[b, 6\]",
        ),
        (lambda c: (Pooled(lambda x: x.mean(0)[None]), c), r"of 2 images have the shape \[1, 1\]; expected: \[b, 1\]"),
        (
            lambda c: (Pooled(lambda x: (x, x)), c),
            r"the features are tuple; expected: a floating-point tensor \[b, 1\]",
        ),
        (lambda c: (Pooled(lambda x: x.long()), c), "the features are torch.int64; expected: a floating-point tensor"),
        (lambda _: (nn.Conv2d(3, 4, 3), 4), r"on images \[2, 1, 8, 8\]: Given groups=1"),
    ],
)
def test_a_network_of_another_shape_is_refused_with_what_was_expected(returned, message):
    settings = made(returned)
    with pytest.raises(WrongNetwork, match=f"model tiny: tests.trainers.models.test_plugin.*{message}"):
        inspect_network(settings, channels=1, classes=10, image_size=8)
    with pytest.raises((WrongNetwork, RuntimeError)):
        finished(settings)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda c: (Pooled(lambda x: x[:, :0], in_eval=False), c), r"of 2 images have the shape \[2, 0\]"),
        (lambda c: (WithAFact(lambda x: x), c), "its state_dict cannot be saved .*; expected: dense tensors alone"),
        (with_shared_weights, "its state_dict cannot be saved .Some tensors share memory"),
    ],
)
def test_what_would_fail_in_training_or_at_the_first_checkpoint_is_found_before_the_run(returned, message):
    with pytest.raises(WrongNetwork, match=f"model tiny: tests.trainers.models.test_plugin.*{message}"):
        inspect_network(made(returned), channels=1, classes=10, image_size=8)


def test_dropout_among_the_settings_needs_layers_that_the_teacher_can_change():
    with pytest.raises(WrongNetwork, match=r"its settings have dropout, and it has no trainers.models.Dropout layer"):
        inspect_network(made(lambda c: (FLAT, c), WithDropout), channels=1, classes=10, image_size=8)


def test_trying_a_network_draws_no_random_numbers_and_leaves_the_own_ones_alone():
    register_model(Tiny)(tiny)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for name in ("tiny", "small_cnn"):
        inspect_network(config(model={"name": name}), channels=3, classes=10, image_size=8)
    assert torch.equal(before, torch.get_rng_state())


def test_images_may_be_as_small_as_the_plugin_says():
    register_model(ForLargeImages)(tiny)
    with pytest.raises(ValueError, match="model tiny needs images of at least 16x16 pixels, these have 8x8"):
        config(model={"name": "tiny"})
    assert ModelSettings(name="any").smallest_image == 1


def test_a_model_file_names_the_plugin_that_a_process_without_it_needs(tmp_path):
    register_model(Tiny)(tiny)
    register_dataset(Squares)(squares)
    trainer = finished(
        config(model={"name": "tiny"}, dataset={"name": "squares", "labels": 4, "validation": 10}, batch_size=4)
    )
    trainer.save_model(tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert (model.classes, model.channels, model.config) == (["dark", "bright"], 1, trainer.config)
    MODELS.remove("tiny")
    MODELS.remove("tinier")
    DATASETS.remove("squares")
    with pytest.raises(
        MissingPlugin, match=r"was not imported: tests.helpers.plugins; name it \(--plugin tests.helpers"
    ):
        load_model(tmp_path / "model")


class WithListsAndWeights(Tiny):
    widths: list[int] = Field([3, 4])
    weights: str | None = None


def test_settings_of_a_plugin_may_be_lists_and_a_field_weights_is_its_own():
    register_model(WithListsAndWeights)(tiny)
    settings = config(model={"name": "tiny", "weights": "mine.pth"}, steps=2)
    assert settings.normalization == "per_channel"
    assert hash(settings.model) == hash(settings.model.model_copy())
    assert finished(settings).first_weights is None
    with pytest.raises(ValidationError, match=r"body_learning_rate_factor: 0 would leave random weights"):
        config(model={"name": "tiny", "weights": "mine.pth"}, optimizer={"body_learning_rate_factor": 0.0})
