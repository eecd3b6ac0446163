"""Whether the best trial is better chosen by a model of all trials than by the lowest seen error.

    uv run python benchmarks/choosing.py

The lowest of many errors is partly luck. A Gaussian process that knows the noise of each error, or other evaluations of
the same trial, might see through it. Searches draw trainings from the tables of benchmarks/results/pruning at random,
and some of their validation images. What each way chooses is judged by its error on the verdict images. Differences are
search by search; intervals are 95 %, by bootstrap over searches, and all of them draw from the same few trainings.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pruning_tables import TABLES, space
from search import table, told_difference

from mt_sweeps.results.outlook import coordinates, fitted
from mt_sweeps.search_space.space import Space
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


def recorded(file: Path) -> tuple[Space, list[dict[str, Any]], int]:
    """Return the space, trainings and number of validation images of a table."""
    content = json.loads(file.read_text())
    return space(file.stem, None, 1).space(), content["trainings"], content["images"]


def bits(trainings: list[dict[str, Any]], when: str, network: str, images: int) -> np.ndarray:
    """Return int [trainings, images]: 1 where an image was classified correctly."""
    texts = [training[when][f"validation.{network}"] for training in trainings]
    return np.array([np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))[:images] for text in texts])


def searches(file: Path, trials: int, images: int, repetitions: int) -> dict[str, list[float]]:
    """Return the true errors of what each way chooses, search by search, in percent."""
    searched, trainings, all_images = recorded(file)
    tried = np.array([coordinates(searched, training["values"]) for training in trainings])
    truth = np.array([training["truth"] for training in trainings])
    evaluations = {
        f"{when}, {network}": bits(trainings, when, network, all_images)
        for when, network in (("end", "teacher"), ("end", "student"), ("rung", "teacher"))
    }
    rng, found = np.random.default_rng(0), dict[str, list[float]]()
    for _ in range(repetitions):
        drawn = rng.choice(len(trainings), trials, replace=False)
        seen = rng.choice(all_images, images, replace=False)
        correct = {name: of_all[drawn][:, seen] for name, of_all in evaluations.items()}
        for way, scores in choices(tried[drawn], correct).items():
            best = drawn[scores <= scores.min() + 1e-9]  # equals: their mean
            found.setdefault(way, []).append(100 * float(truth[best].mean()))
        found.setdefault("the true best", []).append(100 * float(truth[drawn].min()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--trials", type=int, nargs="+", default=[16, 32])
    options = parser.parse_args()
    rows = ["set, trials, validation images | chosen by | true error, % | less the lowest error, points"]
    for file in sorted(TABLES.glob("*.json")):
        for trials in options.trials:
            for images in IMAGES:
                found = searches(file, trials, images, options.repetitions)
                for way, errors in found.items():
                    less = "" if way == LOWEST else told_difference(np.array(errors) - np.array(found[LOWEST]))
                    rows.append(f"{file.stem}, {trials}, {images} | {way} | {np.mean(errors):.2f} | {less}")
    table(*rows)


if __name__ == "__main__":
    main()
