"""`preview`: a picture of what the student and the teacher see."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from mt_sweeps.commands.pictures import LINE, MARGIN, Pen
from mt_sweeps.errors import InputError, trainer_error_text
from mt_sweeps.execution.preflight import left_out_lines
from mt_sweeps.formatting import counted
from mt_sweeps.results.enlarged import factor
from mt_sweeps.search_space.distributions import Entry, FloatRange, IntRange
from mt_sweeps.spec.dotted import dotted
from mt_sweeps.spec.load import load_spec
from mt_sweeps.spec.overrides import apply_override
from mt_sweeps.spec.strongest_views import strongest_configs
from mt_sweeps.spec.sweep_spec import Entries
from trainers.config import Augmentation, TrainerConfig, WithWeights
from trainers.config.compatibility import idle_settings, is_idle
from trainers.data.cache import prepare, read_facts
from trainers.data.sources import check_source
from trainers.errors import DataError, TrainingError, escaped

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class _View:
    """A row of views.

    Attributes:
        augmentation: that they are drawn with.
        caption: what they show.
    """

    augmentation: Augmentation
    caption: str


def preview(file: Path, overrides: tuple[str, ...], output: Path, images: int) -> str:
    """Write a picture: a row of images, and below each what the student and the teacher see of it.

    Args:
        file: a search-space file. There is a row for each strong view that is searched. Of other searched settings of
            views, the strongest values are shown.
        overrides: `key=value`, as for `run`; a searched setting of views that is set has this value.
        output: of the picture; its suffix says which kind (.png, .jpg).
        images: how many.

    Returns:
        What the picture shows, in words: its rows, the classes of its columns, and what was left out of the folder.

    Raises:
        InputError: the file is wrong, its images cannot be read, or the picture cannot be written.
    """
    spec, fixed = load_spec(file, overrides), _keys_set(overrides)
    try:
        configs = strongest_configs(spec, fixed)
    except InputError as error:
        raise InputError(*(f"{file}: {problem}" for problem in error.problems)) from None
    from trainers import Trainer

    searched = {key: branches for key, branches in spec.search_space.items() if key not in fixed}
    views = [*_student_views(configs, searched), *_second_views(configs, searched)]
    config = configs[0]
    try:
        left_out = check_source(config.dataset)
        trainer = Trainer(_without_probe(config))
        columns = [_column_text(one) for one in trainer.preview_classes(images)]
        rows = trainer.preview_views(images, [view.augmentation for view in views])
    except (DataError, TrainingError) as error:
        raise InputError(f"{file}: {trainer_error_text(error)}") from None
    captions = ["the image as it was decoded", *(view.caption for view in views)]
    try:
        _draw(rows, columns, captions).save(output)
    except (OSError, ValueError) as error:
        raise InputError(f"{output}: cannot be written: {error}; use a name that ends in .png or .jpg") from None
    lines = [
        f"{output}: {len(rows)} rows of {counted(len(columns), 'training image')}",
        f"columns: {', '.join(columns)}",
        *(f"row {number}: {text}" for number, text in enumerate(captions, 1)),
        *left_out_lines(read_facts(prepare(config.dataset)), left_out),
    ]
    return "\n".join(lines)


def _keys_set(overrides: tuple[str, ...]) -> set[str]:
    """Return the dotted keys of trainer settings that a person set."""
    data: dict[str, Any] = {}
    for override in overrides:
        if override.startswith("trainer."):
            apply_override(data, override)
    return set(dotted(data.get("trainer", {})))


def _draw(rows: "list[Tensor]", columns: list[str], captions: list[str]) -> Image.Image:
    """Draw images with a line above each row that says what it is, and the class of each column above all.

    Args:
        rows: float [n, channels, height, width] each, in [0, 1].
        columns: n texts.
        captions: a text for each row.
    """
    from torch.nn.functional import interpolate
    from torchvision.transforms.functional import to_pil_image
    from torchvision.utils import make_grid

    enlarged = [interpolate(row, scale_factor=factor(row.shape[-1]), mode="nearest") for row in rows]
    drawn = [to_pil_image(make_grid(row, nrow=len(row), pad_value=1.0).clamp(0, 1).cpu()) for row in enlarged]
    width, height = drawn[0].size
    canvas = Image.new("RGB", (width, LINE + len(drawn) * (LINE + height)), "white")
    pen = Pen(canvas)
    per_column = (width - MARGIN) / len(columns)
    for number, text in enumerate(columns):
        pen.write(text, MARGIN + number * per_column, 0, per_column - 2 * MARGIN)
    for number, (row, text) in enumerate(zip(drawn, captions, strict=True)):
        top = LINE + number * (LINE + height)
        pen.write(text, MARGIN, top, width - 2 * MARGIN)
        canvas.paste(row, (0, top + LINE))
    return canvas


def _without_probe(config: TrainerConfig) -> TrainerConfig:
    """Return a configuration that fits no probe: a picture needs none, and with many images it takes minutes."""
    if not isinstance(config.model, WithWeights):
        return config
    return config.model_copy(update={"model": config.model.model_copy(update={"head": "random"})})


def _student_views(configs: list[TrainerConfig], searched: Entries) -> list[_View]:
    """Return a row of the student's views for each augmentation that trials train with."""
    views: dict[Augmentation, _View] = {}
    for config in configs:
        settings = _settings(config, config.augmentation, searched)
        caption = f"what the student is trained on, drawn anew in every step: {settings}"
        views.setdefault(config.augmentation, _View(config.augmentation, caption))
    return list(views.values())


def _second_views(configs: list[TrainerConfig], searched: Entries) -> list[_View]:
    """Return a row of second views for each augmentation of theirs; none if the method needs no second view."""
    from trainers.methods import METHODS

    views: dict[Augmentation, _View] = {}
    for config in configs:
        if METHODS[config.method].needs_second_view:
            augmentation = config.second_augmentation
            views.setdefault(augmentation, _View(augmentation, _second_caption(config, searched)))
    return list(views.values())


def _second_caption(config: TrainerConfig, searched: Entries) -> str:
    weak = " (crop, translation and flip alone)" if config.teacher.augmentation == "weak" else ""
    settings = _settings(config, config.second_augmentation, searched)
    if config.method == "mean_teacher":
        return f"what the teacher sees of it{weak}: {settings}; the student is to answer as the teacher does"
    if config.method == "pi_model":
        return f"what the student sees of it a second time{weak}: {settings}; it is to answer as the first time"
    return f"a second view of it{weak}, for the target of the consistency loss: {settings}"


def _settings(config: TrainerConfig, augmentation: Augmentation, searched: Entries) -> str:
    """Return what changes the views of an augmentation, in words, and which of it is searched."""
    idle = idle_settings(config.model_copy(update={"augmentation": augmentation}))
    is_weak = augmentation is not config.augmentation and config.teacher.augmentation == "weak"
    settings = []
    for name, value in augmentation:
        key = f"augmentation.{name}"
        is_choice = name == "strong" and key in searched and not is_weak
        if is_idle(key, idle) or not (is_choice or (value and value != "none")):
            continue
        if name == "noise" and augmentation is not config.augmentation and config.teacher.noise is not None:
            key = "teacher.noise"
        shown = f"{value:g}" if isinstance(value, float) else str(value).lower()
        settings.append(f"{name} {shown}{_range_text(searched.get(key, []))}")
    return ", ".join(settings) or "no random change"


def _range_text(branches: list[Entry]) -> str:
    """Return between what a setting is searched, in words; nothing if it is not searched."""
    if not branches:
        return ""
    if len(branches) == 1 and isinstance(branches[0], FloatRange | IntRange):
        return f" (searched: {branches[0].low:g} to {branches[0].high:g})"
    return " (searched)"


def _column_text(column: tuple[str | None, bool]) -> str:
    """Return the class of an image, and whether it is used."""
    name, is_labeled = column
    if name is None:
        return "unlabeled"
    return escaped(name) if is_labeled else f"unlabeled ({escaped(name)})"
