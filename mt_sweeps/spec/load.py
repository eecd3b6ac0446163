"""The search-space file, validated whole and on any machine: everything that is wrong with it is told at once."""

from pathlib import Path

from pydantic import ValidationError

from mt_sweeps.errors import InputError, did_you_mean
from mt_sweeps.search_space import feasibility
from mt_sweeps.spec import validation_errors, yaml_file
from mt_sweeps.spec.arms import Arm
from mt_sweeps.spec.overrides import apply
from mt_sweeps.spec.sweep_spec import SweepSpec, Values
from trainers.config import TrainerConfig
from trainers.config.known_datasets import KNOWN_DATASETS


def load_spec(path: Path, overrides: tuple[str, ...] = ()) -> SweepSpec:
    """Read and validate a search-space file.

    Args:
        path: of the YAML file.
        overrides: `key=value`, applied before validation; the key is a path into the file.

    Raises:
        InputError: with everything that is wrong, a line each.
    """
    data = yaml_file.read(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: must be a mapping with the keys {', '.join(SweepSpec.model_fields)}")
    for override in overrides:
        apply(data, override)
    try:
        spec = SweepSpec.model_validate(data)
    except ValidationError as error:
        raise InputError(
            *(f"{path}: {_dotted(where)}: {what}" for where, what in validation_errors.describe(error, SweepSpec, data))
        ) from None
    found = _problems(spec)
    if found:
        raise InputError(*(f"{path}: {problem}" for problem in found))
    return spec.model_copy(update={"points": [spec.expand_point(point) for point in spec.points]})


def _problems(spec: SweepSpec) -> list[str]:
    """What only shows when the parts of a file are seen together."""
    known = validation_errors.dotted_keys(TrainerConfig)
    refused = [
        f"search_space.{key}: unknown key; {did_you_mean(key, known)}" for key in spec.search_space if key not in known
    ]
    refused += [
        f"search_space.{key}: is not searched: trials are compared on the same images; set it under trainer"
        for key in spec.search_space
        if key.startswith(("dataset.", "device", "method", "verdict"))
    ]
    if spec.trainer.get("dataset", {}).get("with_validation"):
        refused.append(
            "trainer.dataset.with_validation: a search needs images that it is not trained on; take it out, and train "
            "the best of the search by `mt-sweep train FILE --with-validation`"
        )
    if refused:
        return refused
    try:
        space = spec.space()
    except ValueError as error:
        return [f"search_space.{error}"]
    found = feasibility.why_infeasible(space, spec.sampler.name, spec.trials, known)
    if spec.sampler.name == "grid" and spec.points:
        found.append("points: a grid is enumerated; add their values to it, or use another sampler")
    if found:
        return found
    if len(spec.points) > spec.trials:
        found.append(f"points: has {len(spec.points)} entries and trials is {spec.trials}; raise trials or remove some")
    for i, point in enumerate(spec.points):
        try:
            space.to_params(spec.expand_point(point))
        except ValueError as error:
            found.append(f"points.{i}: {error}")
    for values, arm in spec.corners():
        for problem in _config_problems(spec, values, arm):
            if problem not in found:
                found.append(problem)
    return found or _published_problems(spec)


def _config_problems(spec: SweepSpec, values: Values, arm: Arm) -> list[str]:
    try:
        spec.config(values, arm)
    except ValidationError as error:
        data = spec.trainer_settings(values, arm)
        lines = []
        for path, what in validation_errors.describe(error, TrainerConfig, data):
            key = _dotted(path)
            place = "search_space" if key in values else "trainer"
            lines.append(f"{place}.{key}: {what}" if key else f"{place}: {what}")
        return lines
    return []


def _published_problems(spec: SweepSpec) -> list[str]:
    """As far as they show on any machine: where the data set is not known, it is taken to have enough images."""
    if "published" not in spec.arms():
        return []
    config = spec.sample_config()
    known = KNOWN_DATASETS.get(config.dataset.name)
    others = known.extra if known and getattr(config.dataset, "extra", False) else 0
    unlabeled = config.dataset.unlabeled_count(known.train, others) if known else config.batch_size
    try:
        spec.published_values(known.classes if known else 10, unlabeled)
    except ValidationError as error:
        found = validation_errors.describe(error, TrainerConfig, spec.trainer)
        return [f"finalists.baselines: published: {_dotted(path) or 'trainer'}: {what}" for path, what in found]
    return []


def with_trials(spec: SweepSpec, trials: int) -> SweepSpec:
    """The same sweep with another number of trials.

    Raises:
        InputError: it cannot have so many.
    """
    changed = spec.model_copy(update={"trials": trials})
    found = _problems(changed)
    if found:
        raise InputError(*found)
    return changed


def _dotted(path: validation_errors.KeyPath) -> str:
    return ".".join(map(str, path))
