"""Where MLflow may write artifacts on this machine: a server, or a database that a file names, chooses the folder."""

from pathlib import Path

from mlflow.store.artifact import artifact_repository_registry
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from mt_sweeps.errors import InputError
from mt_sweeps.spec.allowed_paths import VARIABLE, is_allowed

_embedded: set[Path] = set()  # the folders of the homes' own stores


def restrict(embedded: Path | None) -> None:
    """Let MLflow, from now on and in this process, write to no folder but those that a file may name.

    Args:
        embedded: the folder of the embedded store's artifacts, which is allowed too, or None.
    """
    if embedded is not None:
        _embedded.add(embedded.resolve())
    # MLflow asks here for each artifact, so an answer that changes between two calls is seen too.
    for scheme in ("", "file"):
        artifact_repository_registry._artifact_repository_registry.register(scheme, _repository)


def _repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> LocalArtifactRepository:
    """Return the repository of a folder.

    Raises:
        InputError: the folder is not allowed.
    """
    repository = LocalArtifactRepository(artifact_uri, tracking_uri, registry_uri)
    folder = Path(repository.artifact_dir)
    if not is_allowed(folder) and not any(folder.resolve().is_relative_to(one) for one in _embedded):
        raise InputError(
            f"tracking.uri: MLflow would have artifacts written to {folder}, which is outside the working directory "
            f"and your home; if you trust it, add --allow-paths, or allow the folder for good: {VARIABLE}={folder}"
        )
    return repository
