"""First weights from a file: read without executing anything in it, matched by name, checked by shape."""

import hashlib
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from trainers.config.model import WithWeights
from trainers.errors import DataError
from trainers.models import hub
from trainers.weights_file import weights_file

_SHOWN = 5  # names in a message
_OLD_HEAD = 4  # tensors that one or two linear layers have
# Keys under which trainers keep a network. Averaged weights come first, as timm takes them: they are the better ones.
_WRAPPERS = (
    *("state_dict_ema", "model_ema", "ema", "teacher", "student"),
    *("state_dict", "model_state_dict", "model", "module", "network", "net", "params", "weights"),
)
_NESTED = 3  # such keys, one in another


@dataclass(frozen=True)
class WeightsOrigin:
    """Where first weights come from.

    Attributes:
        sha256: of the file.
        mean: per channel, of the pixels that the weights were trained with, in [0, 255]; None if they were normalised
            in another way.
        std: per channel, likewise; above 0.
    """

    sha256: str
    mean: list[float] | None
    std: list[float] | None


@dataclass(frozen=True)
class FirstWeights:
    """The content of a file of weights.

    Attributes:
        file: for messages.
        origin: what checkpoints and model files keep of it.
        tensors: by their names in the file.
        is_ordered: whether they have the order that they have in the network; safetensors keep none.
    """

    file: Path
    origin: WeightsOrigin
    tensors: dict[str, Tensor]
    is_ordered: bool


def read_first_weights(config: WithWeights) -> FirstWeights:
    """Read the file that a network's settings name, and download it first if that is wanted and it is not here.

    Args:
        config: of the network; its `weights` are not None.

    Raises:
        DataError: there is no such file, it is damaged or holds no weights, or it cannot be downloaded.
    """
    assert config.weights is not None
    try:
        file = hub.fetch(config) if config.weights == "pretrained" else weights_file(config.weights)
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"model.weights: {error.filename or config.weights}: {error.strerror}") from None
    tensors = _tensors(file, content)
    is_safetensors = _is_safetensors(file, content)
    mean, std = _normalization(config, file if is_safetensors else None, tensors)
    origin = WeightsOrigin(hashlib.sha256(content).hexdigest(), mean, std)
    return FirstWeights(file, origin, tensors, is_ordered=not is_safetensors)


def load_first_weights(features: nn.Module, weights: FirstWeights) -> list[str]:
    """Copy weights into the layers below the heads.

    A tensor belongs to the one in the network whose name is the end of its own, so a common prefix does not matter
    (`module.`, `backbone.`, or the `network.features.` of our own model files). If names are missing, the tensors of a
    .pth file are taken in their order, provided that all shapes and last parts of names (`running_mean`) agree. A
    first convolution of colours becomes one of grey images by the sum over its channels, and the other way.

    Args:
        features: of the network, on any device.
        weights: to copy.

    Returns:
        Names in the file that were not used: those of the old head, and of other parts.

    Raises:
        DataError: a tensor of the network has none in the file, or one of another shape.
    """
    wanted = features.state_dict()
    names = _names_in(weights, wanted)
    missing = [name for name in wanted if name not in names and _is_needed(name)]
    if missing and (in_order := _names_in_order(weights, wanted)):
        names, missing = in_order, []
    if missing:
        raise DataError(
            f"model.weights: {weights.file} has no weights for {len(missing)} of the {len(wanted)} tensors of the "
            f"network ({_shortened(missing)}); it holds {_shortened(list(weights.tensors))}: it is of another "
            "architecture; set model.architecture or model.name to that of the file, or use another file"
        )
    others = _more_layers(weights.tensors, names)
    if others:
        raise DataError(
            f"model.weights: {weights.file} has {len(others)} tensors of layers that the network does not have "
            f"({_shortened(others)}): it is of another architecture; set model.architecture or model.name to that of "
            "the file, or use another file"
        )
    chosen = {name: _for_channels(weights.tensors[own], wanted[name]) for name, own in names.items()}
    for name, tensor in chosen.items():
        if tensor.shape != wanted[name].shape:
            stem = "; use model.stem: large" if name == "conv1.weight" else ""
            raise DataError(
                f"model.weights: {weights.file}: {names[name]} has the shape {_size(tensor)}, and the network's {name} "
                f"has {_size(wanted[name])}: the file is of another architecture{stem}"
            )
    for name, tensor in chosen.items():
        if _is_needed(name) and (problem := _why_no_weights(tensor)):
            raise DataError(f"model.weights: {weights.file}: {names[name]} {problem}")
    features.load_state_dict(chosen, strict=False)
    used = set(names.values())
    return [name for name in weights.tensors if name not in used]


def _tensors(file: Path, content: bytes) -> dict[str, Tensor]:
    try:
        if _is_safetensors(file, content):
            state: Any = load_safetensors(content)
        else:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise DataError(f"model.weights: {file} cannot be read as safetensors: {error}") from None
    except Exception as error:  # a forged file can make torch raise anything
        raise DataError(
            f"model.weights: {file} cannot be read as weights alone, and nothing else in it is executed: "
            f"{_torch_cause(error)}; save the network's state_dict() with safetensors.torch.save_file or torch.save"
        ) from None
    for _ in range(_NESTED):
        inner = (state[key] for key in _WRAPPERS if isinstance(state, dict) and isinstance(state.get(key), dict))
        state = next(inner, state)
    tensors = {
        str(name): value
        for name, value in (state.items() if isinstance(state, dict) else ())
        if isinstance(value, Tensor) and not value.is_sparse and _is_needed(str(name))
    }
    if not tensors:
        raise DataError(f"model.weights: {file} holds no tensors by name; save the network's state_dict()")
    return tensors


def _is_safetensors(file: Path, content: bytes) -> bool:
    """Return whether a file is, or should be, one of safetensors: after eight bytes, its header is JSON."""
    return file.suffix == ".safetensors" or content[8:9] == b"{"


def _torch_cause(error: Exception) -> str:
    """Return why torch cannot read a file, without its advice to load what may be code."""
    text = " ".join(str(error).split())
    cause = text.rpartition("WeightsUnpickler error: ")[2].partition(" was not an allowed global")[0]
    return cause.partition(" Check the documentation")[0][:200] or type(error).__name__


def _names_in(weights: FirstWeights, wanted: dict[str, Tensor]) -> dict[str, str]:
    """Return the names in the file of the network's tensors, with the prefix that most of them have there.

    Raises:
        DataError: all of them are there under two prefixes: which is meant?
    """
    given = weights.tensors
    prefixes: Counter[str] = Counter()
    for own in given:
        parts = own.split(".")
        tails = (".".join(parts[i:]) for i in range(len(parts)))
        prefixes.update(own.removesuffix(tail) for tail in tails if tail in wanted)
    whole = [prefix for prefix in prefixes if all(prefix + name in given for name in wanted if _is_needed(name))]
    if len(whole) > 1:
        raise DataError(
            f"model.weights: {weights.file} has {len(whole)} such networks, as {_shortened(whole)}; save one of them: "
            "the state_dict() of that part"
        )
    prefix = max(prefixes, key=lambda one: (prefixes[one], -len(one)), default="")
    return {name: prefix + name for name in wanted if prefix + name in given}


def _is_needed(name: str) -> bool:
    return not name.endswith("num_batches_tracked")  # the batches that a norm has seen; old files lack it


def _names_in_order(weights: FirstWeights, wanted: dict[str, Tensor]) -> dict[str, str]:
    """Return the names in the file in the network's order, or nothing if they do not fit.

    Every shape and the last part of every name must agree, and no more than an old head may follow.
    """
    given = weights.tensors
    following = len(given) - len(wanted)
    if not weights.is_ordered or not 0 <= following <= _OLD_HEAD:
        return {}
    pairs = dict(zip(wanted, given, strict=False))
    same = all(
        wanted[name].shape == _for_channels(given[own], wanted[name]).shape
        and name.rpartition(".")[2] == own.rpartition(".")[2]
        for name, own in pairs.items()
    )
    return pairs if same else {}


def _more_layers(given: dict[str, Tensor], names: dict[str, str]) -> list[str]:
    """Return the names in the file that belong to layers like those of the network, but have no place in it.

    They are left over if the file is of a deeper network, or of one whose blocks have more layers: `layer1.2.conv1`
    where the network has `layer1.0.conv1` and `layer1.1.conv1`, or `layer1.0.se.conv` within its `layer1.0`.
    """
    used = set(names.values())
    kinds, blocks = {_without_numbers(own) for own in used}, {_block(own) for own in used} - {""}
    return [own for own in given if own not in used and (_without_numbers(own) in kinds or _block(own) in blocks)]


def _without_numbers(name: str) -> str:
    return ".".join("*" if part.isdigit() else part for part in name.split("."))


def _block(name: str) -> str:
    """Return a name up to its first number, `layer1.0.`; empty if it has none."""
    parts = name.split(".")
    first = next((i for i, part in enumerate(parts) if part.isdigit()), None)
    return "" if first is None else ".".join(parts[: first + 1]) + "."


def _for_channels(tensor: Tensor, wanted: Tensor) -> Tensor:
    """Return a kernel of colour images as one of grey images, or the other way, if that is what fits."""
    if tensor.ndim != 4 or wanted.ndim != 4 or tensor[:, :1].shape != wanted[:, :1].shape:
        return tensor
    if (tensor.shape[1], wanted.shape[1]) == (3, 1):
        return tensor.sum(1, keepdim=True)
    return tensor.expand_as(wanted) / 3 if (tensor.shape[1], wanted.shape[1]) == (1, 3) else tensor


def _normalization(
    config: WithWeights, file: Path | None, tensors: dict[str, Tensor]
) -> tuple[list[float] | None, list[float] | None]:
    """Return mean and standard deviation per channel, in [0, 255]; None if the file says that it was another kind.

    `file` is None if it is not one of safetensors, which alone say it.
    """
    if file is not None:
        with safe_open(file, framework="pt") as stored:
            facts = stored.metadata() or {}
        if facts.get("format", "").startswith("mt-sweeps-model/"):
            kept = [tensors.get(f"normalization.{name}") for name in ("mean", "std")]
            return (None, None) if kept[0] is None or kept[1] is None else (kept[0].tolist(), kept[1].tolist())
    low, spread = hub.pixel_statistics(config)
    return [255 * value for value in low], [255 * value for value in spread]


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _why_no_weights(tensor: Tensor) -> str | None:
    """Return why a tensor cannot be the weights of a layer, or None."""
    if tensor.is_meta:
        return "has no values (it was saved from the device meta); save a network that has its weights"
    if not tensor.is_floating_point():
        return f"has values of the type {tensor.dtype}; save floating-point weights, which are not quantised"
    return None if tensor.float().isfinite().all() else "has values that are not finite; use another file"


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
