"""Sweeps that are disturbed in every way, by the thousand: `python -m tests.simulation --seeds 50000`."""

import argparse
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from pathlib import Path

import optuna

from tests.simulation.faults import Faults
from tests.simulation.mutants import MUTANTS
from tests.simulation.parts import Parts
from tests.simulation.simulation import Simulation
from tests.simulation.world import Violation

_MEMORY = Path("/dev/shm")


def run(seed: int, make_parts: Callable[..., Parts] = Parts, faults: Faults | None = None) -> tuple[str, list[str]]:
    """Run one schedule; return what is wrong ("" for nothing), and what happened."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        before, tempfile.tempdir = tempfile.tempdir, folder  # of the nodes
        simulation = Simulation(seed, Path(folder), make_parts, faults)
        try:
            simulation.run()
        except Violation as violation:
            return str(violation), simulation.world.trace
        except Exception:
            return traceback.format_exc(), simulation.world.trace
        finally:
            tempfile.tempdir = before
    return "", simulation.world.trace


def problem(seed: int) -> str:
    return run(seed)[0]


def each_point(seed: int, who: str, stride: int = 1) -> tuple[int, list[str]]:
    """Run the sweep of a seed, otherwise undisturbed, and kill a process at each of its points in turn.

    Args:
        seed: of the sweep.
        who: "driver": the first; "worker": the first of every trial.
        stride: at every so many points only.

    Returns:
        How many schedules were run, and what is wrong.
    """
    wrong: list[str] = []
    for number, point in enumerate(count(1, stride)):
        faults = Faults(lives=1, driver_dies_at=point) if who == "driver" else Faults(lives=1, worker_dies_at=point)
        problem, trace = run(seed, faults=faults)
        if problem:
            wrong.append(f"seed {seed}, {who} killed at its point {point}: {problem.strip().splitlines()[-1]}")
        if not any(line.endswith("is killed") for line in trace):  # its life was shorter
            return number, wrong
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many schedules")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="with this mistake, until it is found")
    parser.add_argument("--seed", type=int, help="replay this one, and print what happens")
    parser.add_argument(
        "--each-point", action="store_true", help="kill at each point in turn, and disturb in no other way"
    )
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", message=".*the trial begins anew")
    if "PYTHONHASHSEED" not in os.environ:  # the order of sets is a part of a schedule
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    make_parts = MUTANTS.get(arguments.mutant, Parts)
    if arguments.seed is not None:
        wrong, trace = run(arguments.seed, make_parts)
        print(*trace, sep="\n")
        sys.exit(f"\nseed {arguments.seed}: {wrong}" if wrong else 0)
    began = time.monotonic()
    seeds, failed = range(arguments.first, arguments.first + arguments.seeds), 0
    if arguments.mutant is not None:
        for seed in seeds:
            if wrong := run(seed, make_parts)[0]:
                print(f"seed {seed}: {wrong.strip().splitlines()[-1]}")
                return
        sys.exit(f"{arguments.mutant} was not found")
    if arguments.each_point:
        with ProcessPoolExecutor(arguments.processes) as pool:
            jobs = {(seed, who): pool.submit(each_point, seed, who) for seed in seeds for who in ("driver", "worker")}
            for (seed, who), job in jobs.items():
                points, problems = job.result()
                print(*problems, f"seed {seed}: a {who} killed at each of {points} points", sep="\n", flush=True)
                failed += len(problems)
        sys.exit(failed > 0)
    with ProcessPoolExecutor(arguments.processes) as pool:
        for seed, wrong in zip(seeds, pool.map(problem, seeds, chunksize=20), strict=True):
            if wrong:
                failed += 1
                print(f"seed {seed}: {wrong.strip().splitlines()[-1]}", flush=True)
    seconds, used = time.monotonic() - began, os.times()
    processor = used.children_user + used.children_system
    print(
        f"{len(seeds):,} schedules in {seconds:,.0f} s, {3600 * len(seeds) / seconds:,.0f} an hour; "
        f"{processor:,.0f} s of processor time, {1000 * processor / len(seeds):.0f} ms each; {failed} failed"
    )
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
