"""Checks that a sampler has combinations to try: what a grid needs, and what the filters allow."""

from collections.abc import Iterator

from mt_sweeps.errors import did_you_mean
from mt_sweeps.search_space.distributions import Categorical, Tied
from mt_sweeps.search_space.space import Space


def why_infeasible(space: Space, sampler: str, trials: int, settings: list[str]) -> list[str]:
    """Return why a space cannot be searched, one line per problem, each with its key in the file; empty: it can.

    Args:
        space: of the search arm.
        sampler: name of the sampler.
        trials: number of trials in the file.
        settings: the dotted keys of all settings, searched or not.
    """
    return (
        [*_unknown_keys_in_filters(space, settings)]
        or [*_levels_without_effect(space, sampler)]
        or _filter_problems(space)
        or _grid_problems(space, sampler, trials)
    )


def _unknown_keys_in_filters(space: Space, settings: list[str]) -> Iterator[str]:
    known = sorted({*space.entries, *space.fixed})
    for i, expression in enumerate(space.filters):
        for key in sorted(expression.keys - set(known)):
            advice = "set it there, or take it out of the filter" if key in settings else did_you_mean(key, known)
            yield f"filters.{i}: {key} is neither searched nor set under trainer; {advice}"


def _levels_without_effect(space: Space, sampler: str) -> Iterator[str]:
    for key, branches in space.entries.items():
        for branch in branches:
            if sampler != "grid" and not isinstance(branch, Categorical | Tied) and branch.levels is not None:
                yield (
                    f"search_space.{space.path(key, branch)}.levels: has no effect with sampler {sampler}; "
                    "take it out, or use sampler: {name: grid}"
                )


def _filter_problems(space: Space) -> list[str]:
    if not space.filters:
        return []
    combinations, are_all = space.combinations_to_check()
    allowed = set(range(len(combinations)))
    problems = []
    for i, expression in enumerate(space.filters):
        try:
            allowed &= {n for n, values in enumerate(combinations) if expression.holds({**space.fixed, **values})}
        except ValueError as error:
            problems.append(f"filters.{i}: {error}")
    if problems or allowed:
        return problems
    count = f"{len(combinations):,} combinations" + ("" if are_all else " that were tried")
    expressions = " and ".join(repr(expression.text) for expression in space.filters)
    return [f"filters: leave nothing: none of the {count} passes {expressions}; loosen one, or widen search_space"]


def _grid_problems(space: Space, sampler: str, trials: int) -> list[str]:
    if sampler != "grid":
        return []
    try:
        size = len(space.grid())
    except ValueError as error:
        return [str(error) if str(error).startswith("sampler") else f"search_space.{error}"]
    if size == 0:
        return ["filters: leave nothing of the grid; loosen one, or widen search_space"]
    if trials > size:
        return [f"trials: is {trials} and the grid has {size} combinations; lower trials, or leave it out for all"]
    return []
