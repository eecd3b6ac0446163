"""What the search of the quick start finds, over the seeds of its sampler.

    uv run python benchmarks/quick_start_search.py
    uv run python benchmarks/quick_start_search.py --table

A repetition runs the search of `search_spaces/digits.yaml` and its baselines, with another seed of the sampler and the
split of the file. Four configurations are taken from it: the best, as `mt-sweep export` would take it; the published
one; the best of the first four trials, which are random; and the best of the supervised baseline. Each is trained again
on the same fresh draws: labels, unlabeled images, first weights and batches of their own. The error is the mean over
the draws, on images that chose nothing.

Two workers are simulated, so trials end in the order that they have on two cores, and other work on the machine changes
nothing. What has been trained is in benchmarks/results/quick-start-search.json, and is not repeated.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import add_options, keep, read
from search import new_ledger, searched

from mt_sweeps.results.statistics import compare, interval
from mt_sweeps.spec.load import load_spec
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.study.trial import Trial, best_of
from trainers import Trainer, TrainerConfig
from trainers.report import Report

FILE = Path(__file__).parents[1] / "search_spaces" / "digits.yaml"
RESULTS = Path(__file__).parent / "results" / "quick-start-search.json"
FIRST_DRAW = 50_000  # far from the seeds of sweeps and of their finalists
RANDOM = 4  # first trials that are compared with
FOUND, PUBLISHED, FIRST, SUPERVISED = "found", "published", f"best of the first {RANDOM}", "supervised, tuned"


def chosen(spec: SweepSpec) -> dict[str, dict[str, Any]]:
    """Return what a sweep chooses, as settings of a trainer."""
    data = Trainer(spec.sample_config())
    ledger = new_ledger(spec, published=spec.published_values(len(data.classes), len(data.split.unlabeled)))
    searched(spec, 10**9, 2, _curves, lambda trial: 0.0, ledger=ledger)  # noqa: ARG005
    trials = ledger.trials("search")
    first = min((one for one in trials[:RANDOM] if one.last), key=lambda trial: trial.objective(spec.metric))
    best, published = ledger.best(), ledger.trials("published")[0]
    supervised = best_of(ledger.trials("supervised"), spec.metric)
    assert best is not None and supervised is not None
    taken = {FOUND: best, PUBLISHED: published, FIRST: first, SUPERVISED: supervised}
    return {name: _settings(spec, trial) for name, trial in taken.items()}


def _curves(config: TrainerConfig) -> Iterator[Report]:
    return Trainer(config).run()


def _settings(spec: SweepSpec, trial: Trial) -> dict[str, Any]:
    settings: dict[str, Any] = spec.config(trial.values, trial.arm).model_dump(mode="json", exclude={"seed"})
    return settings


def error(settings: dict[str, Any], draw: int) -> float:
    """Return the error of a configuration on a fresh draw, on images that chose nothing."""
    own = settings | {"seed": draw, "verdict": True, "dataset": settings["dataset"] | {"split_seed": draw}}
    *_, report = Trainer(TrainerConfig.model_validate(own)).run()
    network = "student" if settings["method"] == "supervised" else "teacher"
    return report.metrics[f"verdict.{network}_error"]


def run(options: argparse.Namespace, found: dict[str, Any]) -> None:
    """Train what has not been trained."""

    for seed in range(options.seeds):
        more = (f"sampler.seed={seed}", "finalists.top=0", *options.set)
        if str(seed) not in found.setdefault("chosen", {}):
            found["chosen"][str(seed)] = chosen(load_spec(FILE, more))
            keep(options.results, found, f"sampler seed {seed}: searched")
        for name in (FOUND, PUBLISHED, FIRST, SUPERVISED):
            settings = found["chosen"][str(seed)][name]
            errors = found.setdefault("errors", {}).setdefault(json.dumps(settings, sort_keys=True), {})
            for draw in range(FIRST_DRAW, FIRST_DRAW + options.draws):
                if str(draw) not in errors:
                    errors[str(draw)] = error(settings, draw)
            mean = np.mean([*errors.values()])
            keep(options.results, found, f"sampler seed {seed}, {name}: {mean:.2%}")


def tables(options: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """Return the error of each configuration, and how the best compares with the others."""
    names = (FOUND, PUBLISHED, FIRST, SUPERVISED)
    draws = [str(draw) for draw in range(FIRST_DRAW, FIRST_DRAW + options.draws)]
    by_name: dict[str, list[float]] = {name: [] for name in names}
    rows = [f"| sampler seed | {', % | '.join(names)}, % |", f"|{'---|' * (len(names) + 1)}"]
    for seed in range(options.seeds):
        for name in names:
            errors = found["errors"][json.dumps(found["chosen"][str(seed)][name], sort_keys=True)]
            by_name[name].append(float(np.mean([errors[draw] for draw in draws])))
        rows.append(f"| {seed} | {' | '.join(f'{100 * by_name[name][-1]:.2f}' for name in names)} |")
    rows += [f"| mean | {' | '.join(str(interval(by_name[name])) for name in names)} |", ""]
    rows += ["| against | lower in | less, points [95 %] |", "|---|---|---|"]
    for name in names[1:]:
        less = [ours - theirs for ours, theirs in zip(by_name[FOUND], by_name[name], strict=True)]
        difference = compare(FOUND, name, less).difference.text("points")
        rows.append(f"| {name} | {sum(one < 0 for one in less)} of {len(less)} | {difference} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=10, help="of the sampler")
    parser.add_argument("--draws", type=int, default=8, help="fresh draws of every configuration")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other settings of the sweep")
    add_options(parser, RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = read(options.results)
    if not options.table:
        run(options, found)
    print("\n".join(tables(options, found)))


if __name__ == "__main__":
    main()
