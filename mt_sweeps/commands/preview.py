"""`preview`: a picture of what the student and the teacher see."""

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from mt_sweeps.commands.pictures import LINE, MARGIN, Pen, factor
from mt_sweeps.errors import InputError, trainer_error_text
from mt_sweeps.execution.preflight import left_out_lines
from mt_sweeps.spec.load import load_spec
from trainers.config import TrainerConfig
from trainers.config.compatibility import idle_settings, is_idle
from trainers.data.cache import prepare, read_facts
from trainers.data.sources import check_source
from trainers.errors import DataError, TrainingError, escaped

if TYPE_CHECKING:
    from torch import Tensor


def preview(file: Path, overrides: tuple[str, ...], output: Path, images: int) -> str:
    """Write a picture: a row of images, and below each what the student and the teacher see of it.

    Args:
        file: a search-space file; the settings of its first possible trial are shown.
        overrides: `key=value`, as for `run`.
        output: of the picture; its suffix says which kind (.png, .jpg).
        images: how many.

    Returns:
        What the picture shows, in words: its rows, the classes of its columns, and what was left out of the folder.

    Raises:
        InputError: the file is wrong, its images cannot be read, or the picture cannot be written.
    """
    config = load_spec(file, overrides).sample_config()
    from trainers import Trainer

    try:
        left_out = check_source(config.dataset)
        trainer = Trainer(config)
        columns = [_column_text(one) for one in trainer.preview_classes(images)]
        rows = trainer.preview_views(images)
    except (DataError, TrainingError) as error:
        raise InputError(f"{file}: {trainer_error_text(error)}") from None
    captions = _captions(config)[: len(rows)]
    try:
        _draw(rows, columns, captions).save(output)
    except (OSError, ValueError) as error:
        raise InputError(f"{output}: cannot be written: {error}; use a name that ends in .png or .jpg") from None
    lines = [
        f"{output}: {', '.join(_settings(config, len(rows)))}",
        f"columns: {len(columns)} training images: {', '.join(columns)}",
        *(f"row {number}: {text}" for number, text in enumerate(captions, 1)),
        *left_out_lines(read_facts(prepare(config.dataset)), left_out),
    ]
    return "\n".join(lines)


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


def _settings(config: TrainerConfig, rows: int) -> list[str]:
    """Return what changes the views, in words."""
    noise = [config.augmentation.noise, config.second_augmentation.noise][: rows - 1]
    idle = idle_settings(config)
    settings = [
        f"{name} {str(value).lower()}"
        for name, value in config.augmentation
        if value and value != "none" and name != "noise" and not is_idle(f"augmentation.{name}", idle)
    ]
    if any(noise):
        settings.append(f"noise {' and '.join(f'{value:g}' for value in noise)}")
    return [*settings, config.normalization]


def _column_text(column: tuple[str | None, bool]) -> str:
    """Return the class of an image, and whether it is used."""
    name, is_labeled = column
    if name is None:
        return "unlabeled"
    return escaped(name) if is_labeled else f"unlabeled ({escaped(name)})"


def _captions(config: TrainerConfig) -> list[str]:
    """Return what each row shows."""
    weak = " (crop, translation and flip alone)" if config.teacher.augmentation == "weak" else ""
    target = {
        "mean_teacher": f"what the teacher sees of it{weak}; the student is to answer as the teacher does",
        "pi_model": f"what the student sees of it a second time{weak}; it is to answer as the first time",
    }.get(config.method, f"a second view of it{weak}, for the target of the consistency loss")
    return ["the image as it was decoded", "what the student is trained on: it differs in every step", target]
