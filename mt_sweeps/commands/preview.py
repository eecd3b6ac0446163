"""`preview`: a picture of what the student and the teacher see."""

from pathlib import Path

from mt_sweeps.errors import InputError, trainer_error_text
from mt_sweeps.spec.load import load_spec
from trainers.config.compatibility import idle_settings, is_idle
from trainers.errors import DataError, TrainingError

SMALLEST = 64  # pixels a side that an image is shown with


def preview(file: Path, overrides: tuple[str, ...], output: Path, images: int) -> str:
    """Write a picture: a row of images, and below each what the student and the teacher see of it.

    Args:
        file: a search-space file; the settings of its first possible trial are shown.
        overrides: `key=value`, as for `run`.
        output: of the picture; its suffix says which kind (.png, .jpg).
        images: how many.

    Returns:
        What the picture shows, in words.

    Raises:
        InputError: the file is wrong, its images cannot be read, or the picture cannot be written.
    """
    config = load_spec(file, overrides).sample_config()
    from torch.nn.functional import interpolate
    from torchvision.utils import make_grid, save_image

    from trainers import Trainer

    try:
        rows = Trainer(config).preview_views(images)
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
    return f"{output}: rows: {', '.join(names)}; {', '.join(settings)}, {config.normalization}"
