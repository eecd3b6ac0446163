"""The code that MLflow runs to load a final model.

It is copied into the model, beside `trainers`, plugins and the weights, and runs there as a module of its own. Nothing
in mt-sweeps imports it.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainers.checkpoint import Model, load_model, plugins_in
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
    _import_plugins(Path(path))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Classifier(load_model(Path(path), device), device)


def _import_plugins(file: Path) -> None:
    """Import the plugins of a model whose code is in the model's own folder, from where all of its code runs.

    Raises:
        ImportError: one needs a package that is not installed.
    """
    code = file.parents[1] / "code"  # not the folder of this file, which may be that of a model loaded before
    for module in plugins_in(file):
        spec = importlib.util.find_spec(module.partition(".")[0])
        places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or [])]
        if not any(code in Path(place).parents for place in places):
            continue  # `load_model` says that it is missing, unless the user has imported it
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ImportError(
                f"the model needs its plugin {module}, which cannot be imported ({error}); install that package"
            ) from error
