"""The file of first weights that a setting names: whether it is there and can be read. Nothing is loaded."""

from pathlib import Path

from trainers.errors import DataError


def weights_file(weights: str) -> Path:
    """Return the file of first weights that a setting names, absolute, after opening it.

    Raises:
        DataError: it is missing, not readable, empty or no file.
    """
    try:
        file = Path(weights).expanduser().absolute()
        if file.exists() and not (file.is_file() or file.is_dir()):  # opening a pipe would wait without end
            raise DataError(f"model.weights: {file} is no regular file; name a .safetensors or .pth file")
        with file.open("rb") as opened:
            if not opened.read(1):
                raise DataError(f"model.weights: {file} is empty; copy it again")
    except OSError as error:
        raise DataError(
            f"model.weights: {error.filename or weights} cannot be read: {error.strerror}; it must be on every node, "
            "under the same path"
        ) from None
    except (RuntimeError, ValueError) as error:  # ~nobody, a null character
        raise DataError(f"model.weights: {weights!r}: {error}; write the path from /") from None
    return file
