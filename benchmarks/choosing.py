"""Whether the best trial is better chosen by a model of all trials than by the lowest seen error.

    uv run python benchmarks/choosing.py

The lowest of many errors is partly luck. A Gaussian process that knows the noise of each error, or other evaluations of
the same trial, might see through it. Searches draw the trainings that benchmarks/recorded.py has recorded at random,
and some of their validation images. What each way chooses is judged by its error on the verdict images. Differences are
search by search; intervals are 95 %, by bootstrap over searches, and all of them draw from the same few trainings.
"""

import argparse
import warnings

import numpy as np
from recorded import VALIDATION, Table, replayed
from search import table, told_difference

from mt_sweeps.results.outlook import coordinates, fitted
from trainers.report import rate_standard_error

LOWEST = "lowest error"
IMAGES = (300, 100, 40)  # validation images


def choices(tried: np.ndarray, correct: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return, for each way of choosing, a score per trial; the lowest is chosen.

    Args:
        tried: float [trials, dimensions], where configurations lie.
        correct: per evaluation (network and step), int [trials, images], 1 where an image was classified correctly.
    """
    errors = {name: 1 - bits.mean(1) for name, bits in correct.items()}
    end, images = errors["end, teacher"], correct["end, teacher"].shape[1]
    noise = np.array([rate_standard_error(error, images) for error in end])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a key without effect has no length scale
        by_model = fitted(tried, end, noise).predict(tried)
    return {
        LOWEST: end,
        "mean of a Gaussian process": by_model,
        "mean with the student's error": end + errors["end, student"],
        "mean with the error at the rung": end + errors["rung, teacher"],
        "at random": np.zeros(len(end)),
    }


def searches(of: Table, trials: int, images: int, repetitions: int) -> dict[str, list[float]]:
    """Return the true errors of what each way chooses, search by search, in percent."""
    space = of.spec.space()
    tried = np.array([coordinates(space, values) for values in of.values])
    looks = (("end", "teacher"), ("end", "student"), ("rung", "teacher"))
    evaluations = {f"{when}, {network}": of.correct[when][network] for when, network in looks}
    rng, found = np.random.default_rng(0), dict[str, list[float]]()
    for _ in range(repetitions):
        drawn = rng.choice(len(of.truth), trials, replace=False)
        seen = rng.choice(VALIDATION, images, replace=False)
        correct = {name: of_all[drawn][:, seen] for name, of_all in evaluations.items()}
        for way, scores in choices(tried[drawn], correct).items():
            best = drawn[scores <= scores.min() + 1e-9]  # equals: their mean
            found.setdefault(way, []).append(100 * float(of.truth[best].mean()))
        found.setdefault("the true best", []).append(100 * float(of.truth[drawn].min()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--trials", type=int, nargs="+", default=[16, 32])
    options = parser.parse_args()
    rows = ["set, trials, validation images | chosen by | true error, % | minus the lowest error, points"]
    for of in replayed():
        for trials in options.trials:
            for images in IMAGES:
                found = searches(of, trials, images, options.repetitions)
                for way, errors in found.items():
                    difference = "" if way == LOWEST else told_difference(np.array(errors) - np.array(found[LOWEST]))
                    rows.append(f"{of.task}, {trials}, {images} | {way} | {np.mean(errors):.2f} | {difference}")
    table(*rows)


if __name__ == "__main__":
    main()
