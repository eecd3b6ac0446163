"""SweepSpec: the content of a search-space file, and what follows from it without data, a GPU or a ledger."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, TypeAdapter, field_validator, model_validator
from pydantic_core import to_json

from mt_sweeps.errors import short_repr
from mt_sweeps.search_space.distributions import Entry
from mt_sweeps.search_space.filters import Expression
from mt_sweeps.search_space.space import Space, Value, Values
from mt_sweeps.spec.arms import FIXED_ARMS, Arm
from mt_sweeps.spec.dotted import dotted
from mt_sweeps.spec.sections import MAX_TRIALS, Budget, Finalists, Objective, Pruner, Resources, Sampler, Tracking
from trainers import recipes
from trainers.config import Settings, TrainerConfig
from trainers.config.compatibility import CONSISTENCY_ONLY, PROBE_SETTINGS
from trainers.config.model import first_weights_of
from trainers.recipes.published import published_settings
from trainers.report import error_name, metric_of

_STORAGE = r"/.*|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?"  # a bucket has 3 to 63 characters
MAX_FILTERS = 5_000  # characters of all: each is computed for thousands of combinations
MAX_FROM = 10  # earlier sweeps: the trials that a sampler is given are shared between them
PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

Entries = dict[str, Annotated[list[Entry], Field(min_length=1, max_length=100)]]
"""The searched keys, dotted, each with its branches."""


NOT_SEARCHED = ("dataset.", "device", "method", "verdict")
"""Beginnings of the dotted keys that are the same for all trials of a sweep."""


class SweepSpec(Settings):
    """A search-space file."""

    model_config = ConfigDict(serialize_by_alias=True)

    name: str = Field(pattern=PLAIN_NAME)
    trainer: dict[str, Any] = Field(
        description="the settings that all trials share, nested; `recipe: NAME` stands for those of a published recipe"
    )
    search_space: Entries = Field(min_length=1, max_length=200)
    filters: list[Expression] = Field(
        default=[], max_length=100, description="expressions that every tried combination must satisfy"
    )
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    trials: int = Field(
        ge=1,
        le=MAX_TRIALS,
        description="number of trials of the search arm; failed trials count, trials that lost their worker are tried "
        "again and count once; a grid may leave it out: all combinations",
    )
    points: list[Values] = Field(
        default=[],
        max_length=1000,
        description="combinations to try first; `recipe: NAME` stands for the values of that recipe",
    )
    from_: list[Annotated[str, Field(pattern=PLAIN_NAME)]] = Field(
        default=[],
        alias="from",
        max_length=MAX_FROM,
        description="earlier sweeps of the same home: their best configurations are tried first, and their completed "
        "trials given to the sampler until as many have ended here",
    )
    objective: Objective = Objective()
    resources: Resources = Resources()
    budget: Budget = Budget()
    finalists: Finalists = Finalists()
    tracking: Tracking = Tracking()
    storage: str | None = Field(
        None,
        description="where the files of trials are kept: the absolute path of a folder that every node reaches, or "
        "s3://bucket/prefix; none: in the home directory",
    )

    @field_validator("storage")
    @classmethod
    def _every_node_reaches_it(cls, storage: str | None) -> str | None:
        if storage is not None and not re.fullmatch(_STORAGE, storage):
            raise ValueError(
                f"{short_repr(storage)} is not shared storage; use the absolute path of a folder, or s3://bucket/prefix"
            )
        return storage

    @field_validator("filters")
    @classmethod
    def _can_be_tried_in_a_second(cls, filters: list[str]) -> list[str]:
        if (length := sum(map(len, filters))) > MAX_FILTERS:
            raise ValueError(f"{length:,} characters in all; write at most {MAX_FILTERS:,}")
        return filters

    @field_validator("trainer")
    @classmethod
    def _expand_recipe(cls, trainer: dict[str, Any]) -> dict[str, Any]:
        if "recipe" not in trainer:
            return trainer
        return recipes.settings(str(trainer["recipe"]), {k: v for k, v in trainer.items() if k != "recipe"})

    @field_validator("search_space", mode="before")
    @classmethod
    def _list_the_only_branch(cls, entries: Any) -> Any:
        if not isinstance(entries, dict):
            return entries
        return {key: [entry] if isinstance(entry, dict) else entry for key, entry in entries.items()}

    @model_validator(mode="before")
    @classmethod
    def _compare_pre_trained_networks_with_a_probe(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("finalists", {}), dict):
            return data
        trainer, finalists = data.get("trainer"), data.get("finalists", {})
        model = trainer.get("model") if isinstance(trainer, dict) else None
        if first_weights_of(model) is None or "baselines" in finalists:
            return data
        return {**data, "finalists": {**finalists, "baselines": ["probe", "supervised", "published"]}}

    @model_validator(mode="wrap")
    @classmethod
    def _count_trials_of_grid(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        sampler = data.get("sampler") if isinstance(data, dict) else None
        if not isinstance(sampler, dict) or sampler.get("name") != "grid" or "trials" in data:
            return handler(data)
        spec = handler({**data, "trials": 1})
        try:
            return spec.model_copy(update={"trials": max(1, len(spec.space().grid()))})
        except ValueError:
            return spec  # `load` reports why there is no such grid, with all other problems

    @property
    def metric(self) -> str:
        """The metric that ranks trials: the objective's, or the student's where the method has no teacher."""
        has_teacher = self.trainer.get("method", "mean_teacher") == "mean_teacher"
        return self.objective.metric if has_teacher else metric_of(self.objective.metric, "student")

    @property
    def network(self) -> str:
        """Whose error ranks trials: `student` or `teacher`."""
        return "student" if "student" in self.metric else "teacher"

    @property
    def error_name(self) -> str:
        """What the metric is called where people read it: `error` or `balanced error`."""
        return error_name(self.metric)

    def arms(self) -> list[Arm]:
        """Return the arms of this sweep, in the order in which they run."""
        baselines: tuple[Arm, ...] = ("probe", "supervised", "published")
        arms: list[Arm] = ["search", *(arm for arm in baselines if arm in self.finalists.baselines)]
        return [*arms, "finalists"] if self.finalists.top else arms

    def space(self, arm: Arm = "search") -> Space:
        """Return the search space of an arm.

        The supervised arm searches the keys that concern it. The published arm and the finalists search nothing.

        Raises:
            ValueError: the entries or the filters do not go together.
        """
        # The JSON is the key of the cache: a copy of the specification with other entries has other spaces.
        return _space(to_json([self.search_space, self.filters, self.trainer], inf_nan_mode="constants"), arm)

    def trials_of(self, arm: Arm) -> int:
        """Return the number of trials of an arm.

        Every arm that searches has the same budget, but where combinations are enumerated no more than there are. An
        arm that searches nothing has one trial; the finalists have at most one trial per seed for each of the best and
        each baseline.
        """
        if arm == "finalists":
            return (min(self.finalists.top, self.trials) + len(self.finalists.baselines)) * self.finalists.seeds
        if not self.space(arm).entries:
            return 1
        combinations = self.enumerated(arm)
        return self.trials if combinations is None else min(self.trials, len(combinations))

    def enumerated(self, arm: Arm) -> list[Values] | None:
        """Return the combinations that an arm tries one after another, or None if a sampler draws them.

        On a grid all arms do; a probe always, if its networks can be counted, since it would come to the same again.

        Raises:
            ValueError: the sampler is a grid, and the space has none.
        """
        if self.sampler.name == "grid":
            return self.space(arm).grid()
        try:
            return self.space(arm).grid() if arm == "probe" else None
        except ValueError:
            return None

    def published_values(self, classes: int, unlabeled: int) -> Values:
        """Return the values of the published baseline's only trial: all settings but the data set's, as dotted keys.

        Args:
            classes: number of classes of the data set.
            unlabeled: number of images that are trained on without labels.

        Raises:
            pydantic.ValidationError: the published settings do not go together with those that the file fixes.
        """
        fixed = self.trainer
        if isinstance(model := fixed.get("model"), dict):  # which network, where only the search names one
            first = self.trainer_settings(self.space().corners()[0], "search")["model"]
            fixed = {**fixed, "model": {key: first[key] for key in ("architecture", "weights") if key in first} | model}
        settings = published_settings({**fixed, "steps": self.steps}, classes, unlabeled)
        config = TrainerConfig.model_validate(settings)
        return dotted(config.model_dump(exclude={"dataset"}, exclude_none=True))

    def config(self, values: Values, arm: Arm = "search") -> TrainerConfig:
        """Return the configuration of a trial.

        Args:
            values: of the trial's searched keys; for the published arm and the finalists, of all settings.
            arm: the arm of the trial.

        Raises:
            pydantic.ValidationError: the values and the fixed settings do not go together.
        """
        return TrainerConfig.model_validate(self.trainer_settings(values, arm))

    def corners(self) -> list[tuple[Values, Arm]]:
        """Return values that must give legal trials, each with its arm: the corners of every arm that searches."""
        return [(values, arm) for arm in self._searched_arms() for values in self.space(arm).corners()]

    def typical(self) -> Iterator[tuple[Values, Arm]]:
        """Yield values that stand for all that a sweep may try, each with its arm: see `Space.typical`."""
        return ((values, arm) for arm in self._searched_arms() for values in self.space(arm).typical())

    def _searched_arms(self) -> list[Arm]:
        return [arm for arm in self.arms() if arm not in FIXED_ARMS]

    def sample_config(self) -> TrainerConfig:
        """Return the configuration of one possible trial, for the settings that are the same in all trials."""
        return self.config(self.space().corners()[0])

    @property
    def steps(self) -> int:
        """The largest number of optimizer steps that a trial may have; it is the same for every arm."""
        return max(self.config(corner).steps for corner in self.space().corners())

    @property
    def total_steps(self) -> int:
        """The largest number of optimizer steps of all trainings of a trial: one, or one per fold."""
        return max(self.config(corner).total_steps for corner in self.space().corners())

    def trainer_settings(self, values: Values, arm: Arm) -> dict[str, Any]:
        """Return the settings of a trial, nested and not validated. Args as for `config`."""
        fixed = {"dataset": self.trainer["dataset"]} if arm in FIXED_ARMS else self.trainer
        merged = {key: dict(value) if isinstance(value, dict) else value for key, value in fixed.items()}
        for key, value in values.items():
            # A class may have a dot in its name.
            *groups, last = key.split(".", 1) if key.startswith("class_weights.") else key.split(".")
            inner: Any = merged
            for group in groups:
                inner = inner.setdefault(group, {})
                if not isinstance(inner, dict):
                    break  # a mistake in the file, which the validation reports
            else:
                inner[last] = value
        if arm == "supervised":
            merged["method"] = "supervised"
        return _of_a_probe(merged, self) if arm == "probe" else merged


def _concerns_a_probe(key: str) -> bool:
    if key in ("model.head", "model.batch_norm"):  # a probe fits the head, and trains nothing
        return False
    return key in ("augmentation.crop", "normalization", "class_weights") or key.startswith(
        ("model.", "dataset.", "class_weights.")
    )


def _of_a_probe(settings: dict[str, Any], spec: SweepSpec) -> dict[str, Any]:
    """Return the settings that concern a probe. The number of steps is that of its only report."""
    kept = {key: value for key, value in settings.items() if key in PROBE_SETTINGS}
    if isinstance(settings.get("augmentation"), dict) and "crop" in settings["augmentation"]:
        kept["augmentation"] = {"translate": 0, "crop": settings["augmentation"]["crop"]}
    return kept | {"method": "probe", "steps": spec.steps}


_SPACE_CONTENT: TypeAdapter[tuple[Entries, list[str], dict[str, Any]]] = TypeAdapter(
    tuple[Entries, list[str], dict[str, Any]]
)


@lru_cache(maxsize=16)
def _space(content: bytes, arm: Arm) -> Space:
    """Return the space of an arm; built once per content, since its corners and its grid take long to compute.

    Args:
        content: search_space, filters and trainer of a specification, as JSON.
        arm: the arm.
    """
    if arm in FIXED_ARMS:
        return Space({})
    if arm == "supervised":
        return _space(content, "search").without(CONSISTENCY_ONLY)
    if arm == "probe":
        space = _space(content, "search")
        return space.without(tuple(key for key in space.entries if not _concerns_a_probe(key)))
    entries, filters, trainer = _SPACE_CONTENT.validate_json(content)
    fixed = {key: value for key, value in dotted(trainer).items() if isinstance(value, bool | int | float | str)}
    return Space(entries, filters, fixed)


__all__ = ["Objective", "SweepSpec", "Value", "Values"]
