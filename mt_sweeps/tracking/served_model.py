"""What MLflow runs to load a final model: it lies in the model, beside a copy of `trainers` and the weights.

It is run there, as a module of its own, and never imported here.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainers.checkpoint import Model, load_model
from trainers.evaluation import PIXELS_AT_ONCE


class Classifier:
    """From images to the probabilities of their classes."""

    def __init__(self, model: Model, device: str) -> None:
        self._model = model
        self._device = device

    def predict(self, images: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:  # noqa: ARG002 (MLflow's)
        """Classify images.

        Args:
            images: uint8 [n, height, width, channels], of the size in the model's signature.
            params: none are known.

        Returns:
            float32 [n, classes]; the names of the classes are in the model's metadata.
        """
        batches = torch.split(
            torch.from_numpy(np.ascontiguousarray(images)), max(1, PIXELS_AT_ONCE // self._model.image_size**2)
        )
        said = [self._model.logits(batch.to(self._device)).softmax(1).cpu() for batch in batches]
        return torch.cat(said).numpy()


def _load_pyfunc(path: str) -> Classifier:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Classifier(load_model(Path(path), device), device)
