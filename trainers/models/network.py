"""The common part of all networks: features, and one or two linear heads on them."""

import logging
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainers.errors import WrongNetwork
from trainers.models.blocks import Dropout
from trainers.models.weight_normalization import MeanOnlyBatchNorm

_COMPILED = 256  # compiled passes that a process keeps: as many as torch allows in total
_log = logging.getLogger(__name__)


class Network(nn.Module):
    """From pixels to logits.

    Args:
        features: from float [b, channels, height, width] to [b, width].
        width: of the features.
        classes: length of the logits.
        heads: 1, or 2. With 2, the first classifies and the second agrees with the teacher, so that the two losses need
            not be calibrated to each other (the authors' residual nets).
        head: makes a head from `width` and `classes`.
    """

    def __init__(
        self,
        features: nn.Module,
        width: int,
        classes: int,
        heads: int,
        head: Callable[[int, int], nn.Module] = nn.Linear,
    ) -> None:
        super().__init__()
        self.features = features
        self.classifier = head(width, classes)
        self.agreement = head(width, classes) if heads == 2 else None
        self._width = width
        self._statistics_are_fixed = False
        for layer in self.modules():
            if isinstance(layer, _BatchNorm) and layer.momentum is not None:
                layer.num_batches_tracked = None  # nothing reads it, and counting costs one launch per layer and pass
        self.register_load_state_dict_post_hook(_accept_counts)  # type: ignore[no-untyped-call]

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits of the classes, [b, classes]."""
        return self._heads(self.features(pixels), len(pixels))[0]

    def forward_heads(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits that classify and those that agree with the teacher; with one head, one tensor twice."""
        return self._heads(self.features(pixels), len(pixels))

    def freeze_body(self) -> None:
        """From now on, only the heads learn: the other weights and the statistics of batch norm stay as they are."""
        self.features.requires_grad_(False)
        self.fix_statistics()

    def fix_statistics(self) -> None:
        """From now on, batch norm uses the statistics that it has, in train mode too, and does not change them."""
        self._statistics_are_fixed = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self._statistics_are_fixed:
            for layer in self.features.modules():
                if isinstance(layer, _BatchNorm | MeanOnlyBatchNorm):
                    layer.eval()
        return self

    def compile_passes(self) -> None:
        """Compile `forward_heads` at its first call, once per process for all networks of the same shape.

        If that fails, as without a C compiler, it is logged once, and the passes go on uncompiled.
        """
        # A worker trains trials of many shapes. Beyond its default limit, torch would continue uncompiled.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _COMPILED)
        plain, compiled = self.forward_heads, torch.compile(self.forward_heads, dynamic=False)

        def passes(pixels: Tensor) -> tuple[Tensor, Tensor]:
            try:
                return compiled(pixels)
            except torch._dynamo.exc.TorchDynamoException as error:
                cause = " ".join(str(error).split())[:300]
                _log.warning("compile: the network cannot be compiled here, and is trained uncompiled: %s", cause)
                self.forward_heads = plain  # type: ignore[method-assign]
                return plain(pixels)

        self.forward_heads = passes  # type: ignore[method-assign]

    def set_dropout(self, probability: float) -> None:
        """Use this dropout probability from now on."""
        for layer in self.modules():
            if isinstance(layer, Dropout):
                layer.set(probability)

    def _heads(self, features: Tensor, images: int) -> tuple[Tensor, Tensor]:
        """Return the logits of both heads in the precision of the weights, whatever that of the features."""
        # What follows are mistakes of a plugin, which a loss may not notice.
        if not isinstance(features, Tensor) or not features.is_floating_point():
            kind = features.dtype if isinstance(features, Tensor) else type(features).__name__
            raise WrongNetwork(f"the features are {kind}; expected: a floating-point tensor [b, {self._width}]")
        if features.shape != (images, self._width):
            raise WrongNetwork(
                f"the features of {images} images have the shape {list(features.shape)}; expected: [b, {self._width}]"
            )
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(next(self.classifier.parameters()).dtype)
            logits = self.classifier(features)
            return logits, logits if self.agreement is None else self.agreement(features)


def _accept_counts(_: nn.Module, keys: Any) -> None:
    """Let weights have counts of batches, as those of earlier versions do, and as torch adds them to old files."""
    keys.unexpected_keys[:] = [name for name in keys.unexpected_keys if not name.endswith("num_batches_tracked")]
