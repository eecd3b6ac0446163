"""`predict`: classify a folder of images with a trained model."""

import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from mt_sweeps.errors import InputError, SweepError, did_you_mean
from mt_sweeps.formatting import counted
from mt_sweeps.results.training_result import MODEL
from mt_sweeps.storage.home import Home
from trainers.data.decoding import Unreadable, read_image
from trainers.data.folders import IMAGE_SUFFIXES, images_below
from trainers.errors import CheckpointError, MissingPlugin
from trainers.files import BEST_MODEL, CHECKPOINT, atomic_file

if TYPE_CHECKING:
    from trainers.checkpoint import Model

_Row = tuple[str, str, str]


def find(name: str, home: Home) -> Path:
    """Return the file of a model.

    Args:
        name: of the file, or of a folder that holds it, in the working directory or in `trained` of the home.
        home: which one.

    Raises:
        InputError: there is none.
    """
    for path in (Path(name).expanduser(), home.trained / name):
        if path.is_file():
            return path
        for file in (MODEL, BEST_MODEL):
            if (path / file).is_file() and not (path / CHECKPOINT).exists():
                return path / file
        if (path / CHECKPOINT).exists():
            raise InputError(f"{path}: its training has not ended; repeat the `mt-sweep train` that began it")
        if path.is_dir():
            raise InputError(f"{path}: holds no {MODEL}; name a directory that `mt-sweep train` made, or a file")
    known = sorted(path.parent.name for path in home.trained.glob(f"*/{MODEL}"))
    known_text = did_you_mean(name, known) if known else "train one with `mt-sweep train FILE`"
    raise InputError(f"{name}: no such model, here or in {home.trained}; {known_text}")


def predict(file: Path, folder: Path, output: Path | None) -> None:
    """Write one CSV line per image: its path, its class, and the probability of the class.

    Args:
        file: of the model.
        folder: of the images, those in its folders too.
        output: a file, or None for the terminal.

    Raises:
        InputError: the model or the folder cannot be read, or the output not written.
        SweepError: not one of the images can be read.
    """
    import torch

    from trainers.checkpoint import load_model

    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; name one that holds images")
    files = images_below(folder)
    if not files:
        raise InputError(f"{folder}: holds no images; known by their names: {', '.join(IMAGE_SUFFIXES)}")
    try:
        model = load_model(file, "cuda" if torch.cuda.is_available() else "cpu")
    except MissingPlugin as error:
        raise InputError(str(error)) from None
    except CheckpointError as error:
        raise InputError(f"{error}; name a {MODEL} that `mt-sweep train` wrote, or train again") from None
    try:
        with _rows_to(output) as write, _progress() as progress:
            write([("path", "class", "probability")])
            left_out = _classify(model, files, write, progress)
            if left_out == len(files):  # raised in here, so that an earlier output file stays
                raise SweepError(f"{folder}: not one of its images can be read")
    except BrokenPipeError:  # the reader has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except OSError as error:
        raise InputError(f"{output or 'the output'}: cannot be written: {error.strerror}") from None
    skipped = f", {left_out:,} left out" if left_out else ""
    where = f", in {output}" if output else ""
    print(f"{counted(len(files) - left_out, 'image')} classified{skipped}{where}", file=sys.stderr)


def _classify(model: "Model", files: list[str], write: Callable[[Iterable[_Row]], None], progress: Progress) -> int:
    """Write the rows of all images, with one batch in memory at a time; return how many could not be read."""
    import numpy as np
    import torch

    from trainers.evaluation import PIXELS_AT_ONCE

    def decoded(path: str) -> np.ndarray | None:
        try:
            return read_image(path, model.image_size, model.channels)
        except Unreadable:
            return None

    device = next(model.network.parameters()).device
    batch, left_out = max(1, PIXELS_AT_ONCE // model.image_size**2), 0
    task = progress.add_task("images", total=len(files))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # decoding releases the GIL
        for first in range(0, len(files), batch):
            part = files[first : first + batch]
            images = list(threads.map(decoded, part))
            for path, image in zip(part, images, strict=True):
                if image is None:
                    left_out += 1
                    _print(progress, f"left out, since it cannot be read as an image: {path}")
            known = [(path, image) for path, image in zip(part, images, strict=True) if image is not None]
            if known:
                pixels = torch.from_numpy(np.stack([image for _, image in known])).to(device)
                shares, classes = model.logits(pixels).softmax(1).max(1)
                write(
                    (path, model.classes[number], f"{share:.6f}")
                    for (path, _), number, share in zip(known, classes.tolist(), shares.tolist(), strict=True)
                )
            progress.update(task, completed=first + len(part))
    return left_out


def _progress() -> Progress:
    """Return a progress bar on the terminal's error stream, which does not mix with the result."""
    return Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def _print(progress: Progress, text: str) -> None:
    progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _rows_to(output: Path | None) -> Iterator[Callable[[Iterable[_Row]], None]]:
    """Give a function that writes rows to the terminal, or to a file that appears once all are written."""

    def rows(file: IO[bytes]) -> tuple[TextIOWrapper, Callable[[Iterable[_Row]], None]]:
        # The name of a file may hold any bytes; they are written as they are.
        text = TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="", write_through=True)
        return text, csv.writer(text, lineterminator="\n").writerows

    if output is None:
        sys.stdout.flush()
        text, write = rows(sys.stdout.buffer)
        try:
            yield write
        finally:
            text.detach()
        return
    with atomic_file(output) as file:
        text, write = rows(file)
        yield write
        text.detach()
