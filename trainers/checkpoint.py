"""Checkpoints (all that a run needs to continue exactly) and model files (all that a prediction needs).

Nothing is unpickled: checkpoints are read with `weights_only=True`, and model files are safetensors.
"""

import hashlib
import io
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from trainers.config import ModelConfig, Timm, TrainerConfig
from trainers.config.plugins import MODELS, missing_plugins, plugins_of
from trainers.data.geometry import center_crop
from trainers.data.normalization import Normalization, load_normalization
from trainers.devices import products
from trainers.errors import CheckpointError, DataError, MissingPlugin, UnreadableCheckpoint, WrongNetwork
from trainers.files import CHECKPOINT, PREVIOUS_CHECKPOINT, write_atomically
from trainers.models import build, is_changed
from trainers.models.timm_network import parameter_count

CHECKPOINT_FORMAT = "mt-sweeps-checkpoint/3"
MODEL_FORMAT = "mt-sweeps-model/4"
# Also read: some networks have changed since, and are built as they were for model files.
EARLIER_CHECKPOINT_FORMAT = "mt-sweeps-checkpoint/2"
EARLIER_MODEL_FORMAT = "mt-sweeps-model/3"
LARGEST_IMAGE = 2048
"""Pixels per side of the largest images that a model file may be for."""
_MOST_PER_VALUE = 3  # weights of a network, as they are estimated, for each value in its file
_MISFITS = (KeyError, TypeError, StopIteration, ValueError, RuntimeError, RecursionError, DataError, WrongNetwork)
_OF_THE_DEVICE = (torch.OutOfMemoryError, torch.AcceleratorError)
_ORIGIN = {"config", "data", "device"}


def save_checkpoint(
    directory: Path, config: TrainerConfig, data: str, device: torch.device, state: dict[str, Any]
) -> None:
    """Write the whole state of a run, atomically. The checkpoint that was there becomes the previous one.

    The file is a SHA-256, since torch does not notice damage, and then what `torch.save` writes.

    Args:
        directory: of the run.
        config: of the run. Only a run with the same configuration, images and kind of device can continue from it.
        data: fingerprint of the images.
        device: of the run.
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
    """Return the last state that `save_checkpoint` wrote, or None if it has written nothing.

    If the last file is damaged or is no checkpoint, it is renamed, with a warning, and the one before it is used.

    Raises:
        UnreadableCheckpoint: there is no earlier one, or it is damaged too.
        CheckpointError: the checkpoint belongs to another configuration, other images or another kind of device.
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


def saved_fold(directory: Path) -> int:
    """Return the fold of a cross-validation whose training the last readable checkpoint belongs to; 0 if there is none.

    Raises:
        UnreadableCheckpoint: there are checkpoints, and none can be read.
    """
    problem = None
    for name in (CHECKPOINT, PREVIOUS_CHECKPOINT):
        try:
            if (directory / name).exists():
                return int(
                    json.loads(_read(directory / name, torch.device("cpu"))["config"])["dataset"].get("fold") or 0
                )
        except UnreadableCheckpoint as error:
            problem = error
    if problem is not None:
        raise problem
    return 0


def _load(path: Path, config: TrainerConfig, data: str, device: torch.device) -> dict[str, Any] | None:
    state = _read(path, device)
    formats = {CHECKPOINT_FORMAT} | (set() if is_changed(config.model) else {EARLIER_CHECKPOINT_FORMAT})
    if state["format"] not in formats:
        raise UnreadableCheckpoint(f"{path} is not a checkpoint of format {CHECKPOINT_FORMAT}")
    if not _is_same(state["config"], config):
        fold = config.dataset.fold
        if fold and _is_same(state["config"], config.of_fold(fold - 1)):
            return None  # of the fold before, whose training has ended
        raise CheckpointError(f"{path} was written by a run of another configuration")
    if state["data"] != data:
        raise CheckpointError(f"{path} was written by a run on other images: they have changed since")
    if state["device"] != device.type:
        raise CheckpointError(f"{path} was written on {state['device']} and cannot go on exactly on {device.type}")
    return state


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    """Return the content of a checkpoint of any configuration.

    Raises:
        UnreadableCheckpoint: it is damaged, or no checkpoint.
    """
    with path.open("rb") as file:
        digest, content = file.read(32), file.read()
    if hashlib.sha256(content).digest() != digest:
        raise UnreadableCheckpoint(f"{path} cannot be read as a checkpoint: it is torn, damaged or foreign")
    try:
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except _OF_THE_DEVICE:  # it is full, or lost
        raise
    except Exception as error:  # a forged file can make torch raise anything
        raise UnreadableCheckpoint(f"{path} cannot be read as a checkpoint: {error}") from None
    formats = {CHECKPOINT_FORMAT, EARLIER_CHECKPOINT_FORMAT}
    if not isinstance(state, dict) or state.get("format") not in formats or not state.keys() >= _ORIGIN:
        raise UnreadableCheckpoint(f"{path} is not a checkpoint of format {CHECKPOINT_FORMAT}")
    return state


def _is_same(saved: str, config: TrainerConfig) -> bool:
    """Return whether a saved configuration is this one. A setting that it lacks is newer, and has its default."""
    try:
        return TrainerConfig.model_validate_json(saved) == config
    except ValueError:
        return False


@dataclass(frozen=True)
class Model:
    """A trained network, with all that is needed to classify images.

    Attributes:
        network: in eval mode, from normalised float [b, channels, height, width] to logits [b, classes].
        normalization: turns uint8 [b, height, width, channels] into the network's input.
        classes: names, in the order of the logits.
        image_size: pixels per side of the images that it was trained on, before any crop.
        channels: of these images: 1 is grey, 3 is colour.
        config: of the run that trained it.
        color_share: of its labeled images, the share of those in colour; None: not known.
    """

    network: nn.Module
    normalization: Normalization
    classes: list[str]
    image_size: int
    channels: int
    config: TrainerConfig
    color_share: float | None = None

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Return the network's logits for images. If it was trained on crops, it sees the centre of each image.

        Args:
            images: uint8 [n, image_size, image_size, channels], on the device of the network.

        Returns:
            float [n, classes].
        """
        pixels = center_crop(self.normalization(images), self.config.augmentation.crop)
        with products(images.device, self.config.precision):
            logits: Tensor = self.network(pixels)
        return logits


def save_model(
    path: Path,
    network: nn.Module,
    normalization: Normalization,
    classes: list[str],
    image_size: int,
    channels: int,
    config: TrainerConfig,
    first_weights: str | None = None,
    color_share: float | None = None,
) -> None:
    """Write a network as safetensors, atomically. The header holds its configuration and the other facts of `Model`.

    `first_weights` is the SHA-256 of the file that the network started from, if there was one.
    """
    tensors: dict[str, Tensor] = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"normalization.{name}": value for name, value in normalization.tensors().items()}
    facts = {
        "format": MODEL_FORMAT,
        "channels": str(channels),
        "image_size": str(image_size),
        "classes": json.dumps(classes),
        "config": config.model_dump_json(),
        **({} if first_weights is None else {"first_weights": first_weights}),
        **({} if color_share is None else {"color_share": f"{color_share:.4f}"}),
    }
    if plugins := {plugin.module for plugin in plugins_of(config)}:
        facts["plugins"] = json.dumps(sorted(plugins))  # for the error of a process that has not imported them
    write_atomically(path, save({name: value.contiguous() for name, value in tensors.items()}, facts))


def load_model(path: Path, device: str = "cpu") -> Model:
    """Read what `save_model` wrote, in this version or with the format before.

    Nothing is imported because the file says so: a plugin that it needs must have been imported. Nor is memory taken:
    the sizes that its header names are first compared with those of its tensors.

    Raises:
        MissingPlugin: its network or its data set is of a plugin that was not imported.
        CheckpointError: the file is damaged, is not a model file of this format, its weights do not fit its
            configuration, or they are not finite.
    """
    facts: dict[str, str] = {}
    try:
        with safe_open(path, framework="pt", device=device) as file:
            facts = file.metadata() or {}
            if facts.get("format") not in (MODEL_FORMAT, EARLIER_MODEL_FORMAT):
                other = _other_version(facts.get("format"))
                raise CheckpointError(f"{path} is not a model of format {MODEL_FORMAT}{other}")
            names = list(file.keys())
            config = TrainerConfig.model_validate_json(facts["config"])
            classes, size, channels = json.loads(facts["classes"]), int(facts["image_size"]), int(facts["channels"])
            color_share = float(facts["color_share"]) if "color_share" in facts else None
            shapes = {name: file.get_slice(name).get_shape() for name in names}
            _check_sizes(config.model, classes, size, channels, shapes)
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as a model: {error}") from None
    except _MISFITS as error:
        raise _misfit(path, facts, error) from None
    for name, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise CheckpointError(f"{path}: its weights are not finite: {name}")
    try:
        parts: dict[str, dict[str, Tensor]] = {"normalization.": {}, "network.": {}}
        for name, value in tensors.items():
            part = next(part for part in parts if name.startswith(part))
            parts[part][name.removeprefix(part)] = value
        normalization = load_normalization(config.normalization, parts["normalization."])
        earlier = facts["format"] == EARLIER_MODEL_FORMAT
        network = build(config.model, channels, len(classes), config.heads, earlier).to(device)
        network.load_state_dict(parts["network."])
        model = Model(network.eval(), normalization, classes, size, channels, config, color_share)
        model.logits(torch.zeros(1, size, size, channels, dtype=torch.uint8, device=device))  # sizes that do not fit
    except _OF_THE_DEVICE:  # no fault of the file
        raise
    except _MISFITS as error:
        raise _misfit(path, facts, error) from None
    return model


def _check_sizes(
    settings: ModelConfig, classes: Any, size: int, channels: int, shapes: Mapping[str, Sequence[int]]
) -> None:
    """Make sure that the network of a file takes no more memory than the file itself, about, and an image not much.

    Args:
        settings: of the network.
        classes: names of the classes, if the file is none that was tampered with.
        size: pixels per side of an image.
        channels: of an image.
        shapes: of the tensors of the file.

    Raises:
        ValueError: it would take more.
    """
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise ValueError("classes are no list of names")
    if not (1 <= size <= LARGEST_IMAGE and channels in (1, 3)):
        raise ValueError(f"images have from 1 to {LARGEST_IMAGE} pixels per side and 1 or 3 channels")
    if not any(shape[:1] == [len(classes)] for name, shape in shapes.items() if name.startswith("network.classifier.")):
        raise ValueError(f"it has {len(classes):,} classes, and no weights for so many")
    values = sum(map(math.prod, shapes.values()))
    weights = parameter_count(settings.architecture) if isinstance(settings, Timm) else settings.parameters
    if settings.name not in MODELS.plugins and weights > _MOST_PER_VALUE * values:
        raise ValueError(f"the network of its configuration has more weights than the file ({values:,})")


def _misfit(path: Path, facts: dict[str, str], error: Exception) -> CheckpointError | MissingPlugin:
    """Return the error for a file whose parts do not fit together."""
    if isinstance(error, ValidationError) and (missing := missing_plugins(_plugins_in(facts))):
        return MissingPlugin(path, missing)
    cause = " ".join(str(error).split())
    return CheckpointError(f"{path}: its weights and its configuration do not fit: {cause[:300]}")


def plugins_in(path: Path) -> list[str]:
    """Return the modules of the plugins that a model file needs. They are not imported."""
    with safe_open(path, framework="pt") as file:
        return _plugins_in(file.metadata() or {})


def _plugins_in(facts: dict[str, str]) -> list[str]:
    try:
        names = json.loads(facts.get("plugins", "[]"))
    except ValueError:
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _other_version(format_name: str | None) -> str:
    """Return what to do with a file of another version's format, or nothing if it is no file of this package."""
    known = (format_name or "").startswith("mt-sweeps-")
    return f", but of {format_name}; use the version that wrote it" if known else ""
