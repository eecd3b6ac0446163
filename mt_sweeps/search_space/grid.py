"""The combinations of a search space, one after another."""

from collections.abc import Iterator, Mapping, Sequence

from mt_sweeps.search_space.distributions import Branch, Tied, Values, branch_path, branch_that_holds

Entries = Mapping[str, Sequence[Branch]]


def all_combinations(entries: Entries) -> Iterator[Values]:
    """Return every combination of the values that a grid has of each key, the last key fastest.

    Args:
        entries: the searched keys with their branches, in the order of the file.

    Raises:
        ValueError: a float range has no `levels`.
    """
    order = _order(entries)
    return ({key: values[key] for key in entries if key in values} for values in _extend({}, order, entries))


def _order(entries: Entries) -> list[str]:
    """Return the keys as they stand in the file, `seed` first, but each after those that it needs."""
    order: dict[str, None] = {}

    def append(key: str) -> None:
        for needed in entries:
            if any(needed in branch.needs for branch in entries[key]):
                append(needed)
        order[key] = None

    for key in sorted(entries, key=lambda key: key != "seed"):
        append(key)
    return list(order)


def _extend(values: Values, keys: list[str], entries: Entries) -> Iterator[Values]:
    """Yield the values with every combination of the remaining keys."""
    if not keys:
        yield values
        return
    key, *rest = keys
    branch = branch_that_holds(entries[key], values)
    if branch is None:
        yield from _extend(values, rest, entries)
        return
    try:
        choices = [values[branch.same_as]] if isinstance(branch, Tied) else branch.grid()
    except ValueError as error:
        raise ValueError(f"{branch_path(key, branch, entries[key])}: {error}") from None
    for value in choices:
        yield from _extend({**values, key: value}, rest, entries)
