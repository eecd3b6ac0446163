"""How long a folder of 100,000 images of mixed sizes takes until it is trained on, the first time and the second.

    uv run python benchmarks/image_folder.py

Makes the images (JPEG, 40 to 200 pixels per side, one in 100 a copy of another) in a temporary folder, then starts the
trainer, each time in a process of its own, with an empty cache and with the one that the first left. Prints rows of a
Markdown table: seconds until the trainer is ready and until its first report (10 steps and a validation), and the most
memory that the process held.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).parents[1]
TRAIN = """
import resource, sys, time
start = time.perf_counter()
from trainers import Trainer, TrainerConfig
dataset = {"name": "image_folder", "root": sys.argv[1], "image_size": 64}
dataset |= {"labels": int(sys.argv[3]), "validation": int(sys.argv[3])}
config = TrainerConfig(dataset=dataset, model={"name": "small_cnn", "width": 8}, steps=10, images=sys.argv[2])
trainer = Trainer(config)
ready = time.perf_counter()
next(trainer.run())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{ready - start:.1f} | {time.perf_counter() - start:.1f} | {peak:,.0f}")
"""


def make(folder: Path, first: int, count: int) -> None:
    """Images of ten classes: upscaled noise, which JPEG makes about as large as photographs. One in 100 is a copy."""
    rng = np.random.default_rng(first)
    for i in range(first, first + count):
        height, width = rng.integers(40, 201, 2)
        noise = Image.fromarray(rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8))
        path = folder / "train" / f"class-{i % 10}" / f"{i:06}.jpg"
        if i % 100 == 99:
            shutil.copyfile(path.with_name(f"{i - 10:06}.jpg"), path)
            continue
        noise.resize((int(width), int(height)), Image.Resampling.BILINEAR).save(path, quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--labels", type=int, default=1000, help="and as many images for validation")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        images, cache = Path(temporary) / "images", Path(temporary) / "cache"
        for label in range(10):
            (images / "train" / f"class-{label}").mkdir(parents=True)
        start, part = time.perf_counter(), 1000
        with ProcessPoolExecutor() as processes:
            for done in [
                processes.submit(make, images, i, min(part, options.images - i)) for i in range(0, options.images, part)
            ]:
                done.result()
        size = sum(file.stat().st_size for file in images.glob("train/*/*"))
        print(f"made {options.images:,} images, {size / 1e9:.2f} GB, in {time.perf_counter() - start:.0f} s\n")
        print("| cache | images | trainer ready, s | first report, s | peak memory, MiB |\n|---|---|---|---|---|")
        environment = os.environ | {"MT_SWEEP_CACHE": str(cache)}
        for state, where in (("empty", "auto"), ("filled", "auto"), ("filled", "streamed")):
            command = [sys.executable, "-c", TRAIN, str(images), where, str(options.labels)]
            run = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True)
            print(f"| {state} | {where} | {run.stdout.strip()} |", flush=True)
        print(f"\nThe cache takes {sum(file.stat().st_size for file in cache.iterdir()) / 1e9:.2f} GB.")


if __name__ == "__main__":
    main()
