"""The versions of everything that decides a result."""

import hashlib
import importlib.metadata
import platform
from functools import cache
from pathlib import Path

import trainers

PACKAGES = ("mt-sweeps", "torch", "torchvision", "timm", "ray", "optuna", "mlflow", "numpy", "pydantic", "scikit-learn")


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result.

    `code` is the beginning of a SHA-256 over the Python files of mt_sweeps and trainers.
    """
    digest = hashlib.sha256()
    for package in (Path(trainers.__file__).parent, Path(__file__).parent):
        for file in sorted(package.rglob("*.py")):
            digest.update(f"{file.relative_to(package.parent)}\n".encode() + file.read_bytes())
    packages = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"python": platform.python_version(), "code": digest.hexdigest()[:16], **packages}
