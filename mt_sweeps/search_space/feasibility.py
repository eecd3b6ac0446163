"""Whether a sampler finds anything to try: what a grid needs, and what the filters leave."""

from collections.abc import Iterator

from mt_sweeps.errors import did_you_mean
from mt_sweeps.search_space.distributions import Categorical, Tied
from mt_sweeps.search_space.space import Space


def why_infeasible(space: Space, sampler: str, trials: int, settings: list[str]) -> list[str]:
    """What keeps a space from being searched, with its place in the file.

    Args:
        space: of the search arm.
        sampler: its name.
        trials: how many the file asks for.
        settings: the dotted keys of all settings, searched or not.
    """
    return (
        [*_unknown_names(space, settings)]
        or [*_of_levels(space, sampler)]
        or _of_filters(space)
        or _of_grid(space, sampler, trials)
    )


def _unknown_names(space: Space, settings: list[str]) -> Iterator[str]:
    known = sorted({*space.entries, *space.fixed})
    for i, one in enumerate(space.filters):
        for key in sorted(one.keys - set(known)):
            told = f"filters.{i}: {key} is neither searched nor set under trainer"
            if key in settings:
                yield f"{told}; set it there, or take it out of the filter"
            else:
                yield f"{told}; {did_you_mean(key, known)}"


def _of_levels(space: Space, sampler: str) -> Iterator[str]:
    for key, branches in space.entries.items():
        for branch in branches:
            if sampler != "grid" and not isinstance(branch, Categorical | Tied) and branch.levels is not None:
                place = key if len(branches) == 1 else f"{key}.{branches.index(branch)}"
                yield (
                    f"search_space.{place}.levels: has no effect with sampler {sampler}; "
                    "take it out, or use sampler: {name: grid}"
                )


def _of_filters(space: Space) -> list[str]:
    combinations, all_there_are = space.tried()
    holding = set(range(len(combinations)))
    found = []
    for i, one in enumerate(space.filters):
        try:
            holding &= {n for n, values in enumerate(combinations) if one.holds({**space.fixed, **values})}
        except ValueError as error:
            found.append(f"filters.{i}: {error}")
    if found or holding:
        return found
    tried = f"{len(combinations):,} combinations" + ("" if all_there_are else " that were tried")
    told = " and ".join(repr(one.text) for one in space.filters)
    return [f"filters: leave nothing: none of the {tried} passes {told}; loosen one, or widen search_space"]


def _of_grid(space: Space, sampler: str, trials: int) -> list[str]:
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
