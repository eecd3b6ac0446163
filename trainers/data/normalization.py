"""Per-channel normalisation with the statistics of the training images alone."""

import torch
from torch import Tensor


class Normalization:
    """Subtracts a mean and divides by a standard deviation, a channel each, in units of uint8 pixels.

    Args:
        mean: float [channels]; images are normalised in its precision.
        std: float [channels], above 0.
    """

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean = mean
        self.std = std

    @classmethod
    def of(cls, images: Tensor, indices: Tensor) -> "Normalization":
        """The exact statistics of the chosen images, from a histogram a channel.

        Args:
            images: uint8 [n, height, width, channels].
            indices: int64 [m], the training images: those of other purposes must not be looked at.
        """
        channels = images.shape[-1]
        counts = torch.zeros(channels, 256, dtype=torch.float64)
        offsets = 256 * torch.arange(channels, device=images.device)
        for part in torch.split(indices.to(images.device), 4096):
            flat = (images[part].reshape(-1, channels).to(torch.int64) + offsets).flatten()
            counts += torch.bincount(flat, minlength=256 * channels).reshape(channels, 256).cpu()
        levels = torch.arange(256, dtype=torch.float64)
        share = counts / counts.sum(1, keepdim=True)
        mean = share @ levels
        std = ((share * (levels - mean[:, None]) ** 2).sum(1)).sqrt()
        std = torch.where(std > 0, std, 1.0)  # a channel of one value carries nothing
        return cls(*(value.to(images.device, torch.get_default_dtype()) for value in (mean, std)))

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 [b, height, width, channels] -> float [b, channels, height, width], channels last in memory."""
        return ((pixels - self.mean) / self.std).permute(0, 3, 1, 2)
