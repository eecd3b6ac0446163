"""The simulated object store: objects appear whole, and it may be away."""

from mt_sweeps.storage.file_store import FileStore, StorageUnavailable
from tests.simulation.world import World


class ObjectStore:
    """All objects of a world, by their whole paths.

    Args:
        world: of it.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.objects: dict[str, bytes] = {}

    def open(self, location: str) -> FileStore:
        return _Objects(self, location)


class _Objects(FileStore):
    """The objects at one location."""

    def __init__(self, store: ObjectStore, location: str) -> None:
        super().__init__(location)
        self._store = store

    def names(self, within: str) -> list[str]:
        self._check()
        top = f"{self.location}/{within}/"
        return [path.removeprefix(top) for path in list(self._store.objects) if path.startswith(top)]

    def read(self, path: str) -> bytes | None:
        self._check()
        return self._store.objects.get(f"{self.location}/{path}")

    def write(self, path: str, content: bytes) -> None:
        self._store.world.point(f"store: write {self.location}/{path}")
        self._check()
        self._store.objects[f"{self.location}/{path}"] = content
        self._store.world.point(f"store: {path} is written")

    def delete(self, path: str) -> None:
        self._store.world.point(f"store: delete {self.location}/{path}")
        self._check()
        self._store.objects.pop(f"{self.location}/{path}", None)

    def delete_all(self) -> None:
        self._check()
        self._store.objects.clear()

    def _check(self) -> None:
        if self._store.world.is_store_away and self._store.world.process is not None:
            raise StorageUnavailable(f"{self.location}: no answer")
