"""Where the files of trials are kept: in a folder, or in an object store.

A file is there whole or not at all. A call to an object store that does not answer is repeated for a while. A call to
a folder is not: a broken disk stays broken.
"""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mt_sweeps.addresses import part_with_credentials
from mt_sweeps.errors import InputError
from mt_sweeps.retry import RETRY_SECONDS, retrying
from trainers.files import write_atomically

SCHEME = "s3://"
_PERMANENT = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "NO_SUCH_BUCKET", "NO_SUCH_KEY")
_T = TypeVar("_T")


class StorageUnavailable(OSError):
    """The object store has not answered for longer than a call waits."""


class FileStore(ABC):
    """A tree of files at one location. Paths in it are relative, with forward slashes.

    Attributes:
        location: a folder, or `s3://bucket/prefix`, without a slash at its end.
        folder: the folder on this machine, or None if the files are elsewhere.
    """

    folder: Path | None = None

    def __init__(self, location: str) -> None:
        self.location = location.rstrip("/")

    @abstractmethod
    def names(self, within: str) -> list[str]:
        """Return all files below a path, relative to it; none if there is no such path."""

    @abstractmethod
    def read(self, path: str) -> bytes | None:
        """Return the whole content of a file, or None if there is no such file."""

    @abstractmethod
    def write(self, path: str, content: bytes) -> None:
        """Create or replace a file, and its folder if there is none."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Delete a file if it exists."""

    @abstractmethod
    def delete_all(self) -> None:
        """Delete every file at the location."""

    def copy(self, path: str, to: str) -> None:
        """Copy a file to a second path if it exists."""
        content = self.read(path)
        if content is not None:
            self.write(to, content)


class LocalFiles(FileStore):
    """Files in a folder that this machine reaches.

    Args:
        location: the path of the folder.
    """

    folder: Path

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.folder = Path(location)

    def names(self, within: str) -> list[str]:
        top = self.folder / within
        return [path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()]

    def read(self, path: str) -> bytes | None:
        try:
            return (self.folder / path).read_bytes()
        except FileNotFoundError:
            return None
        except PermissionError:
            raise InputError(f"{self.folder / path}: cannot be read; allow it") from None

    def write(self, path: str, content: bytes) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / path, content)

    def delete(self, path: str) -> None:
        (self.folder / path).unlink(missing_ok=True)

    def delete_all(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class S3Files(FileStore):
    """Files in an object store, read and written by the library that Ray uses for its own storage.

    The environment holds its address, region and credentials, as for every client of S3: AWS_ENDPOINT_URL, AWS_REGION,
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

    Args:
        location: `s3://bucket/prefix`.
        retry_seconds: how long a call is repeated while the store does not answer.
    """

    def __init__(self, location: str, retry_seconds: float = RETRY_SECONDS) -> None:
        super().__init__(location)
        self._retry_seconds = retry_seconds

    def names(self, within: str) -> list[str]:
        from pyarrow.fs import FileSelector

        top = self._key(within)
        selector = FileSelector(top, allow_not_found=True, recursive=True)
        infos = self._call(lambda: self._store.get_file_info(selector))
        return [info.path.removeprefix(f"{top}/") for info in infos if info.is_file]

    def read(self, path: str) -> bytes | None:
        def read() -> bytes:
            with self._store.open_input_file(self._key(path)) as file:
                version, content = file.metadata(), bytes(file.read())
            with self._store.open_input_file(self._key(path)) as file:
                if file.metadata() == version:
                    return content
            # The library asks for the size first, then for so many bytes: they may be a part of the new object.
            raise OSError(f"{path} was replaced while it was read")

        try:
            return self._call(read)
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes) -> None:
        def write() -> None:
            # An object appears whole when the stream is closed, and never in part.
            with self._store.open_output_stream(self._key(path)) as file:
                file.write(content)

        self._call(write)

    def delete(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        if name in self.names(folder):
            self._call(lambda: self._store.delete_file(self._key(path)))

    def delete_all(self) -> None:
        if self.names(""):
            self._call(lambda: self._store.delete_dir(self._key("")))

    @cached_property
    def _store(self) -> Any:
        from pyarrow import fs

        address = os.environ.get("AWS_ENDPOINT_URL", "")
        if part := part_with_credentials(address):
            raise InputError(
                f"AWS_ENDPOINT_URL: holds credentials, or what could be some, in its {part}; take them out and set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        endpoint = urlsplit(address)
        return fs.S3FileSystem(
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
            endpoint_override=endpoint.netloc or None,
            scheme=endpoint.scheme or "https",
            connect_timeout=5,
            request_timeout=30,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=2),
        )

    def _key(self, path: str) -> str:
        return f"{self.location.removeprefix(SCHEME)}/{path}".rstrip("/")

    def _call(self, call: Callable[[], _T]) -> _T:
        try:
            return retrying(call, _is_transient, self._retry_seconds)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageUnavailable(f"{self.location}: {str(error).splitlines()[0]}") from error


def open_files(location: str) -> FileStore:
    """Return the files at a location: a folder, or `s3://bucket/prefix`."""
    return S3Files(location) if location.startswith(SCHEME) else LocalFiles(location)


def check_file_store(location: str) -> None:
    """Write, read and delete a small file, as every node of a cluster must be able to.

    Raises:
        InputError: this machine cannot use the location.
    """
    on_s3 = location.startswith(SCHEME)
    files: FileStore = S3Files(location, retry_seconds=0) if on_s3 else LocalFiles(location)
    name, content = f".check-{os.getpid()}", b"mt-sweeps"
    try:
        files.write(name, content)
        read_back = files.read(name)
        files.delete(name)
    except OSError as error:
        hint = (
            "set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment of every node, and "
            "create the bucket"
            if on_s3
            else "name a folder that every node can reach and write to"
        )
        raise InputError(f"storage: {location} cannot be used: {str(error).splitlines()[0]}; {hint}") from None
    if read_back != content:
        raise InputError(f"storage: {location} does not return what was written to it; name another location")


def _is_transient(error: BaseException) -> bool:
    return (
        isinstance(error, OSError)
        and not isinstance(error, FileNotFoundError)
        and not any(name in str(error) for name in _PERMANENT)
    )
