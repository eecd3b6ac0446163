"""SweepSpec: what a search-space file says. Knows no file, no data, no GPU and no ledger."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, ModelWrapValidatorHandler, field_validator, model_validator

from mt_sweeps.search_space.distributions import Entry, Tied
from mt_sweeps.search_space.filters import Expression
from mt_sweeps.search_space.space import Space, Value, Values
from mt_sweeps.spec.arms import FIXED_ARMS, Arm
from mt_sweeps.spec.sections import Budget, Finalists, Objective, Pruner, Resources, Sampler, Tracking
from trainers import recipes
from trainers.config import Settings, TrainerConfig
from trainers.config.compatibility import CONSISTENCY_ONLY
from trainers.recipes.published import published_settings

_PLACE = r"/.*|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?"  # a bucket has 3 to 63 characters
PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class SweepSpec(Settings):
    """A search-space file."""

    name: str = Field(pattern=PLAIN_NAME)
    trainer: dict[str, Any] = Field(description="a TrainerConfig, nested; `recipe: NAME` stands for a published one's")
    search_space: dict[str, Annotated[list[Entry], Field(min_length=1)]] = Field(min_length=1)
    filters: list[Expression] = Field(default=[], description="expressions that hold for all that is tried")
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    trials: int = Field(
        ge=1, description="of the search arm; failed ones count, lost ones do not; left out: all that a grid has"
    )
    points: list[Values] = Field(default=[], description="`recipe: NAME` in one stands for that recipe's values")
    objective: Objective = Objective()
    resources: Resources = Resources()
    budget: Budget = Budget()
    finalists: Finalists = Finalists()
    tracking: Tracking = Tracking()
    storage: str | None = Field(
        None,
        description="where trials are kept: a folder that every node reaches (from /), or s3://bucket/prefix; none: in "
        "the home directory",
    )

    @field_validator("storage")
    @classmethod
    def _it_is_a_place_that_every_node_understands(cls, place: str | None) -> str | None:
        if place is not None and not re.fullmatch(_PLACE, place):
            raise ValueError(f"{place!r} is no place for all; use a folder, from /, or s3://bucket/prefix")
        return place

    @field_validator("trainer")
    @classmethod
    def _a_recipe_is_what_it_stands_for(cls, trainer: dict[str, Any]) -> dict[str, Any]:
        if "recipe" not in trainer:
            return trainer
        return recipes.settings(str(trainer["recipe"]), {k: v for k, v in trainer.items() if k != "recipe"})

    @field_validator("search_space", mode="before")
    @classmethod
    def _a_key_may_have_one_branch(cls, entries: Any) -> Any:
        if not isinstance(entries, dict):
            return entries
        return {key: [entry] if isinstance(entry, dict) else entry for key, entry in entries.items()}

    @model_validator(mode="wrap")
    @classmethod
    def _a_grid_counts_its_trials(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        sampler = data.get("sampler") if isinstance(data, dict) else None
        if not isinstance(sampler, dict) or sampler.get("name") != "grid" or "trials" in data:
            return handler(data)
        spec = handler({**data, "trials": 1})
        try:
            return spec.model_copy(update={"trials": max(1, len(spec.space().grid()))})
        except ValueError:
            return spec  # that there is no such grid is told with what else only shows when the parts are together

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's; the spaces are made anew, since they may not be those of the original."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("_spaces", None)
        return copy

    @cached_property
    def _spaces(self) -> dict[Arm, Space]:
        return {}

    @property
    def metric(self) -> str:
        """What the search arm is judged by: the objective; the student's error, where the method has no teacher."""
        has_teacher = self.trainer.get("method", "mean_teacher") == "mean_teacher"
        return self.objective.metric if has_teacher else "validation.student_error"

    def arms(self) -> list[Arm]:
        """The studies of this sweep, in the order in which they are run."""
        baselines: tuple[Arm, ...] = ("supervised", "published")
        found: list[Arm] = ["search", *(arm for arm in baselines if arm in self.finalists.baselines)]
        return [*found, "finalists"] if self.finalists.top else found

    def space(self, arm: Arm = "search") -> Space:
        """What an arm searches: the supervised baseline, the keys that concern it; published and finalists, nothing."""
        if arm not in self._spaces:
            whole = Space({}) if arm in FIXED_ARMS else Space(self.search_space, self.filters, _plain(self.trainer))
            self._spaces[arm] = whole.without(CONSISTENCY_ONLY) if arm == "supervised" else whole
        return self._spaces[arm]

    def trials_of(self, arm: Arm) -> int:
        """The same tuning budget for every arm; one trial where there is nothing to tune; of a grid, what it has."""
        space = self.space(arm)
        if arm == "finalists":
            return (min(self.finalists.top, self.trials) + len(self.finalists.baselines)) * self.finalists.seeds
        if not space.entries:
            return 1
        return min(self.trials, len(space.grid())) if self.sampler.name == "grid" else self.trials

    def expand_point(self, point: Values) -> Values:
        """The values of a hand-added point; those that its recipe stands for, where the branches of the space hold.

        Raises:
            ValueError: there is no such recipe, or it gives a searched key no value.
        """
        if "recipe" not in point:
            return point
        name = str(point["recipe"])
        # The images are not the recipe's, but it is no whole configuration without a folder for them.
        config = TrainerConfig.model_validate(recipes.settings(name, {"dataset": {"root": "anywhere"}}))
        recipe = dotted(config.model_dump(exclude_none=True))
        space, values = self.space(), {key: value for key, value in point.items() if key != "recipe"}
        for key in space.order:
            branch = space.branch(key, values)
            if key in values or branch is None:
                continue
            if isinstance(branch, Tied):
                values[key] = values[branch.same_as]
            elif key in recipe:
                values[key] = recipe[key]
            else:
                raise ValueError(f"{key}: the recipe {name} has no value for it; write one beside the recipe")
        return values

    def published_values(self, classes: int, unlabeled: int) -> Values:
        """All settings of the published baseline but its images, as dotted keys: the values of its one trial.

        Args:
            classes: of the data set.
            unlabeled: images that it has without labels.

        Raises:
            pydantic.ValidationError: what the file fixes does not go together with them.
        """
        settings = published_settings({**self.trainer, "steps": self.steps}, classes, unlabeled)
        config = TrainerConfig.model_validate(settings)
        return dotted(config.model_dump(exclude={"dataset"}, exclude_none=True))

    def config(self, values: Values, arm: Arm = "search") -> TrainerConfig:
        """The configuration of a trial with these values.

        Raises:
            pydantic.ValidationError: the values and the fixed settings do not go together.
        """
        return TrainerConfig.model_validate(self.trainer_settings(values, arm))

    def corners(self) -> list[tuple[Values, Arm]]:
        """Values with which the trials of the arms that search must be legal, and the arm."""
        arms = [arm for arm in self.arms() if arm not in FIXED_ARMS]
        return [(values, arm) for arm in arms for values in self.space(arm).corners()]

    def sample_config(self) -> TrainerConfig:
        """The configuration of one possible trial: for what is the same in all."""
        return self.config(self.space().corners()[0])

    @property
    def steps(self) -> int:
        """Of a trial, at the most: the same for every arm."""
        return max(self.config(corner).steps for corner in self.space().corners())

    def trainer_settings(self, values: Values, arm: Arm) -> dict[str, Any]:
        """The settings of a trial, nested, before they are validated."""
        fixed = {"dataset": self.trainer["dataset"]} if arm in FIXED_ARMS else self.trainer
        merged = {key: dict(value) if isinstance(value, dict) else value for key, value in fixed.items()}
        for key, value in values.items():
            *groups, last = key.split(".")
            inner: Any = merged
            for group in groups:
                inner = inner.setdefault(group, {})
                if not isinstance(inner, dict):
                    break  # a mistake of the file, which the validation names
            else:
                inner[last] = value
        if arm == "supervised":
            merged["method"] = "supervised"
        return merged


CHANGEABLE_ON_RESUME = {"trials", "budget", "resources", "tracking"}  # while a sweep is interrupted


def forbidden_changes(began: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What of a specification may not change between the start of a sweep and a resume, and has: a line each.

    Args:
        began: the specification that the sweep was started with, as JSON has it.
        now: the one it is to go on with.
    """
    old, new = dotted(began), dotted(now)
    return [
        f"{key}: the sweep was started with {old.get(key, 'none')}, here is {new.get(key, 'none')}"
        for key in {**old, **new}
        if key.split(".")[0] not in CHANGEABLE_ON_RESUME and old.get(key) != new.get(key)
    ]


def dotted(nested: dict[str, Any], prefix: str = "") -> Values:
    """Nested settings under dotted keys."""
    flat: Values = {}
    for key, value in nested.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _plain(trainer: dict[str, Any]) -> Values:
    """What the file fixes and a filter can name."""
    return {key: value for key, value in dotted(trainer).items() if isinstance(value, bool | int | float | str)}


__all__ = ["Objective", "SweepSpec", "Value", "Values"]
