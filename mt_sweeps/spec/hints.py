"""What people write by habit of other tools, and what is written here."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from mt_sweeps.errors import did_you_mean

_HABITS = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "bs": "batch_size",
    "batch": "batch_size",
    "alpha": "decay",
    "ema_decay": "decay",
    "max_steps": "steps",
    "iterations": "steps",
    "num_steps": "steps",
    "num_labels": "labels",
    "n_labels": "labels",
    "max_trials": "trials",
    "num_trials": "trials",
    "n_trials": "trials",
    "arch": "architecture",
    "amp": "precision",
    "dtype": "precision",
    "fp16": "precision",
}
"""The last words of keys in other tools, with the last words of ours."""
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


def unknown_key(key: str, known: list[str], elsewhere: Sequence[str] = ()) -> str:
    """Return advice for an unknown key: what it is called here, or the most similar key, and all known keys.

    Args:
        key: dotted, or the last word of one.
        known: the keys that may stand there.
        elsewhere: the dotted keys of other groups.
    """
    group, _, word = key.lower().rpartition(".")
    if word in ("epochs", "max_epochs", "num_epochs"):
        return "the length of a run is trainer.steps: steps = epochs x images / batch_size"
    word = word.replace("-", "_")
    ours = _HABITS.get(word)
    near = [one for one in known if ours is not None and one.rpartition(".")[2] == ours]
    same_group = [one for one in near if one.rpartition(".")[0] == group] or near
    if same_group:
        return f"did you mean {same_group[0]!r}? Known: {', '.join(sorted(known))}"
    meant = [one for one in elsewhere if one.replace(".", "_") == word]
    meant += [one for one in elsewhere if one.rpartition(".")[2] in (word, ours)]
    if meant and not get_close_matches(word[:100], known, n=1):
        return f"did you mean {meant[0]!r}? Known: {', '.join(sorted(known))}"
    return did_you_mean(key, known)


def whole_number(value: object) -> int | None:
    """Return the whole number that was meant by `5k`, `5,000`, `5_000` or `5e3`, or None."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    match = (
        re.fullmatch(r"(\d{1,3}(?:[,_' ]\d{3})+|\d{1,12}(?:\.\d{1,6})?) ?([kKmM]?)", value)
        if isinstance(value, str)
        else None
    )
    if match is None:
        return None
    number = round(float(re.sub("[,_' ]", "", match[1])) * _UNITS[match[2].lower()], 6)
    return int(number) if number.is_integer() else None
