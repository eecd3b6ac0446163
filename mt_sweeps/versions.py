"""What a result was made with."""

import hashlib
import importlib.metadata
import platform
from functools import cache
from pathlib import Path

import trainers

PACKAGES = ("mt-sweeps", "torch", "torchvision", "ray", "optuna", "mlflow", "numpy", "pydantic", "scikit-learn")


@cache
def versions() -> dict[str, str]:
    """Of Python and the packages that decide a result; as `code`, the beginning of a SHA-256 over our own files."""
    digest = hashlib.sha256()
    for package in (Path(trainers.__file__).parent, Path(__file__).parent):
        for file in sorted(package.rglob("*.py")):
            digest.update(f"{file.relative_to(package.parent)}\n".encode() + file.read_bytes())
    found = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"python": platform.python_version(), "code": digest.hexdigest()[:16], **found}
