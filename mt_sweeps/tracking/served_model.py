"""The code that MLflow runs to load a final model.

It is copied into the model, beside `trainers` and the weights, and runs there as a module of its own. Nothing in
mt-sweeps imports it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainers.checkpoint import Model, load_model
from trainers.evaluation import PIXELS_AT_ONCE


class Classifier:
    """Computes the probabilities of classes from images."""

    def __init__(self, model: Model, device: str) -> None:
        self._model = model
        self._device = device

    def predict(self, images: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:  # noqa: ARG002 (MLflow's)
        """Return the probability of each class.

        Args:
            images: uint8 [n, height, width, channels], of the size in the model's signature.
            params: unused.

        Returns:
            float32 [n, classes]; the names of the classes are in the model's metadata.
        """
        batches = torch.split(
            torch.from_numpy(np.ascontiguousarray(images)), max(1, PIXELS_AT_ONCE // self._model.image_size**2)
        )
        probabilities = [self._model.logits(batch.to(self._device)).softmax(1).cpu() for batch in batches]
        return torch.cat(probabilities).numpy()


def _load_pyfunc(path: str) -> Classifier:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Classifier(load_model(Path(path), device), device)
