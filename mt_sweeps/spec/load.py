"""Reads and validates a search-space file. All problems are reported at once, on any machine."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError

from mt_sweeps.errors import InputError, short_repr
from mt_sweeps.program import program
from mt_sweeps.search_space import feasibility
from mt_sweeps.search_space.distributions import IntRange
from mt_sweeps.spec import hints, validation_errors, yaml_file
from mt_sweeps.spec.allowed_paths import check_paths
from mt_sweeps.spec.arms import Arm
from mt_sweeps.spec.overrides import apply_override
from mt_sweeps.spec.points import expand_point, params_of_point
from mt_sweeps.spec.prior_points import prior_problems
from mt_sweeps.spec.sweep_spec import NOT_SEARCHED, SweepSpec, Values
from trainers.config import Timm, TrainerConfig
from trainers.config.known_datasets import KNOWN_DATASETS
from trainers.errors import DataError

_TRIED_INTEGERS = 200  # of a range, to see whether those that are legal have one distance
_NAMES = ("trainer.dataset.name: ", "trainer.model.name: ")


def load_spec(path: Path, overrides: tuple[str, ...] = ()) -> SweepSpec:
    """Read and validate a search-space file.

    Args:
        path: of the YAML file.
        overrides: `key=value`, applied before validation; the key is a path into the file.

    Raises:
        InputError: the file is not valid; one line per problem.
    """
    data = yaml_file.read(path)
    if not isinstance(data, dict):
        raise InputError(
            f"{path}: must be a mapping with the keys {', '.join(validation_errors.known_keys(SweepSpec))}"
        )
    if str(data.get("format", "")).startswith("mt-sweeps-best/"):
        raise InputError(
            f"{path}: is a best-hyper-parameters file, and a search-space file is needed here; to train the final "
            f"model with it: `{program()} train {path}`"
        )
    for override in overrides:
        apply_override(data, override)
    check_paths(str(path), data, overrides)
    try:
        spec = SweepSpec.model_validate(data)
    except ValidationError as error:
        lines = [f"{path}: {key}: {text}" for key, text in validation_errors.describe(error, SweepSpec, data)]
        raise InputError(*lines) from None
    problems = _problems(spec) or _draw_problems(spec)
    if problems:
        raise InputError(*(f"{path}: {problem}" for problem in problems))
    return spec.model_copy(update={"points": [expand_point(spec, point) for point in spec.points]})


def _problems(spec: SweepSpec) -> list[str]:
    """Return the problems that show only when the parts of a file are taken together."""
    settings = validation_errors.dotted_keys(TrainerConfig)
    problems = _key_problems(spec, settings)
    if problems:  # perhaps because a plugin is not imported, which has these keys
        unknown = [one for one in config_problems(spec, {}, "search") if one.startswith(_NAMES)]
        return [*unknown, *problems]
    try:
        space = spec.space()
    except ValueError as error:
        return [f"search_space.{error}"]
    problems = feasibility.why_infeasible(space, spec.sampler.name, spec.trials, settings)
    if spec.sampler.name == "grid" and spec.points:
        problems.append("points: a grid is enumerated; add their values to it, or use another sampler")
    if spec.sampler.name == "grid" and spec.from_:
        problems.append("from: a grid is enumerated, and learns nothing; take it out, or use another sampler")
    if problems:
        return problems
    corners = spec.corners()
    problems = [
        *_point_problems(spec),
        *(one for values, arm in corners if arm != "probe" for one in config_problems(spec, values, arm)),
    ]
    # The settings of a probe and of the published baseline follow from those of the search.
    probes = (one for values, arm in corners if arm == "probe" for one in config_problems(spec, values, arm))
    return (
        list(dict.fromkeys(problems))
        or [*dict.fromkeys(probes), *_published_problems(spec), *_smallest_gain_problems(spec), *prior_problems(spec)]
        or [*_architecture_problems(spec)]
    )


def _key_problems(spec: SweepSpec, settings: list[str]) -> list[str]:
    """Return why keys cannot be searched, or be set in a search."""
    problems = [
        f"search_space.{key}: unknown key; {hints.unknown_key(key, settings)}"
        for key in spec.search_space
        if key not in settings
    ]
    problems += [
        f"search_space.{key}: is not searched: trials are compared on the same images; set it under trainer"
        for key in spec.search_space
        if key.startswith(NOT_SEARCHED)
    ]
    if spec.trainer.get("method") == "probe":
        problems.append(
            "trainer.method: probe has nothing to search; take it out, and add probe to finalists.baselines"
        )
    dataset = spec.trainer.get("dataset")
    if isinstance(dataset, dict) and dataset.get("with_validation"):
        problems.append(
            "trainer.dataset.with_validation: a search needs images that it is not trained on; take it out, and train "
            f"the best of the search by `{program()} train FILE --with-validation`"
        )
    return problems


def _point_problems(spec: SweepSpec) -> Iterator[str]:
    if len(spec.points) > spec.trials:
        yield f"points: has {len(spec.points)} entries and trials is {spec.trials}; raise trials or remove some"
    for i, point in enumerate(spec.points):
        try:
            params_of_point(spec, point)
        except ValueError as error:
            yield f"points.{i}: {error}"


def _draw_problems(spec: SweepSpec) -> list[str]:
    """Return why the trainer refuses a combination of values that the search may come to: of the first such one."""
    for values, arm in spec.typical():
        if problems := config_problems(spec, values, arm):
            return [f"{problem}; {_way_out(spec, values, arm, problem)}" for problem in problems]
    return []


def _way_out(spec: SweepSpec, values: Values, arm: Arm, problem: str) -> str:
    """Return how to keep the search from a combination: by a step that leaves out values of a range, or by a filter."""
    for key in values:
        branch = spec.space(arm).branch(key, values)
        if isinstance(branch, IntRange) and problem.startswith(f"search_space.{key}: "):
            tried = range(branch.low, min(branch.high, branch.low + _TRIED_INTEGERS) + 1)
            legal = [value for value in tried if not config_problems(spec, {**values, key: value}, arm)]
            steps = {after - before for before, after in pairwise(legal)}
            if len(steps) == 1 and (step := steps.pop()) > 1:
                high = branch.high - (branch.high - legal[0]) % step
                return f"in this range, write low: {legal[0]}, high: {high}, step: {step}"
    combination = ", ".join(f"{key}: {short_repr(value, str)}" for key, value in values.items())
    return f"the search may try {combination}: rule such values out with filters, or narrow search_space"


def config_problems(spec: SweepSpec, values: Values, arm: Arm) -> list[str]:
    """Return why the trainer refuses a combination of values, one line per key of the file; empty: it does not."""
    try:
        spec.config(values, arm)
    except ValidationError as error:
        data = spec.trainer_settings(values, arm)
        if arm == "probe":
            texts = [text for _, text in validation_errors.describe(error, TrainerConfig, data)]
            return [f"finalists.baselines: {text}, or leave probe out" for text in texts]
        problems = []
        for key, text in validation_errors.describe(error, TrainerConfig, data):
            section = "search_space" if key in values else "trainer"
            problems.append(f"{section}.{key}: {text}" if key else f"{section}: {text}")
        return problems
    return []


def _published_problems(spec: SweepSpec) -> list[str]:
    """Return why there are no published values, as far as the size of the data set is known."""
    is_baseline = "published" in spec.arms()
    if not is_baseline and spec.sampler.prior != "paper":
        return []
    config = spec.sample_config()
    known = KNOWN_DATASETS.get(config.dataset.name)
    extra = known.extra if known and getattr(config.dataset, "extra", False) else 0
    # A data set of unknown size is taken to fill a batch: `run` checks it again, with its images.
    unlabeled = config.dataset.unlabeled_count(known.train, extra) if known else config.batch_size
    try:
        spec.published_values(known.classes if known else 10, unlabeled)
    except ValidationError as error:
        problems = validation_errors.describe(error, TrainerConfig, spec.trainer)
        of, way = ("finalists.baselines: published", "leave published out")
        if not is_baseline:
            of, way = ("sampler.prior: paper", "take prior out")
        return [f"{of}: {key or 'trainer'}: {text}; set it under trainer, or {way}" for key, text in problems]
    return []


def _smallest_gain_problems(spec: SweepSpec) -> Iterator[str]:
    """Yield that no such difference can be seen, where the file says how many images the finalists are scored on."""
    points, dataset = spec.finalists.smallest_gain, spec.sample_config().dataset
    kept_back = dataset.verdict > 0
    images = dataset.verdict or dataset.validation or (0 if dataset.labels == "all" else dataset.labels)
    if points is not None and images and points < (one := 100 / images):
        key = "trainer.dataset.verdict" if kept_back else "the validation images"
        yield (
            f"finalists.smallest_gain ({points:g}) is less than one image: finalists are scored on {images:,} "
            f"({key}), of which each is {one:.2g} points; write at least {one:.2g}, or keep more images back"
        )


def _architecture_problems(spec: SweepSpec) -> Iterator[str]:
    """Yield why a library does not have the networks that the file names."""
    models = [spec.config(values, arm).model for values, arm in spec.corners()]
    for name in dict.fromkeys(model.architecture for model in models if isinstance(model, Timm)):
        from trainers.models.timm_network import check_architecture  # loads torch and timm

        try:
            check_architecture(name)
        except DataError as error:
            section = "search_space" if "model.architecture" in spec.search_space else "trainer"
            yield f"{section}.{error}"


def with_trials(spec: SweepSpec, trials: int) -> SweepSpec:
    """Return the specification with another number of trials.

    Raises:
        InputError: the sweep cannot have so many.
    """
    changed = spec.model_copy(update={"trials": trials})
    problems = _problems(changed)
    if problems:
        raise InputError(*problems)
    return changed


def with_more_hours(spec: SweepSpec, hours: float) -> SweepSpec:
    """Return the specification with a budget of so many more hours.

    Raises:
        InputError: its budget is not in hours.
    """
    if spec.budget.hours is None:
        raise InputError(
            f"--hours: {spec.name} has no budget.hours that could grow; it goes on as long as trials are left"
        )
    budget = spec.budget.model_copy(update={"hours": spec.budget.hours + hours})
    return spec.model_copy(update={"budget": budget})
