"""Try a run's network before the run: can it be built, do its first weights fit, does it take the images?"""

from dataclasses import dataclass

import torch

from trainers.config import TrainerConfig, WithWeights
from trainers.config.model import network_name
from trainers.config.plugins import MODELS
from trainers.errors import DataError, WrongNetwork
from trainers.models import build
from trainers.models.first_weights import load_first_weights, read_first_weights
from trainers.models.plugin import check_state


@dataclass(frozen=True)
class Inspection:
    """What is known of a network that can be trained.

    Attributes:
        weights: SHA-256 of the file of first weights; None: they are drawn at random.
        loaded: tensors that the file gave.
        unused: names in the file that the network has no use for.
    """

    weights: str | None
    loaded: int
    unused: list[str]


@torch.no_grad()
def inspect_network(config: TrainerConfig, channels: int, classes: int, image_size: int) -> Inspection:
    """Build the network of a run and let two black images pass; a plugin's in train mode too, and save its weights.

    Args:
        config: of the run.
        channels: of the images.
        classes: of the data set.
        image_size: pixels per side, before any crop.

    Raises:
        DataError: the network does not exist, its weights are missing or of another one, or it refuses the images.
        WrongNetwork: the network of a plugin cannot be made, or refuses the images.
    """
    with torch.random.fork_rng([]):
        network = build(config.model, channels, classes, config.heads).eval()
        weights, loaded, unused = None, 0, []
        if isinstance(config.model, WithWeights) and config.model.weights is not None:
            first = read_first_weights(config.model)
            unused = load_first_weights(network.features, first)
            weights, loaded = first.origin.sha256, len(first.tensors) - len(unused)
        size = config.augmentation.crop or image_size
        plugin, images = MODELS.get(config.model.name), torch.zeros(2, channels, size, size)
        try:
            network(images)
            if plugin is not None:
                network.train()(images)
                check_state(network)
        except Exception as error:  # of whatever the network is made of
            cause = " ".join(str(error).split())
            if plugin is not None:
                shape = [2, channels, size, size]
                raise WrongNetwork(f"model {config.model.name}: {plugin}: on images {shape}: {cause}") from error
            raise DataError(
                f"model: {network_name(config.model)} cannot take images of {size}x{size} pixels: {cause[:200]}; set "
                "dataset.image_size or augmentation.crop to a size that it takes"
            ) from None
    return Inspection(weights, loaded, unused)
