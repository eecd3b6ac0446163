"""`preview`: a picture of what the student and the teacher see."""

from pathlib import Path

from mt_sweeps.errors import InputError, trainer_error_text
from mt_sweeps.spec.load import load_spec
from trainers.config import TrainerConfig
from trainers.config.compatibility import idle_settings, is_idle
from trainers.data.sources import check_source
from trainers.errors import DataError, TrainingError, escaped

SMALLEST = 128  # pixels a side that an image is shown with


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
    from torch.nn.functional import interpolate
    from torchvision.utils import make_grid, save_image

    from trainers import Trainer

    try:
        left_out = check_source(config.dataset)
        trainer = Trainer(config)
        classes = trainer.preview_classes(images)
        rows = trainer.preview_views(images)
    except (DataError, TrainingError) as error:
        raise InputError(f"{file}: {trainer_error_text(error)}") from None
    scale = max(1, -(-SMALLEST // rows[0].shape[-1]))
    shown = [interpolate(row, scale_factor=scale, mode="nearest") for row in rows]
    try:
        save_image([make_grid(row, nrow=len(row), pad_value=1.0) for row in shown], output, nrow=1, padding=0)
    except (OSError, ValueError) as error:
        raise InputError(f"{output}: cannot be written: {error}; use a name that ends in .png or .jpg") from None
    augmentation = config.augmentation
    noise = [augmentation.noise, config.second_augmentation.noise]
    names = ["the image", "what the student sees", "what it is compared with"][: len(rows)]
    if len(names) > 2 and config.teacher.augmentation == "weak":
        names[2] += ": crop, translation and flip alone"
    idle = idle_settings(config)
    settings = [
        f"{name} {str(value).lower()}"
        for name, value in augmentation
        if value and value != "none" and name != "noise" and not is_idle(f"augmentation.{name}", idle)
    ]
    settings.append(f"noise {' and '.join(f'{value:g}' for value in noise[: len(rows) - 1])}")
    lines = [
        f"{output}: rows: {', '.join(names)}; {', '.join(settings)}, {config.normalization}",
        f"columns: {len(classes)} training images: {', '.join(map(_column_text, classes))}",
        *_row_texts(config, len(rows)),
        *(one.text() for one in left_out),
    ]
    return "\n".join(lines)


def _column_text(column: tuple[str | None, bool]) -> str:
    """Return the class of an image, and whether it is used."""
    name, is_labeled = column
    if name is None:
        return "unlabeled"
    return escaped(name) if is_labeled else f"unlabeled ({escaped(name)})"


def _row_texts(config: TrainerConfig, rows: int) -> list[str]:
    """Return what the rows mean, a line each."""
    target = {
        "mean_teacher": "what the teacher sees of it; the student is to answer as the teacher does",
        "pi_model": "what the student sees of it a second time; it is to answer as the first time",
    }.get(config.method, "a second view of it, for the target of the consistency loss")
    texts = ["the image as it was decoded", "what the student is trained on: it differs in every step", target]
    return [f"row {number}: {text}" for number, text in enumerate(texts[:rows], 1)]
