"""What samplers, pruning and priors save where trainings are real: whole searches of digits, or of a folder of images.

    uv run python benchmarks/trained_search.py digits:5
    uv run python benchmarks/trained_search.py natural:20 --images IMAGES
    uv run python benchmarks/trained_search.py four-keys --arms "tpe + asha"

The number is labels per class. The search is that of benchmarks/recorded.py, with the keys that `mt-sweep init`
searches; its arms are those of benchmarks/fitted_search.py, and the prior has the four best configurations of the other
sets. `four-keys` is the narrow search of spaces/digits.yaml, for which there is no prior. Each repetition draws labels,
validation and verdict images anew, the same for all arms. The clock is simulated, as in benchmarks/search.py, with two
workers. The error is that on the verdict images, which chose nothing; the test images are not read.
"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import torch
from fitted_search import ARMS, BASE, ledger_of, spec_of, table_of
from recorded import search
from search import DIGITS, SEEDS, Point, compared, print_head, searched, specification

from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.study.trial import Trial
from trainers import Trainer
from trainers.config import TrainerConfig
from trainers.report import Report

FOUR_KEYS = "four-keys"
DEFAULT_ARMS = [BASE, "tpe + asha", "tpe + asha, prior"]
LOOKS = 10  # evaluations of a training whose steps are given


def search_of(task: str, images: Path | None) -> SweepSpec:
    """Return the search of a task, as no arm has it."""
    if task == FOUR_KEYS:
        return specification(DIGITS, "random", "none", 0, 1, "trainer.verdict=true")
    return search(task, table_of(task).classes, images=images)


def run(task: str, arm: str, seed: int, trials: int, steps: int | None, images: Path | None) -> list[Point]:
    """Search a task; return how the search stood after each trial."""
    torch.set_num_threads(1)
    spec = spec_of(search_of(task, images), arm, seed, trials)
    drawn = {"dataset": spec.trainer["dataset"] | {"split_seed": seed}}
    length = {} if steps is None else {"steps": steps, "evaluate_every": max(1, steps // LOOKS)}
    spec = spec.model_copy(update={"trainer": spec.trainer | drawn | length})

    def truth(trial: Trial) -> float:
        assert trial.last is not None
        return trial.last.metrics["verdict.teacher_error"]

    def curve(config: TrainerConfig) -> Iterator[Report]:
        return Trainer(config).run()

    ledger = None if task == FOUR_KEYS else ledger_of(spec, table_of(task), arm)
    return searched(spec, trials * spec.steps, 2, curve, truth, ledger=ledger)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", metavar="TASK", help=f"SET:LABELS, or {FOUR_KEYS}")
    parser.add_argument("--images", type=Path, help="folder of a folder per set; not for the digits")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--trials", type=int, default=16, help="whole trainings that a search may spend")
    parser.add_argument("--steps", type=int, help="of a training; left out: those of the file")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=DEFAULT_ARMS, help="only these, and the base")
    options = parser.parse_args()
    arms, seeds = list(dict.fromkeys([BASE, *options.arms])), SEEDS[: options.repetitions]
    if options.task == FOUR_KEYS and any(ARMS[arm][2] != "nothing" for arm in arms):
        parser.error(f'{FOUR_KEYS} has no prior; write --arms "tpe + asha"')
    print_head()
    print(f"{options.trials} trials a search, n = {len(seeds)}; steps are counted in whole trainings", flush=True)
    begun, results = time.monotonic(), {}
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        how = options.trials, options.steps, options.images
        jobs = {pool.submit(run, options.task, arm, seed, *how): (arm, seed) for seed in seeds for arm in arms}
        for done in as_completed(jobs):
            arm, seed = jobs[done]
            results[arm, seed], last = done.result(), done.result()[-1]
            print(
                f"{time.monotonic() - begun:6.0f} s  {len(results):3} of {len(jobs)}  seed {seed}  {arm}: "
                f"{last.steps} steps, verdict error {last.error:.2%}",
                flush=True,
            )
    steps = options.steps or search_of(options.task, options.images).steps
    compared(options.task, {arm: [results[arm, seed] for seed in seeds] for arm in arms}, options.trials, steps)
    print(f"\n{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
