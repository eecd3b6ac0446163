"""Published weights, and the pixels that they were trained with. Each file is downloaded once per machine."""

from pathlib import Path
from typing import Any

from filelock import FileLock

from trainers.config.model import Timm, WithWeights
from trainers.errors import DataError
from trainers.files import cache_folder
from trainers.models.timm_network import published

_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # of torchvision's weights


def fetch(config: WithWeights) -> Path:
    """Return the file of a network's published weights, and download it if it is not on this machine.

    Raises:
        DataError: there are none, or there is no network to get them through.
    """
    folder = cache_folder() / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    return _from_hugging_face(config, folder) if isinstance(config, Timm) else _from_torchvision(config.name, folder)


def is_here(config: Timm) -> bool:
    """Return whether the published weights of a network of timm are on this machine.

    Raises:
        DataError: timm has no such architecture.
    """
    facts = published(config.architecture)
    return facts is not None and bool(facts.hf_hub_id) and _file_of(facts, cache_folder() / "weights").exists()


def pixel_statistics(config: WithWeights) -> tuple[list[float], list[float]]:
    """Return mean and deviation per channel, in [0, 1], of the pixels that published weights were trained with.

    Raises:
        DataError: timm has no such architecture.
    """
    if not isinstance(config, Timm):
        return _IMAGENET
    facts = published(config.architecture)
    return _IMAGENET if facts is None else (list(facts.mean), list(facts.std))


def _from_hugging_face(config: Timm, folder: Path) -> Path:
    facts = published(config.architecture)
    if facts is None or not facts.hf_hub_id:
        raise DataError(
            f"model.weights: timm has no published weights for {config.architecture}; name a file, or another "
            "architecture"
        )
    file = _file_of(facts, folder)
    with FileLock(file.parent.with_suffix(".lock")):
        if not file.exists():
            import huggingface_hub

            try:
                huggingface_hub.hf_hub_download(facts.hf_hub_id, file.name, local_dir=file.parent)
            except Exception as error:  # of whatever library connects
                raise _not_there(file, huggingface_hub.hf_hub_url(facts.hf_hub_id, file.name), error) from None
    return file


def _file_of(facts: Any, folder: Path) -> Path:
    """Return where the published weights of timm's facts are on this machine, or would be."""
    return folder / str(facts.hf_hub_id).replace("/", "--") / (facts.hf_hub_filename or "model.safetensors")


def _from_torchvision(name: str, folder: Path) -> Path:
    from torchvision.models import get_model_weights

    try:
        url = get_model_weights(name).DEFAULT.url
    except ValueError:
        raise DataError(f"model.weights: torchvision has no published weights for {name}; name a file") from None
    file: Path = folder / url.rpartition("/")[2]
    with FileLock(file.with_suffix(".lock")):
        if not file.exists():
            import torch

            try:
                torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rpartition("-")[2])
            except Exception as error:  # of whatever library connects
                raise _not_there(file, url, error) from None
    return file


def _not_there(file: Path, url: str, error: Exception) -> DataError:
    cause = " ".join(str(error).split())[:150]
    return DataError(
        f"model.weights: pretrained is not on this machine and cannot be downloaded ({type(error).__name__}: {cause}); "
        f"get {url} and put it at {file}, on every node"
    )
