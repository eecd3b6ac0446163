"""Tests for networks and data sets of your own: what the trainer relies on, with messages that say what is wrong.

    def test_my_network_does_what_the_trainer_expects():
        check_model("my_net", width=8)

They raise AssertionError, also under `python -O`.
"""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainers.config import ModelSettings, TrainerConfig
from trainers.config.compatibility import check_image_size
from trainers.config.plugins import DATASETS, MODELS
from trainers.data.arrays import ImageArrays, plugin_images, plugin_key
from trainers.data.sources import check_source
from trainers.data.splits import split_for
from trainers.errors import DataError, WrongNetwork
from trainers.models import Network, build
from trainers.models.plugin import check_state

CLASSES = 5  # of the networks that are tried


def check_model(name: str, image_size: int = 32, channels: tuple[int, ...] = (1, 3), **settings: Any) -> None:
    """Check the network of a plugin on the CPU, for each number of channels and with one head and two.

    It checks: the shape of the logits in train and eval mode; that a seed decides the first weights, and the outputs in
    train mode; that eval mode repeats itself and treats each image on its own; that another network takes its weights
    and then gives its outputs; that it can be copied, as the teacher is; passes in bfloat16; finite gradients for every
    weight; what `parameters` says, if the settings say it; and `dropout`, if the settings have it.

    Args:
        name: of the network.
        image_size: pixels per side of the images to try.
        channels: that the network supports: 1 is grey, 3 is colour.
        settings: of the network.

    Raises:
        ValueError: there is no such network, the settings are wrong (a `pydantic.ValidationError`), or the images are
            smaller than `smallest_image`.
        AssertionError: the network does not do what is expected; the message says what.
    """
    if MODELS.get(name) is None:
        raise ValueError(f"{name!r} is not registered; import its module first. Registered: {_known(MODELS.plugins)}")
    config = _config(model={"name": name, **settings})
    check_image_size(config, image_size)
    for count in channels:
        for heads in (1, 2):
            try:
                _check_network(config, count, heads, image_size)
            except Exception as error:  # of whatever the network is made of
                where = f"model {name} with {count} channels, {heads} heads, images of {image_size} pixels"
                kind = "" if isinstance(error, AssertionError | WrongNetwork) else f"{type(error).__name__}: "
                raise AssertionError(f"{where}: {kind}{error}") from error


def check_dataset(name: str, **settings: Any) -> None:
    """Check the data set of a plugin.

    It checks: the arrays, their types, shapes and labels; that a second call returns the same images; that the key is
    the same text each time; and that the images suffice for `labels`, `validation` and `verdict`.

    Args:
        name: of the data set.
        settings: of the data set; `labels` and `validation` too.

    Raises:
        ValueError: there is no such data set, or the settings are wrong (a `pydantic.ValidationError`).
        AssertionError: the data set does not do what is expected; the message says what.
    """
    plugin = DATASETS.get(name)
    if plugin is None:
        raise ValueError(f"{name!r} is not registered; import its module first. Registered: {_known(DATASETS.plugins)}")
    config = _config(dataset={"name": name, **settings}, batch_size=2, labeled_batch_fraction=1.0)
    dataset = config.dataset
    try:
        check_source(dataset)
        first, second = plugin_images(plugin, dataset), plugin_images(plugin, dataset)
        keys = {plugin_key(plugin, dataset) for _ in range(2)}
        split_for(config, first.train_labels, first.classes, first.train.shape[1])
    except DataError as error:
        raise AssertionError(str(error)) from error
    _require(len(keys) == 1, f"dataset {name}: its key differs between two calls; expected: the same text")
    _require(
        _same_images(first, second),
        f"dataset {name}: two calls return different images; expected: the same, so that every machine has them; draw "
        "random numbers from a generator with a fixed seed",
    )


def _check_network(config: TrainerConfig, channels: int, heads: int, size: int) -> None:
    network, again = (_seeded(config, channels, heads) for _ in range(2))
    check_state(network)
    _require(
        _equal(network.state_dict(), again.state_dict()),
        "two networks of one seed have different weights; expected: the same; draw them from torch's global generator",
    )
    images = torch.rand(4, channels, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    outputs = []
    for one in (network, again):
        torch.manual_seed(1)
        outputs.append(one.train().forward_heads(images))
    _check_logits(outputs[0], heads, len(images), "in train mode")
    _require(
        all(map(torch.equal, *outputs)),
        "two passes in train mode of one seed differ; expected: the same; take random numbers from torch's generator",
    )
    _check_gradients(network, outputs[0])
    _check_eval(network.eval(), images, heads)
    other = _seeded(config, channels, heads, seed=2)
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        expected = network(images)
        _require(
            torch.equal(other.eval()(images), expected),
            "a network with the same state_dict gives other outputs; expected: the same; keep all that is learned in "
            "parameters and persistent buffers",
        )
        _require(
            torch.equal(copy.deepcopy(network)(images), expected), "a deep copy gives other outputs; expected: the same"
        )
        with torch.autocast("cpu", torch.bfloat16):
            _check_logits(network.train().forward_heads(images), heads, len(images), "in bfloat16")
        _check_dropout(config, network, images)
    _check_parameters(config, network)


def _check_logits(logits: tuple[Tensor, Tensor], heads: int, images: int, when: str) -> None:
    for one in logits:
        expected = (images, CLASSES)
        _require(one.shape == expected, f"logits {list(one.shape)} {when}; expected: {list(expected)}")
        _require(one.dtype == torch.float32, f"logits of {one.dtype} {when}; expected: torch.float32")
        _require(bool(one.isfinite().all()), f"logits {when} are not finite; expected: numbers")
    _require((logits[0] is logits[1]) == (heads == 1), f"{heads} heads give the wrong number of logits {when}")


def _check_gradients(network: nn.Module, logits: tuple[Tensor, Tensor]) -> None:
    targets = torch.arange(len(logits[0])) % CLASSES
    loss = sum((nn.functional.cross_entropy(one, targets) for one in logits), torch.zeros(()))
    loss.backward()  # type: ignore[no-untyped-call]
    for name, weight in network.named_parameters():
        _require(weight.requires_grad, f"{name} is frozen; expected: every parameter is trained; make it a buffer")
        _require(weight.grad is not None, f"no gradient reaches {name}; expected: every parameter is used")
        assert weight.grad is not None
        _require(bool(weight.grad.isfinite().all()), f"the gradient of {name} is not finite; expected: numbers")


def _check_eval(network: Network, images: Tensor, heads: int) -> None:
    with torch.no_grad():
        before = {name: value.clone() for name, value in network.state_dict().items()}
        logits = network.forward_heads(images)
        _check_logits(logits, heads, len(images), "in eval mode")
        _require(
            torch.equal(network(images), logits[0]),
            "two passes in eval mode differ; expected: the same, without random numbers",
        )
        _require(_equal(network.state_dict(), before), "a pass in eval mode changes its state; expected: no change")
        alone = torch.cat([network(image[None]) for image in images])
        _require(
            torch.allclose(alone, logits[0], rtol=1e-3, atol=1e-4),
            "in eval mode an image's logits depend on the others of its batch; expected: each image on its own",
        )


def _check_dropout(config: TrainerConfig, network: Network, images: Tensor) -> None:
    if not hasattr(config.model, "dropout"):
        return
    outputs = []
    for probability in (0.0, 0.9):
        network.set_dropout(probability)
        torch.manual_seed(1)
        outputs.append(network.train()(images))
    _require(
        not torch.equal(*outputs),
        "its settings have dropout, and another probability changes nothing; expected: its Dropout layers are passed",
    )


def _check_parameters(config: TrainerConfig, network: Network) -> None:
    settings: Any = config.model
    stated, counted = settings.parameters, sum(weight.numel() for weight in network.features.parameters())
    is_assumed = type(settings).parameters is ModelSettings.parameters
    _require(
        is_assumed or counted / 2 <= stated <= 2 * counted + 10_000,
        f"parameters says {stated:,} and the network has {counted:,}; expected: about as many; forecasts rely on it",
    )


def _seeded(config: TrainerConfig, channels: int, heads: int, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return build(config.model, channels, CLASSES, heads)


def _config(**changes: Any) -> TrainerConfig:
    images = {"name": "image_folder", "root": "any", "labels": 50, "validation": 300}  # which are not read
    settings = {"dataset": images, "steps": 10, "method": "supervised", "augmentation": {"translate": 0}}
    return TrainerConfig.model_validate(settings | changes)


def _same_images(one: ImageArrays, other: ImageArrays) -> bool:
    names = ("train", "train_labels", "test", "test_labels")
    return one.classes == other.classes and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in names
    )


def _equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _known(plugins: dict[str, Any]) -> str:
    return ", ".join(sorted(plugins)) or "nothing"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
