"""A final model in MLflow: its weights, the code that reads them, and a version of it in the registry.

Nothing is pickled: the weights are safetensors, the code is a copy of `trainers`, of `served_model.py` and of the
plugins that the model needs. MLflow's own `log_model` and `register_model` use the one address that a process has set;
these functions use that of their client.
"""

import importlib.metadata
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import trainers
from mt_sweeps.plugins import plugin_code
from trainers.config import Timm

ALIAS = "best"  # the version that was trained last
_LOADER = Path(__file__).with_name("served_model.py")
_NEEDED = ("filelock", "numpy", "pillow", "pydantic", "safetensors", "torch", "torchvision")  # by `trainers`


def register(client: Any, experiment: str, run: str, name: str, model: Path, tags: dict[str, str], card: str) -> int:
    """Make a model file a version of a registered model. Steps that an earlier call has done are not repeated.

    Args:
        client: an `MlflowClient`.
        experiment: the id of the run's experiment.
        run: the id of the run that trained it.
        name: of the registered model, made if there is none.
        model: a file that `trainers.checkpoint.save_model` wrote.
        tags: of the version; `mt.sweep` and `mt.trained` distinguish it from others.
        card: what the model is, in Markdown, for a version that has no description yet.

    Returns:
        The number of the version.
    """
    from mlflow.entities import LoggedModelOutput

    own = " and ".join(f"tags.`{key}` = '{tags[key]}'" for key in ("mt.sweep", "mt.trained"))
    for version in client.search_model_versions(f"name = '{name}' and {own}", max_results=1):
        if not version.description:  # an earlier version of mt-sweeps made it
            client.update_model_version(name, version.version, card)
        if ALIAS not in client.get_registered_model(name).aliases:
            client.set_registered_model_alias(name, ALIAS, version.version)
        return int(version.version)
    existing = client.search_logged_models([experiment], own, max_results=1)
    logged = existing[0] if existing else client.create_logged_model(experiment, name, source_run_id=run, tags=tags)
    if not existing or str(logged.status) != "READY":  # else its files are there, and only the version is not
        with tempfile.TemporaryDirectory() as folder:
            package(Path(folder) / "model", model, logged, run)
            client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
        client.log_outputs(run, [LoggedModelOutput(logged.model_id, 0)])
        client.finalize_logged_model(logged.model_id, "READY")
    if not client.search_registered_models(f"name = '{name}'", max_results=1):
        client.create_registered_model(name, {"mt.sweep": tags["mt.sweep"]}, f"Final models of the sweep {name}.")
    version = client.create_model_version(
        name, logged.artifact_location, run, tags, description=card, model_id=logged.model_id
    )
    client.set_registered_model_alias(name, ALIAS, version.version)
    return int(version.version)


def package(folder: Path, file: Path, logged: Any, run: str) -> None:
    """Write the folder of a model in MLflow's format, with signature and input example.

    Args:
        folder: is created; it must not exist.
        file: the weights.
        logged: the `LoggedModel` that the folder is for.
        run: the id of the run that trained it.
    """
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    from trainers.checkpoint import load_model

    model = load_model(file)
    shape = (model.image_size, model.image_size, model.channels)
    needed = (*_NEEDED, "timm") if isinstance(model.config.model, Timm) else _NEEDED
    plugins = {str(_code_to_copy(module, folder.with_name("plugins"))) for module in plugin_code(model.config)}
    pyfunc.save_model(
        str(folder),
        loader_module=_LOADER.stem,
        data_path=str(file),
        code_paths=[str(Path(trainers.__file__).parent), str(_LOADER), *sorted(plugins)],
        mlflow_model=Model(logged.artifact_location, run, model_uuid=logged.model_id, model_id=logged.model_id),
        signature=ModelSignature(
            Schema([TensorSpec(np.dtype(np.uint8), (-1, *shape))]),
            Schema([TensorSpec(np.dtype(np.float32), (-1, len(model.classes)))]),
        ),
        input_example=np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8),
        pip_requirements=[f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in needed],
        metadata={"classes": model.classes},
    )


def _code_to_copy(module: str, folder: Path) -> Path:
    """Return the file or the folder to copy into a model so that a plugin can be imported from there.

    Args:
        module: of the plugin, which is imported.
        folder: for copies of the modules that are imported from a folder without `__init__.py`, since the rest of that
            folder may be anything.
    """
    name, _, _ = module.partition(".")
    top = sys.modules[name]
    if top.__file__ is not None:
        return Path(top.__file__).parent if hasattr(top, "__path__") else Path(top.__file__)
    for imported, file in [(key, getattr(one, "__file__", None)) for key, one in sys.modules.items()]:
        if imported.startswith(f"{name}.") and file is not None:
            place = folder.joinpath(*imported.split("."))
            copy = place / "__init__.py" if Path(file).name == "__init__.py" else place.with_suffix(".py")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    return folder / name
