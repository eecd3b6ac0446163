"""The networks of timm, by the name of their architecture. timm takes seconds to load, so it is imported late."""

from difflib import get_close_matches
from typing import Any

import torch

from trainers.errors import DataError
from trainers.models.network import Network


def timm_network(channels: int, classes: int, heads: int, architecture: str) -> Network:
    """Build a network of timm, with heads of ours. Its weights are drawn at random.

    Args:
        channels: of the images.
        classes: length of the logits.
        heads: 1 or 2.
        architecture: as timm names it.

    Raises:
        DataError: timm has no such architecture, or has it for colour images alone.
    """
    import timm

    check_architecture(architecture)
    try:
        features = timm.create_model(architecture, pretrained=False, num_classes=0, in_chans=channels)
    except (TypeError, RuntimeError, AssertionError) as error:
        cause = " ".join(str(error).split())[:200]
        raise DataError(f"model.architecture: {architecture} takes no images of {channels} channels: {cause}") from None
    width: Any = getattr(features, "head_hidden_size", features.num_features)
    return Network(features, width, classes, heads)


def published(architecture: str) -> Any:
    """Return timm's facts about an architecture's published weights, or None if there are none.

    Raises:
        DataError: timm has no such architecture.
    """
    from timm.models import get_pretrained_cfg

    check_architecture(architecture)
    try:
        return get_pretrained_cfg(architecture)
    except RuntimeError as error:
        raise DataError(f"model.architecture: {' '.join(str(error).split())}") from None


def parameter_count(architecture: str) -> int:
    """Return how many weights an architecture has, without the heads. No memory is taken for them.

    Raises:
        DataError: timm has no such architecture.
    """
    with torch.device("meta"):
        network = timm_network(3, 1, 1, architecture)
    return sum(parameter.numel() for parameter in network.parameters())


def check_architecture(architecture: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        DataError: timm has no such architecture; which are the nearest.
    """
    import timm

    if not timm.is_model(architecture):
        near = get_close_matches(architecture, timm.list_models(), n=3)
        meant = f"did you mean {', '.join(near)}? " if near else ""
        raise DataError(
            f"model.architecture: timm has no {architecture!r}; {meant}timm.list_models() names all that it has"
        )
