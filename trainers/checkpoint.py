"""Checkpoints (all that a run needs to go on exactly) and model files (all that a prediction needs).

Nothing here unpickles: checkpoints are read with `weights_only=True`, model files are safetensors.
"""

import hashlib
import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from trainers.config import TrainerConfig
from trainers.data.geometry import center_crop
from trainers.data.normalization import Normalization, load_normalization
from trainers.errors import CheckpointError, UnreadableCheckpoint
from trainers.files import CHECKPOINT, PREVIOUS_CHECKPOINT, write_atomically
from trainers.models import build

CHECKPOINT_FORMAT = "mt-sweeps-checkpoint/2"
MODEL_FORMAT = "mt-sweeps-model/3"
_ORIGIN = {"config", "data", "device"}


def save_checkpoint(
    directory: Path, config: TrainerConfig, data: str, device: torch.device, state: dict[str, Any]
) -> None:
    """Write the whole state of a run, atomically; the checkpoint that was there becomes the previous one.

    A file is the SHA-256 of what follows, since torch does not notice damage, and what `torch.save` writes.

    Args:
        directory: where to.
        config: of the run; only a run of the same configuration may go on from it,
        data: and of the same images, by their fingerprint,
        device: and on the same kind of device.
        state: tensors, numbers, strings, and dicts and lists of them.
    """
    buffer = io.BytesIO()
    origin = {"config": config.model_dump_json(), "data": data, "device": device.type}
    torch.save({"format": CHECKPOINT_FORMAT, **origin, **state}, buffer)
    if (directory / CHECKPOINT).exists():
        (directory / CHECKPOINT).replace(directory / PREVIOUS_CHECKPOINT)
    content = buffer.getvalue()
    write_atomically(directory / CHECKPOINT, hashlib.sha256(content).digest() + content)


def load_latest_checkpoint(
    directory: Path, config: TrainerConfig, data: str, device: torch.device
) -> dict[str, Any] | None:
    """The last state that `save_checkpoint` wrote; none: it has written nothing.

    If the last file is torn or foreign, it is set aside under another name, with a warning, and the one before is used.

    Raises:
        UnreadableCheckpoint: there is no other one, or it is torn too.
        CheckpointError: what is there is of another configuration, images or device.
    """
    last, previous = directory / CHECKPOINT, directory / PREVIOUS_CHECKPOINT
    if last.exists():
        try:
            return _load(last, config, data, device)
        except UnreadableCheckpoint as error:
            if not previous.exists():
                raise
            try:
                state = _load(previous, config, data, device)
            except UnreadableCheckpoint as second:
                raise UnreadableCheckpoint(f"{error}; and the one before it: {second}") from None
            aside = last.replace(last.with_suffix(".unreadable"))
            warnings.warn(f"{error}; kept as {aside.name}; going on from {previous}", stacklevel=3)
            return state
    return _load(previous, config, data, device) if previous.exists() else None


def _load(path: Path, config: TrainerConfig, data: str, device: torch.device) -> dict[str, Any]:
    with path.open("rb") as file:
        digest, content = file.read(32), file.read()
    if hashlib.sha256(content).digest() != digest:
        raise UnreadableCheckpoint(f"{path} cannot be read as a checkpoint: it is torn, damaged or foreign")
    try:
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:  # whatever a file that somebody made up makes torch stumble over
        raise UnreadableCheckpoint(f"{path} cannot be read as a checkpoint: {error}") from None
    if not isinstance(state, dict) or state.get("format") != CHECKPOINT_FORMAT or not state.keys() >= _ORIGIN:
        raise UnreadableCheckpoint(f"{path} is not a checkpoint of format {CHECKPOINT_FORMAT}")
    if state["config"] != config.model_dump_json():
        raise CheckpointError(f"{path} was written by a run of another configuration")
    if state["data"] != data:
        raise CheckpointError(f"{path} was written by a run on other images: they have changed since")
    if state["device"] != device.type:
        raise CheckpointError(f"{path} was written on {state['device']} and cannot go on exactly on {device.type}")
    return state


@dataclass(frozen=True)
class Model:
    """A trained network with all that is needed to classify images.

    Attributes:
        network: in eval mode, from normalised float [b, channels, height, width] to logits [b, classes].
        normalization: turns uint8 [b, height, width, channels] into the network's input.
        classes: names, in the order of the logits.
        image_size: pixels a side of the images that it was trained on, before any crop.
        channels: of them: 1 is grey, 3 is colour.
        config: of the run that trained it.
    """

    network: nn.Module
    normalization: Normalization
    classes: list[str]
    image_size: int
    channels: int
    config: TrainerConfig

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """What the network says of images: of their centre, if it was trained on crops.

        Args:
            images: uint8 [n, image_size, image_size, channels], on the device of the network.

        Returns:
            float [n, classes].
        """
        seen = center_crop(self.normalization(images), self.config.augmentation.crop)
        said: Tensor = self.network(seen)
        return said


def save_model(
    path: Path,
    network: nn.Module,
    normalization: Normalization,
    classes: list[str],
    image_size: int,
    config: TrainerConfig,
) -> None:
    """Write one network as safetensors, its configuration and what else `Model` has in the header, atomically."""
    tensors: dict[str, Tensor] = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"normalization.{name}": value for name, value in normalization.tensors().items()}
    channels = next(layer.in_channels for layer in network.modules() if isinstance(layer, nn.Conv2d))
    facts = {
        "format": MODEL_FORMAT,
        "channels": str(channels),
        "image_size": str(image_size),
        "classes": json.dumps(classes),
        "config": config.model_dump_json(),
    }
    write_atomically(path, save({name: value.contiguous() for name, value in tensors.items()}, facts))


def load_model(path: Path, device: str = "cpu") -> Model:
    """Read what `save_model` wrote.

    Raises:
        CheckpointError: the file is torn, or not a model of ours, or its weights are not those of its configuration.
    """
    try:
        with safe_open(path, framework="pt", device=device) as file:
            facts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as a model: {error}") from None
    if facts.get("format") != MODEL_FORMAT:
        raise CheckpointError(f"{path} is not a model of format {MODEL_FORMAT}{_named(facts.get('format'))}")
    try:
        config = TrainerConfig.model_validate_json(facts["config"])
        classes = json.loads(facts["classes"])
        parts: dict[str, dict[str, Tensor]] = {"normalization.": {}, "network.": {}}
        for name, value in tensors.items():
            part = next(part for part in parts if name.startswith(part))
            parts[part][name.removeprefix(part)] = value
        normalization = load_normalization(config.normalization, parts["normalization."])
        size, channels = int(facts["image_size"]), int(facts["channels"])
        network = build(config.model, channels, len(classes), config.heads).to(device)
        network.load_state_dict(parts["network."])
        model = Model(network.eval(), normalization, classes, size, channels, config)
        model.logits(torch.zeros(1, size, size, channels, dtype=torch.uint8, device=device))  # what else does not fit
    except (KeyError, TypeError, StopIteration, ValueError, RuntimeError) as error:
        cause = " ".join(str(error).split())
        raise CheckpointError(f"{path}: its weights and its configuration do not fit: {cause[:300]}") from None
    return model


def _named(found: str | None) -> str:
    return f", but of {found}; use the version that wrote it" if (found or "").startswith("mt-sweeps-") else ""
