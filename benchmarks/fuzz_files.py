"""Mutate search-space files, best files and `--set`: each is refused with a message, or accepted, and then it runs.

    uv run python -m benchmarks.fuzz_files --spaces 20000 --best 10000 --set 1000

A finding is a traceback, more than five seconds of processor time, a message that does not begin with the file (or
`--set`), or an accepted file of which 50 draws do not each build a `TrainerConfig`. One seed makes one file:
`--seed N --spaces 1` makes it again.
"""

import argparse
import copy
import json
import random
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from pydantic import ValidationError

from mt_sweeps.errors import InputError
from mt_sweeps.results import best_file
from mt_sweeps.results.best_file import BestFile, Seeds, Validation
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.arms import FIXED_ARMS
from mt_sweeps.spec.load import load_spec
from mt_sweeps.spec.sections import Sampler, Tracking
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.study.sampler import ArmSampler

SECONDS = 5
DRAWS = 50
SPACES = sorted((Path(__file__).parents[1] / "search_spaces").glob("*.yaml"))
DIGITS = next(file for file in SPACES if file.stem == "digits")
NASTY: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 7, 2**31, 2**53, 2**63, 10**30, 0.0, -0.5, 0.5, 1.0, 1e-300, 1e308, 5e-324),
    *(float("nan"), float("inf"), "", " ", "mse", "digits", "small_cnn", "5k", "1,000", "a" * 300, "ema.decay", "²"),
    *("\x1b[31m", "a\nb", "\u202e", "é", "../..", "%", "{}", "]", "auto", "all", "grid", "steps", "1 +", "1 == 1"),
    *([], {}, [1, 2], [1, 1], [[]], ["a", 1, True, 0.5], {"name": "adam"}, {"type": "int"}, {"a": {"b": {"c": 1}}}),
    *({"type": "int", "low": 1, "high": 9}, {"type": "float", "low": 0.1, "high": 0.9, "scale": "log"}),
    *({"type": "categorical", "choices": [1, 2, 3]}, {"same_as": "ema.decay"}, list(range(150)), {"recipe": "x"}),
]
"""Values that take the place of others."""
ENTRIES: dict[str, Any] = {
    "batch_size": {"type": "int", "low": 16, "high": 200},
    "steps": {"type": "int", "low": 50, "high": 400},
    "consistency.ramp_up_steps": {"type": "int", "low": 0, "high": 100},
    "consistency.start": {"type": "int", "low": 0, "high": 30},
    "consistency.confidence": {"type": "float", "low": 0.0, "high": 0.95},
    "schedule.warm_up_steps": {"type": "int", "low": 0, "high": 100},
    "optimizer.momentum": {"type": "float", "low": 0.0, "high": 0.99},
    "optimizer.learning_rate": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"},
    "optimizer.nesterov": {"type": "categorical", "choices": [True, False]},
    "model.width": {"type": "int", "low": 2, "high": 32, "step": 2},
    "model.depth": {"type": "int", "low": 10, "high": 28},
    "labeled_batch_fraction": {"type": "float", "low": 0.01, "high": 1.0},
    "augmentation.translate": {"type": "int", "low": 0, "high": 9},
    "augmentation.noise": {"type": "float", "low": 0.0, "high": 1.0},
    "augmentation.strong": {"type": "categorical", "choices": ["none", "trivial_augment", "rand_augment"]},
    "normalization": {"type": "categorical", "choices": ["per_channel", "per_image", "zca"]},
    "teacher.mode": {"type": "categorical", "choices": ["train", "eval"]},
    "teacher.batch_norm": {"type": "categorical", "choices": ["own", "copied", "averaged"]},
    "consistency.heads": {"type": "categorical", "choices": [1, 2]},
    "class_weights": {"type": "categorical", "choices": ["none", "balanced"]},
    "seed": {"type": "int", "low": 0, "high": 2**40},
}
"""Searched keys that are added: many go together with the rest for some of their values only."""
FRAGMENTS = [
    "&a ",
    "*a",
    "!!int ",
    "- ",
    "? ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "'",
    '"',
    "|\n",
    ">\n",
    "#",
    "\t",
    "---\n",
    "%",
]
FRAGMENTS += [
    "1,000",
    "2020-01-01",
    "0x" + "f" * 50,
    "9" * 400,
    "9" * 5000,
    "\\x1b",
    "~",
    "\x00",
    "\ufeff",
    "<<: ",
    "1e999",
]


@dataclass
class Counts:
    """What became of the files of one kind.

    Attributes:
        accepted: how many were.
        refused: how many were refused with a message.
        findings: of each kind of fault, the seed and what happened.
        slowest: seconds of processor time, and the seed.
    """

    accepted: int = 0
    refused: int = 0
    findings: list[tuple[int, str]] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)


def fuzz_spaces(count: int, first: int = 0, files: Sequence[Path] = SPACES) -> Counts:
    """Mutate search-space files, validate each, and draw from those that are accepted."""
    contents = [yaml_file.read(file) for file in files]

    def one(rng: random.Random, file: Path) -> SweepSpec:
        _write_mutated(file, rng.choice(contents), rng)
        return load_spec(file)

    return _fuzz(count, first, one, lambda spec, rng: _draw_problem(spec, rng.randrange(1000)))


def fuzz_best_files(count: int, first: int = 0) -> Counts:
    """Mutate a best-hyper-parameters file, and read each as `train` does."""
    content = example_best_file().model_dump()

    def one(rng: random.Random, file: Path) -> None:
        _write_mutated(file, content, rng)
        best_file.load_request(file)

    return _fuzz(count, first, one)


def fuzz_overrides(count: int, first: int = 0) -> Counts:
    """Change the quick start's file by `--set` of nasty paths and values."""
    paths = [".".join(map(str, path)) for path, _ in _places(yaml_file.read(DIGITS))]

    def one(rng: random.Random, file: Path) -> SweepSpec:  # noqa: ARG001 (the file is the quick start's)
        path = rng.choice(paths)
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(path) + 1)
            path = path[:at] + rng.choice(["", ".", "..", "0", "²", "-1", "a", "=", "\x1b", "é", " "]) + path[at + 1 :]
        value = rng.choice([_yaml(rng.choice(NASTY)), rng.choice(FRAGMENTS), str(rng.randrange(100))])
        return load_spec(DIGITS, (f"{path}{rng.choice(['=', '=', '=', '', '=='])}{value}",))

    return _fuzz(count, first, one, lambda spec, rng: _draw_problem(spec, rng.randrange(1000)))


def example_best_file() -> BestFile:
    """Return a best-hyper-parameters file as `export` writes it."""
    config = load_spec(DIGITS).sample_config()
    return BestFile(
        format="mt-sweeps-best/2",
        sweep="digits",
        sweep_id="0" * 32,
        trial=3,
        searched={"ema.decay": 0.99, "consistency.loss": "mse"},
        validation=Validation(
            metric="validation.teacher_error",
            error=0.05,
            standard_error=0.01,
            low=0.03,
            high=0.08,
            interval="95 %",
            images=300,
            step=300,
        ),
        finalists=None,
        seeds=Seeds(sampler=0, trainer=0, split=0),
        data_fingerprint="0" * 16,
        split_fingerprint="0" * 16,
        versions={"torch": "2.15.0", "mt-sweeps": "0.1.0"},
        tracking=Tracking(),
        trainer=config,
    )


def _fuzz(
    count: int,
    first: int,
    one: Callable[[random.Random, Path], Any],
    check: Callable[[Any, random.Random], str | None] = lambda _, __: None,
) -> Counts:

    counts = Counts()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file.yaml"
        for seed in range(first, first + count):
            rng, started = random.Random(seed), time.process_time()
            try:
                with _time_limit():
                    result = one(rng, file)
            except InputError as error:
                counts.refused += 1
                unclear = [problem for problem in error.problems if not _names_file_and_key(problem, file)]
                problem = f"unclear: {unclear[0]}" if unclear else None
            except Exception:
                problem = "raises: " + traceback.format_exc()
            else:
                counts.accepted += 1
                problem = check(result, rng)
            counts.slowest = max(counts.slowest, (time.process_time() - started, seed))
            if problem is not None:
                counts.findings.append((seed, problem))
    return counts


class _TooLong(Exception):
    """A file took more than the seconds that it may."""


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)  # of processor time: others use this machine, too
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _names_file_and_key(problem: str, file: Path) -> bool:
    source = next((start for start in (f"{file}: ", f"{DIGITS}: ", "--set ") if problem.startswith(start)), None)
    return source is not None and bool(problem.removeprefix(source).strip())


def _draw_problem(spec: SweepSpec, seed: int) -> str | None:
    """Return why a draw of an accepted file builds no configuration, or None."""
    for arm in spec.arms():
        if arm in FIXED_ARMS:
            continue
        sampler = ArmSampler(Sampler(name="random", seed=seed), spec.space(arm), [])
        for number in range(DRAWS):
            try:
                values = sampler.suggest(number, {}).values
                spec.config(values, arm)
            except ValidationError as error:
                return f"refused: {arm} {values}: {error.errors()[0]['msg']}"
            except Exception:
                return "a draw raises: " + traceback.format_exc()
    return None


def _write_mutated(file: Path, content: Any, rng: random.Random) -> None:
    data = copy.deepcopy(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        _mutate(data, rng)
    text = _yaml(data) if rng.random() < 0.3 else json.dumps(data)  # which is YAML, and written in less time
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(["", "", *FRAGMENTS]) + text[at + rng.choice([0, 1, 1, 5, 40]) :]
    file.write_text(text, encoding="utf-8", errors="surrogatepass")


def _mutate(data: Any, rng: random.Random) -> None:
    """Change one place of nested data."""
    searched = data.get("search_space") if isinstance(data, dict) else None
    if isinstance(searched, dict) and rng.random() < 0.4:
        key = rng.choice(list(ENTRIES))
        searched[key] = copy.deepcopy(ENTRIES[key])
        return
    places = list(_places(data))
    if not places:
        return
    path, container = rng.choice(places)
    key = path[-1]
    kind = rng.randrange(6)
    value = container[key]
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[rng.choice([f"{key}s", str(key)[:-1] or "x", "a" * 500, "\x1b[2J", "name", "type", "when"])] = value
    elif kind == 2:
        container[key] = copy.deepcopy(rng.choice(places)[1])
    elif kind == 3 and isinstance(value, int | float) and not isinstance(value, bool):
        container[key] = rng.choice([value * 10, value / 10, value + 1, -value, value * 1000, float(value), str(value)])
    else:
        container[key] = copy.deepcopy(rng.choice(NASTY))


def _places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield every path in nested data, with the container that it ends in."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key), data
        yield from _places(value, (*path, key))


def _yaml(data: Any) -> str:
    try:
        return yaml_file.dump(data)
    except Exception:  # the writer takes less than the reader
        return repr(data)


def _row(name: str, count: int, counts: Counts, seconds: float) -> str:
    kinds = Counter(text.partition(":")[0] for _, text in counts.findings)
    found = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "none"
    slowest = f"{counts.slowest[0]:.1f} (seed {counts.slowest[1]})"
    return f"| {name} | {count:,} | {counts.accepted:,} | {counts.refused:,} | {found} | {slowest} | {seconds:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", type=int, default=0)
    parser.add_argument("--best", type=int, default=0)
    parser.add_argument("--set", type=int, default=0, dest="overrides")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    arguments = parser.parse_args()
    import timm  # noqa: F401 (with torch it takes seconds, which are no file's)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print("| what | made | accepted | refused | findings | slowest, CPU s | all, s |\n|---|---|---|---|---|---|---|")
    kinds = (("search-space files", fuzz_spaces, arguments.spaces), ("best files", fuzz_best_files, arguments.best))
    for name, fuzz, count in (*kinds, ("`--set`", fuzz_overrides, arguments.overrides)):
        started = time.perf_counter()
        counts = fuzz(count, arguments.seed)
        if count:
            print(_row(name, count, counts, time.perf_counter() - started), flush=True)
        for seed, text in counts.findings:
            print(f"\nseed {seed}: {text}", flush=True)


if __name__ == "__main__":
    main()
