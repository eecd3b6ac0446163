"""How fast strong augmentation is: batches in `trainers`, and image by image in torchvision, in turns in one process.

    uv run python benchmarks/strong_views.py

Each image is random noise, uint8; both have one thread. The time is processor time, so that other work on the machine
counts little. Prints rows of a Markdown table: images per second, each the median over the rounds, and the median, the
smallest and the largest of the ratios within a round.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).parents[1]))  # the trainer needs no installation

from trainers.config import Augmentation
from trainers.data.draws import Draws
from trainers.data.strong_views import strengthen

TORCHVISION = {"trivial_augment": v2.TrivialAugmentWide(), "rand_augment": v2.RandAugment()}


def images_per_second(views: Callable[[], object], images: int) -> float:
    start = time.process_time()
    views()
    return images / (time.process_time() - start)


def measure(strong: str, size: int, batch: int, rounds: int) -> str:
    """Return a row of the table."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (batch, size, size, 3), generator=generator, dtype=torch.uint8).permute(0, 3, 1, 2)
    draws = Draws([0], images.device)
    config, transform = Augmentation(strong=strong), TORCHVISION[strong]

    def batched() -> object:
        return strengthen(images, config, draws)

    def one_by_one() -> object:
        return torch.stack([transform(image) for image in images])

    images_per_second(batched, batch), images_per_second(one_by_one, batch)  # warm-up
    speeds = [(images_per_second(batched, batch), images_per_second(one_by_one, batch)) for _ in range(rounds)]
    ours, theirs = (statistics.median(column) for column in zip(*speeds, strict=True))
    ratios = [one / other for one, other in speeds]
    spread = f"{statistics.median(ratios):.1f} | {min(ratios):.1f} to {max(ratios):.1f}"
    return f"| {strong} | {size} | {rounds} | {ours:,.0f} | {theirs:,.0f} | {spread} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--batch-size", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| augmentation.strong | pixels per side | n | trainers, images/s | torchvision, images/s | ratio | range |")
    print("|---|---|---|---|---|---|---|")
    for size in (32, 96):
        for strong in TORCHVISION:
            print(measure(strong, size, options.batch_size, options.rounds), flush=True)


if __name__ == "__main__":
    main()
