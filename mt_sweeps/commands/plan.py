"""`plan`: forecast what a sweep takes, before it is started."""

from pathlib import Path

from mt_sweeps.commands.warm_start import with_prior_points
from mt_sweeps.errors import InputError, trainer_error_text
from mt_sweeps.execution import forecast as forecasts
from mt_sweeps.execution.preflight import check_data, check_folder
from mt_sweeps.execution.resources import local_resources, share_of
from mt_sweeps.spec.load import load_spec
from mt_sweeps.terminal import print
from trainers.config import ImageFolder, Imagenet
from trainers.errors import DataError, TrainingError


def plan(file: Path, overrides: tuple[str, ...], trials: int | None) -> str:
    """Return the forecast of a sweep on this machine. Nothing is started; only decoded images are written.

    Args:
        file: the search-space file.
        overrides: `key=value` into the file.
        trials: overrides the file's number of trials.

    Returns:
        The forecast, in words. Where the machine cannot train, the part that does not depend on it.

    Raises:
        InputError: the file is wrong, asks for what this machine does not have, or its folder of images or its weights
            cannot be used.
    """
    spec = load_spec(file, (*overrides, *([f"trials={trials}"] if trials is not None else [])))
    check_folder(file, spec)
    share = share_of(file, spec, [local_resources()])
    try:
        planned = forecasts.forecast(spec, share.concurrent)
    except DataError as error:
        raise InputError(f"{file}: {trainer_error_text(error)}") from None
    data, speed, trouble = None, None, ""
    try:
        data = check_data(file, spec)
        print("measuring a few steps", flush=True)
        here = {} if share.gpus else {"device": "cpu"}  # what `auto` is in a trial without a GPU
        speed = forecasts.measure_speed(spec.sample_config().model_copy(update=here), share.cpus)
    except (InputError, DataError, TrainingError) as error:
        if isinstance(error, InputError) and isinstance(spec.sample_config().dataset, ImageFolder | Imagenet):
            raise  # nothing of it has to be downloaded: `run` would refuse the same
        trouble = f"\n  note      not measured: {error}"
    text = forecasts.text(spec, planned, share, data, speed)
    _, prior = with_prior_points(spec, len(data.classes), data.purposes["unlabeled"], {}) if data else ({}, [])
    return "\n".join([text, *prior]) + trouble
