"""What all networks have in common: features, and one or two linear heads on them."""

import torch
from torch import Tensor, nn

from trainers.models.blocks import Dropout

_COMPILED = 256  # passes that a process keeps compiled: as many as torch allows for in all


class Network(nn.Module):
    """From pixels to logits.

    Args:
        features: from float [b, channels, height, width] to [b, width].
        width: of the features.
        classes: length of the logits.
        heads: 1, or 2: the second agrees with the teacher while the first classifies, for which the loss on the one
            need not be calibrated to the other (the authors' residual nets).
    """

    def __init__(self, features: nn.Sequential, width: int, classes: int, heads: int) -> None:
        super().__init__()
        self.features = features
        self.classifier = nn.Linear(width, classes)
        self.agreement = nn.Linear(width, classes) if heads == 2 else None

    def forward(self, pixels: Tensor) -> Tensor:
        """The logits of the classes, [b, classes]."""
        return self._heads(self.features(pixels))[0]

    def forward_heads(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits that classify, and logits that agree with the teacher: with one head, the same tensor twice."""
        return self._heads(self.features(pixels))

    def compile_passes(self) -> None:
        """Compile `forward_heads` at its first call, once per process for all networks of the same shape."""
        # A worker trains trials of many shapes; beyond its own limit, torch would go on uncompiled.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _COMPILED)
        self.forward_heads = torch.compile(self.forward_heads, dynamic=False)  # type: ignore[method-assign]

    def set_dropout(self, probability: float) -> None:
        """Use another dropout from now on."""
        for layer in self.modules():
            if isinstance(layer, Dropout):
                layer.set(probability)

    def _heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        dtype = self.classifier.weight.dtype  # also where the features were computed in a narrower one
        logits = self.classifier(features).to(dtype)
        return logits, logits if self.agreement is None else self.agreement(features).to(dtype)
