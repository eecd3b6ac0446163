"""Where the files of trials are kept: a folder, or an object store, through the file systems that Ray's storage uses.

What is written is there whole or not at all. An object store that does not answer is asked again; a folder is not: what
is wrong with a disk stays wrong.
"""

import os
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mt_sweeps.errors import InputError
from mt_sweeps.retry import RETRY_SECONDS, retrying
from trainers.files import write_atomically

SCHEME = "s3://"
_FOR_GOOD = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "NO_SUCH_BUCKET", "NO_SUCH_KEY")
_T = TypeVar("_T")


class StorageUnavailable(OSError):
    """The object store has not answered for longer than we wait."""


class FileStore:
    """A tree of files below one place; paths within it are relative, with forward slashes.

    Args:
        place: a folder, or `s3://bucket/prefix`. The address, the region and the credentials of an object store are
            in the environment, as for every client of one: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,
            AWS_SECRET_ACCESS_KEY.
        patience: seconds that a call goes on asking a store that does not answer.
    """

    def __init__(self, place: str, patience: float = RETRY_SECONDS) -> None:
        self.place = place.rstrip("/")
        self.folder = None if place.startswith(SCHEME) else Path(place)
        self._patience = patience

    def names(self, within: str) -> list[str]:
        """All files below a path, relative to it."""
        if self.folder is not None:
            top = self.folder / within
            return [path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()]
        from pyarrow.fs import FileSelector

        top_key = self._key(within)
        chosen = FileSelector(top_key, allow_not_found=True, recursive=True)
        found = self._call(lambda: self._store.get_file_info(chosen))
        return [info.path.removeprefix(f"{top_key}/") for info in found if info.is_file]

    def read(self, path: str) -> bytes | None:
        """What a file holds; none: there is no such file."""
        try:
            if self.folder is not None:
                return (self.folder / path).read_bytes()
            return self._call(lambda: self._read(path))
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes) -> None:
        """Make a file, or replace it; its folder is made where there is none."""
        if self.folder is not None:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / path, content)
        else:
            self._call(lambda: self._write(path, content))

    def copy(self, path: str, to: str) -> None:
        """Have a file under a second name, too; nothing happens where it is not there."""
        content = self.read(path)
        if content is not None:
            self.write(to, content)

    def delete(self, path: str) -> None:
        """Remove a file, where it is there."""
        if self.folder is not None:
            (self.folder / path).unlink(missing_ok=True)
        elif path.rpartition("/")[2] in self.names(path.rpartition("/")[0]):
            self._call(lambda: self._store.delete_file(self._key(path)))

    def delete_all(self) -> None:
        """Remove everything below the place."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif self.names(""):
            self._call(lambda: self._store.delete_dir(self._key("")))

    @cached_property
    def _store(self) -> Any:
        from pyarrow import fs

        endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL", ""))
        return fs.S3FileSystem(
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
            endpoint_override=endpoint.netloc or None,
            scheme=endpoint.scheme or "https",
            connect_timeout=5,
            request_timeout=30,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=2),
        )

    def _key(self, path: str) -> str:
        return f"{self.place.removeprefix(SCHEME)}/{path}".rstrip("/")

    def _read(self, path: str) -> bytes:
        with self._store.open_input_stream(self._key(path)) as file:
            return bytes(file.read())

    def _write(self, path: str, content: bytes) -> None:
        # One call: an object is there when it is closed, and a part of it never.
        with self._store.open_output_stream(self._key(path)) as file:
            file.write(content)

    def _call(self, call: Callable[[], _T]) -> _T:
        try:
            return retrying(call, _may_pass, self._patience)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageUnavailable(f"{self.place}: {str(error).splitlines()[0]}") from error


def check_file_store(place: str) -> None:
    """Write, read and remove a small file, as every node of a cluster must be able to.

    Raises:
        InputError: the place cannot be used from here.
    """
    storage, name = FileStore(place, patience=0), f".check-{os.getpid()}"
    try:
        storage.write(name, b"mt-sweeps")
        back = storage.read(name)
        storage.delete(name)
    except OSError as error:
        hint = (
            "set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment of every node, and "
            "make the bucket"
            if storage.folder is None
            else "name a folder that every node reaches and may write"
        )
        raise InputError(f"storage: {place} cannot be used: {str(error).splitlines()[0]}; {hint}") from None
    if back != b"mt-sweeps":
        raise InputError(f"storage: {place} does not give back what was written; name another")


def _may_pass(error: BaseException) -> bool:
    return (
        isinstance(error, OSError)
        and not isinstance(error, FileNotFoundError)
        and not any(name in str(error) for name in _FOR_GOOD)
    )
