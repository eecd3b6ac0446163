"""Points: configurations that a person gives to a search, in the file or, while it runs, by `mt-sweep add`."""

from collections.abc import Sequence

from mt_sweeps.errors import InputError
from mt_sweeps.search_space.distributions import Tied
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.dotted import dotted
from mt_sweeps.spec.sweep_spec import SweepSpec, Values
from trainers import recipes
from trainers.config import TrainerConfig


def parse_point(assignments: Sequence[str]) -> Values:
    """Return a point as it was typed.

    Args:
        assignments: `key=value` each; the key is dotted, as in search_space, and the value is YAML.

    Raises:
        InputError: one is no assignment, or two are of the same key.
    """
    point: Values = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise InputError(f"{assignment}: write key=value, the key as in search_space: ema.decay=0.99")
        if key in point:
            raise InputError(f"{key}: is given twice; give it once")
        point[key] = yaml_file.parse(text, key)
    return point


def expand_point(spec: SweepSpec, point: Values) -> Values:
    """Return the values of a point from the file.

    A recipe in the point stands for its values of the searched keys whose branches hold. The point's own values
    come first.

    Args:
        spec: of the sweep.
        point: values of searched keys; `recipe: NAME` stands for those of a recipe.

    Raises:
        ValueError: there is no such recipe, or it has no value for a searched key.
    """
    if "recipe" not in point:
        return point
    name = str(point["recipe"])
    # A recipe's values do not depend on the images, but its configuration is not valid without a folder for them.
    config = TrainerConfig.model_validate(recipes.settings(name, {"dataset": {"root": "anywhere"}}))
    recipe = dotted(config.model_dump(exclude_none=True))
    space, values = spec.space(), {key: value for key, value in point.items() if key != "recipe"}
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


def params_of_point(spec: SweepSpec, point: Values) -> Values:
    """Return the ledger's parameters for a point; two points with the same ones are the same.

    Args:
        spec: of the sweep.
        point: values of searched keys; `recipe: NAME` stands for those of a recipe.

    Raises:
        ValueError: the point is not in the space, or a filter rules it out.
    """
    return spec.space().to_params(expand_point(spec, point))
