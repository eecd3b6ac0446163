"""Damage a file of a home at random: its bytes, its kind, or a value in it."""

import json
import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from mt_sweeps.spec import yaml_file

_VALUES = (None, True, -1, 10**9, 1.5, "", "x", "../../x", [], [1], {}, {"a": 1})


def damage_home(home: Path, sweep: str, rng: random.Random) -> str:
    """Damage a file of one sweep, of the final trainings or of MLflow; return what was done.

    Args:
        home: the folder.
        sweep: the name of the sweep.
        rng: decides what is done.
    """
    files = sorted(
        file
        for file in [*(home / sweep).rglob("*"), *(home / "trained").rglob("*"), home / "mlflow.db"]
        if file.is_file() and not file.is_symlink()
    )
    kinds = {
        "spec.yaml": (3, _values_in_yaml),
        "environment.json": (3, _values_in_json),
        "result.json": (3, _values_in_json),
        "ledger.db": (5, _rows),
        "records.jsonl": (1, _values_in_lines),
    }
    file = rng.choices(files, [kinds.get(file.name, (1, None))[0] for file in files])[0]
    special = kinds.get(file.name, (0, None))[1]
    general: list[Callable[[Path, random.Random], str]] = [_bytes, _kind_of_file]
    change = special if special is not None and rng.random() < 0.5 else rng.choice(general)
    try:
        return f"{file.relative_to(home)}: {change(file, rng)}"
    except Exception:  # the damage before has left nothing to change
        return f"{file.relative_to(home)}: is damaged already"


def _bytes(file: Path, rng: random.Random) -> str:
    content, other = file.read_bytes(), rng.choice([one for one in sorted(file.parent.rglob("*")) if one.is_file()])
    at = rng.randrange(len(content) + 1)
    flipped = bytearray(content)
    for _ in range(rng.randrange(1, 20) if content else 0):
        flipped[rng.randrange(len(content))] = rng.randrange(256)
    name, damaged = rng.choice(
        [
            ("emptied", b""),
            ("cut off", content[:at]),
            ("zeros from somewhere on", content[:at] + bytes(len(content) - at)),
            ("bytes changed", bytes(flipped)),
            ("a part repeated", content[:at] + content[at // 2 :]),
            ("random bytes", rng.randbytes(rng.randrange(1, 2000))),
            (f"replaced by {other.name}", other.read_bytes()),
        ]
    )
    file.write_bytes(damaged)
    return name


def _kind_of_file(file: Path, rng: random.Random) -> str:
    kind = rng.choice(("removed", "a folder", "a pipe", "a dangling link"))
    file.unlink()
    if kind == "a folder":
        file.mkdir()
    elif kind == "a pipe":
        os.mkfifo(file)
    elif kind == "a dangling link":
        file.symlink_to(file.with_name("nowhere"))
    return kind


def _values_in_json(file: Path, rng: random.Random) -> str:
    content = json.loads(file.read_bytes()) if file.stat().st_size else {}
    change = _change_value(content, rng)
    file.write_text(json.dumps(content))
    return change


def _values_in_yaml(file: Path, rng: random.Random) -> str:
    content = yaml_file.read(file)
    change = _change_value(content, rng)
    file.write_text(yaml_file.dump(content))
    return change


def _values_in_lines(file: Path, rng: random.Random) -> str:
    lines = file.read_text().splitlines() or ["{}"]
    at = rng.randrange(len(lines))
    content = json.loads(lines[at])
    change = _change_value(content, rng)
    lines[at] = json.dumps(content)
    file.write_text("".join(f"{line}\n" for line in lines))
    return f"line {at + 1}: {change}"


def _change_value(content: Any, rng: random.Random) -> str:
    """Change, remove or add a value somewhere in nested dictionaries and lists."""
    while isinstance(content, dict | list) and content:
        key = rng.choice(sorted(content) if isinstance(content, dict) else range(len(content)))
        below = content[key]
        if not (isinstance(below, dict | list) and below) or rng.random() < 0.3:
            how = rng.choice(("changed", "changed", "removed", "added"))
            if how == "removed":
                del content[key]
            elif how == "added" and isinstance(content, dict):
                content[f"{key}_of_old"] = below
            else:
                content[key] = rng.choice(_VALUES)
            return f"{key} {how}"
        content = below
    return "nothing"


def _rows(file: Path, rng: random.Random) -> str:
    """Change, or delete, a row of a ledger."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(file)) as store, store:
        names = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        full = [name for name in sorted(names) if store.execute(f"SELECT count(*) FROM {name}").fetchone()[0]]
        table = rng.choice(full)
        rows = [row for (row,) in store.execute(f"SELECT rowid FROM {table}")]
        row = rng.choice(rows)
        if rng.random() < 0.2:
            store.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
            return f"a row of {table} deleted"
        column = rng.choice([one[1] for one in store.execute(f"PRAGMA table_info({table})")])
        (old,) = store.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row,)).fetchone()
        torn = str(old)[: rng.randrange(len(str(old)) + 1)]
        value = rng.choice((torn, torn, None, -1, 3, "x", "{}", "[]", "null", 1.5, b"\xff"))
        store.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row))
        return f"{column} of {table} is {value!r}"
    return "nothing"
