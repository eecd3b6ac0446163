"""Points: configurations that a person gives to a search, in the file or, while it runs, by `mt-sweep add`."""

from collections.abc import Sequence

from mt_sweeps.errors import InputError
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.sweep_spec import SweepSpec, Values


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


def params_of_point(spec: SweepSpec, point: Values) -> Values:
    """Return the ledger's parameters for a point; two points with the same ones are the same.

    Args:
        spec: of the sweep.
        point: values of searched keys; `recipe: NAME` stands for those of a recipe.

    Raises:
        ValueError: the point is not in the space, or a filter rules it out.
    """
    return spec.space().to_params(spec.expand_point(point))
