"""From pixels to the network's input, with statistics of the training images alone."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from filelock import FileLock
from safetensors.torch import load_file, save
from torch import Tensor

from trainers.files import cache_folder, write_atomically

VERSION = 2  # of the file of statistics; part of its name
_PIXELS_AT_ONCE = 2**22
_MAX_IMAGES = 50_000  # of which statistics are taken
Kind = Literal["per_channel", "per_image", "zca", "of_weights"]

Take = Callable[[Tensor], Tensor]
"""A function from indices, int64 [b], to pixels, uint8 [b, height, width, channels]."""


class Normalization(ABC):
    """A map from uint8 [b, height, width, channels] to float [b, channels, height, width], channels last in memory.

    Attributes:
        of_whole_images: whether the value of a pixel depends on the other pixels of its image. Such images are
            normalised before they are augmented.
    """

    of_whole_images: bool

    def __call__(self, pixels: Tensor) -> Tensor:
        return self.normalized(pixels).permute(0, 3, 1, 2)

    @abstractmethod
    def normalized(self, pixels: Tensor) -> Tensor:
        """Normalise uint8 [b, height, width, channels] to float of the same shape."""

    def shown(self, normalized: Tensor) -> Tensor:
        """Return normalised images, [b, channels, height, width], as pixels in [0, 1], to be shown to people.

        Each image is stretched to that range.
        """
        low, high = normalized.amin((1, 2, 3), keepdim=True), normalized.amax((1, 2, 3), keepdim=True)
        return (normalized - low) / (high - low).clamp(min=1e-6)

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return what a model file keeps: the arguments of the class."""


class PerChannel(Normalization):
    """Subtracts the mean of each channel and divides by its standard deviation, in units of uint8 pixels.

    Args:
        mean: float [channels]; images are normalised in its precision.
        std: float [channels], above 0.
    """

    of_whole_images = False

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean = mean
        self.std = std
        self._rows: dict[int, tuple[Tensor, Tensor]] = {}  # mean and std of whole rows of pixels, by their width

    @classmethod
    def of(cls, take: Take, indices: Tensor) -> "PerChannel":
        """Compute the exact statistics of some images from one histogram per channel.

        Args:
            take: returns the pixels of some indices.
            indices: int64 [m], the training images; images of other purposes must not be among them.
        """
        first = take(indices[:1])
        channels, at_once = first.shape[-1], max(1, _PIXELS_AT_ONCE // first[0, :, :, 0].numel())
        counts = torch.zeros(channels, 256, dtype=torch.float64)
        offsets = 256 * torch.arange(channels, device=first.device)
        for part in torch.split(indices, at_once):
            flat = (take(part).reshape(-1, channels).to(torch.int64) + offsets).flatten()
            counts += torch.bincount(flat, minlength=256 * channels).reshape(channels, 256).cpu()
        levels = torch.arange(256, dtype=torch.float64)
        share = counts / counts.sum(1, keepdim=True)
        mean = share @ levels
        std = ((share * (levels - mean[:, None]) ** 2).sum(1)).sqrt()
        std = torch.where(std > 0, std, 1.0)  # a channel with a single value carries no information
        return cls(mean, std)

    def for_channels(self, channels: int) -> "PerChannel":
        """Return the same normalisation for images of so many channels: grey ones get the mean over the colours."""
        if channels == len(self.mean):
            return self
        return PerChannel(self.mean.mean().expand(channels).clone(), self.std.mean().expand(channels).clone())

    def normalized(self, pixels: Tensor) -> Tensor:
        # Whole rows of pixels at once: an inner loop over only three channels would not be vectorised.
        width = pixels.shape[2]
        if width not in self._rows:
            self._rows[width] = self.mean.repeat(width), self.std.repeat(width)
        mean, std = self._rows[width]
        return ((pixels.flatten(2) - mean) / std).view(pixels.shape)

    def shown(self, normalized: Tensor) -> Tensor:
        return ((normalized * self.std[:, None, None] + self.mean[:, None, None]) / 255).clamp(0, 1)

    def tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "std": self.std}


class PerImage(Normalization):
    """Scales each image to mean 0 and standard deviation 1 over all its pixels and channels (the authors' SVHN).

    The divisor has a lower limit: the standard deviation of an image in which a single value is off by one grey level.
    So an image with a single value becomes 0.
    """

    of_whole_images = True

    def normalized(self, pixels: Tensor) -> Tensor:
        flat = pixels.flatten(1).to(torch.get_default_dtype())
        flat = flat - flat.mean(1, keepdim=True)
        least = flat.shape[1] ** -0.5
        return (flat / flat.std(1, correction=0, keepdim=True).clamp(min=least)).view(pixels.shape)

    def tensors(self) -> dict[str, Tensor]:
        return {}


class Zca(Normalization):
    """Global contrast normalisation to norm 55, then whitening with bias 0.1 (the authors' CIFAR-10).

    Args:
        mean: float [d], of the contrast-normalised training images, d = height * width * channels.
        matrix: float [d, d], symmetric.
    """

    of_whole_images = True
    NORM, BIAS = 55.0, 0.1

    def __init__(self, mean: Tensor, matrix: Tensor) -> None:
        self.mean = mean
        self.matrix = matrix

    @classmethod
    def of(cls, take: Take, indices: Tensor) -> "Zca":
        """Compute the whitening (x - mean) U (S + bias)^(-1/2) U' of some images, in float64.

        U and S are the eigenvectors and eigenvalues of the covariance of the images.

        Args:
            take: returns the pixels of some indices.
            indices: int64 [m], the training images; images of other purposes must not be among them.
        """
        first = take(indices[:1])
        d = first.numel()
        total = torch.zeros(d, dtype=torch.float64, device=first.device)
        products = torch.zeros(d, d, dtype=torch.float64, device=first.device)
        for part in torch.split(indices, 2048):
            flat = cls._contrast(take(part), torch.float64)
            total += flat.sum(0)
            products += flat.T @ flat
        mean = total / len(indices)
        values, vectors = torch.linalg.eigh(products / len(indices) - torch.outer(mean, mean))
        matrix = (vectors * (values.clamp(min=0) + cls.BIAS).rsqrt()) @ vectors.T
        return cls(mean, matrix)

    def normalized(self, pixels: Tensor) -> Tensor:
        return ((self._contrast(pixels, self.mean.dtype) - self.mean) @ self.matrix).view(pixels.shape)

    def tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "matrix": self.matrix}

    @classmethod
    def _contrast(cls, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        flat = pixels.flatten(1).to(dtype)
        flat = flat - flat.mean(1, keepdim=True)
        scaled: Tensor = cls.NORM * flat / torch.linalg.vector_norm(flat, dim=1, keepdim=True).clamp(min=1e-8)
        return scaled


def fit_normalization(kind: Kind, take: Take, indices: Tensor, fingerprint: str, device: torch.device) -> Normalization:
    """Return the normalisation of the training images.

    The statistics can take half a minute, so they are computed once per machine and kept in a file for other trials.

    Args:
        kind: of normalisation.
        take: returns the pixels of some indices.
        indices: int64 [m], the training images; images of other purposes must not be among them. If there are more than
            50,000, statistics are taken of 50,000 evenly spaced ones.
        fingerprint: of the data set.
        device: where the normalisation will be used.
    """
    if kind == "per_image":
        return PerImage()
    indices = indices[torch.linspace(0, len(indices) - 1, min(len(indices), _MAX_IMAGES), dtype=torch.float64).long()]
    key = hashlib.sha256(fingerprint.encode() + indices.cpu().numpy().tobytes()).hexdigest()[:16]
    file = cache_folder() / f"{kind}-{key}-{VERSION}.safetensors"
    with FileLock(file.with_suffix(".lock")):
        if not file.exists():
            of = Zca.of if kind == "zca" else PerChannel.of
            tensors = of(take, indices).tensors()
            write_atomically(file, save({name: value.cpu().contiguous() for name, value in tensors.items()}))
    kept = load_file(file, device=str(device))
    return load_normalization(kind, {name: value.to(torch.get_default_dtype()) for name, value in kept.items()})


def load_normalization(kind: Kind, tensors: dict[str, Tensor]) -> Normalization:
    """Return the normalisation whose `tensors` these are."""
    if kind == "per_image":
        return PerImage()
    return Zca(**tensors) if kind == "zca" else PerChannel(**tensors)
