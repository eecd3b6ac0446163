"""`predict`: classify a folder of images with a trained model, and report the errors if their classes are known."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from mt_sweeps.errors import InputError, SweepError, did_you_mean
from mt_sweeps.formatting import counted, error_text, no_formula
from mt_sweeps.program import program
from mt_sweeps.results.class_errors import balance_text, table_lines
from mt_sweeps.results.training_result import MODEL, TestError
from mt_sweeps.storage.home import Home
from mt_sweeps.terminal import can_redraw, print, printable
from trainers.confusion import Confusion
from trainers.data.class_names import class_name
from trainers.data.decoding import ImageFile, Unreadable, UnsupportedGreys, read_image_file
from trainers.data.image_formats import IMAGE_SUFFIXES
from trainers.data.listing import left_out_text, list_images
from trainers.errors import CheckpointError, MissingPlugin, escaped
from trainers.files import BEST_MODEL, CHECKPOINT, atomic_file

if TYPE_CHECKING:
    from mt_sweeps.commands.unlike_training import UnlikeTraining
    from trainers.checkpoint import Model

FORMAT = "mt-sweeps-predicted/1"  # of `--json`, described in docs/json.md


_Row = tuple[str, str, str]
_HEAD: _Row = ("path", "class", "probability")
_Write = Callable[[Iterable[_Row]], None]


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
            raise InputError(f"{path}: its training has not ended; repeat the `{program()} train` that began it")
        if path.is_dir():
            raise InputError(f"{path}: holds no {MODEL}; name a directory that `{program()} train` made, or a file")
    known = sorted(path.parent.name for path in home.trained.glob(f"*/{MODEL}"))
    known_text = did_you_mean(name, known) if known else f"train one with `{program()} train FILE`"
    raise InputError(f"{name}: no such model, here or in {home.trained}; {known_text}")


def is_from_here(file: Path) -> bool:
    """Return True if a file begins as those that `predict` writes."""
    head = ",".join(_HEAD).encode() + b"\n"
    try:
        with file.open("rb") as stream:
            return stream.read(len(head)) == head
    except OSError:
        return False


def predict(file: Path, folder: Path, output: Path | None, as_json: bool = False) -> None:
    """Write one CSV line per image: its path, its class, and the probability of the class.

    A path or a class that a spreadsheet would take for a formula has an apostrophe before it.

    If images are in folders that are named as classes (`<folder>/<class>/*`), the errors are printed, too: in all, by
    class, and as a confusion matrix.

    Args:
        file: of the model.
        folder: of the images, those in its folders too.
        output: a file, or None for the terminal.
        as_json: print the errors as JSON; the CSV lines then only go to a file.

    Raises:
        InputError: the model or the folder cannot be read, or the output not written; or the errors are wanted, and no
            image is in a folder of a class.
        SweepError: not one of the images can be read.
    """
    import torch

    from mt_sweeps.commands.unlike_training import UnlikeTraining
    from trainers.checkpoint import load_model

    files = _images_in(folder)
    try:
        model = load_model(file, "cuda" if torch.cuda.is_available() else "cpu")
    except MissingPlugin as error:
        raise InputError(str(error)) from None
    except CheckpointError as error:
        raise InputError(f"{error}; name a {MODEL} that `{program()} train` wrote, or train again") from None
    labels = _labels(folder, files, model.classes)
    if as_json and not labels:
        raise InputError(
            f"{folder}: has no folder that is named as a class, so that there are no errors to print; name a folder of "
            "<class>/* or leave out --json"
        )
    is_replaced = output is not None and output.is_file()
    rows: AbstractContextManager[_Write] = _rows_to(output)
    if as_json and output is None:
        rows = nullcontext(lambda _: None)
    unlike = UnlikeTraining(model)
    try:
        with rows as write, _progress() as progress:
            write([_HEAD])
            predicted = _classify(file, model, files, unlike, write, progress)
            left_out = len(files) - len(predicted)
            if not predicted:  # raised in here, so that an earlier output file stays
                raise SweepError(f"{folder}: not one of its images can be read")
    except BrokenPipeError:  # the reader has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except OSError as error:
        raise InputError(f"{output or 'the output'}: cannot be written: {error.strerror}") from None
    for caution in unlike.cautions():
        print(f"caution: {caution}", file=sys.stderr)
    skipped = f", {left_out:,} left out" if left_out else ""
    where = f", in {output}" if output else ""
    where += ", in the place of the file that was there" if is_replaced else ""
    print(f"{counted(len(predicted), 'image')} classified{skipped}{where}", file=sys.stderr)
    known = [path for path in predicted if path in labels]
    if as_json and not known:
        raise SweepError(f"{folder}: of the images in folders of classes, not one can be read: there are no errors")
    if known:
        pairs = [labels[path] for path in known], [predicted[path] for path in known]
        _print_errors(Confusion.of(*pairs, len(model.classes)), model.classes, as_json)


def _images_in(folder: Path) -> list[str]:
    """Return the images in a folder; print what else is there.

    Raises:
        InputError: it is no folder, cannot be listed, or holds no images.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; name one that holds images")
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed: {error.strerror or error}; make it readable") from None
    files, others = list_images(folder)
    if not files:
        names = f"known by their names: {', '.join(IMAGE_SUFFIXES)}"
        other_text = f"; left out: {escaped(left_out_text(others))}" if others else ""
        raise InputError(f"{escaped(folder)}: holds no images; {names}, and others by their content{other_text}")
    for one in others:
        print(one.brief().text(), file=sys.stderr)
    return files


def _labels(folder: Path, files: list[str], classes: list[str]) -> dict[str, int]:
    """Return the class of each image that is in a folder named as a class, by path."""
    numbers = {class_name(name): number for number, name in enumerate(classes)}
    tops = {path: Path(path).relative_to(folder).parts for path in files}
    of_folder = {path: class_name(parts[0]) for path, parts in tops.items() if len(parts) > 1}
    return {path: numbers[name] for path, name in of_folder.items() if name in numbers}


def _print_errors(confusion: Confusion, classes: list[str], as_json: bool) -> None:
    """Print the errors: as text on the error stream, which does not mix with the CSV lines, or as JSON."""
    from trainers.evaluation import Evaluation

    images = int(confusion.images.sum())
    evaluation = Evaluation((images - int(confusion.counts.trace())) / images, images, confusion)
    if as_json:
        content = TestError.of(evaluation, classes).model_dump()
        print(json.dumps({"format": FORMAT, "classes": classes, **content}, indent=2))
        return
    error = error_text((evaluation.rate, evaluation.standard_error))
    lines = [f"error {error} (standard error, {counted(images, 'image')} in folders of classes)"]
    lines += [balance_text(confusion), *table_lines(confusion, [escaped(name) for name in classes])]
    print("\n".join(lines), file=sys.stderr)


def _classify(
    file: Path, model: "Model", files: list[str], unlike: "UnlikeTraining", write: _Write, progress: Progress
) -> dict[str, int]:
    """Write the rows of all images, with one batch in memory at a time; return the class of each that can be read."""
    import numpy as np
    import torch

    from trainers.evaluation import PIXELS_AT_ONCE

    pixel_range = getattr(model.config.dataset, "pixel_range", None)

    def decoded(path: str) -> ImageFile | str:
        """Return an image, or why it is left out."""
        try:
            return read_image_file(path, model.image_size, model.channels, pixel_range)
        except UnsupportedGreys as error:
            return f"left out: {error}"
        except Unreadable:
            return f"left out, since it cannot be read as an image: {escaped(path)}"

    device = next(model.network.parameters()).device
    batch = max(1, PIXELS_AT_ONCE // model.image_size**2)
    predicted: dict[str, int] = {}
    task = progress.add_task("images", total=len(files))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # decoding releases the GIL
        for first in range(0, len(files), batch):
            part = files[first : first + batch]
            images = list(threads.map(decoded, part))
            for path, image in zip(part, images, strict=True):
                if isinstance(image, str):
                    _print(progress, image)
                else:
                    unlike.add(path, image)
            known = [(path, image) for path, image in zip(part, images, strict=True) if not isinstance(image, str)]
            if known:
                pixels = torch.from_numpy(np.stack([image.pixels for _, image in known])).to(device)
                shares, classes = model.logits(pixels).softmax(1).max(1)
                if not shares.isfinite().all():
                    raise InputError(f"{file}: the probabilities that it gives are not finite; train the model again")
                predicted |= zip((path for path, _ in known), classes.tolist(), strict=True)
                write(
                    (path, model.classes[number], f"{share:.6f}")
                    for (path, _), number, share in zip(known, classes.tolist(), shares.tolist(), strict=True)
                )
            progress.update(task, completed=first + len(part))
    return predicted


def _progress() -> Progress:
    """Return a progress bar on the terminal's error stream, which does not mix with the result."""
    return Progress(console=Console(stderr=True), transient=True, disable=not can_redraw(sys.stderr))


def _print(progress: Progress, text: str) -> None:
    progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Terminal:
    """Where rows go if nobody has redirected them."""

    def write(self, line: str) -> None:
        sys.stdout.write(printable(line))


@contextmanager
def _rows_to(output: Path | None) -> Iterator[_Write]:
    """Give a function that writes rows to the terminal, or to a file that appears once all are written."""

    def rows(file: IO[bytes]) -> tuple[TextIOWrapper, _Write]:
        # The name of a file may hold any bytes; they are written as they are.
        text = TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        return text, lambda rows: writer.writerows([no_formula(cell) for cell in row] for row in rows)

    if output is None and sys.stdout.isatty():
        yield csv.writer(_Terminal(), lineterminator="\n").writerows
        return
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
