"""How fast a Mean Teacher step is: the trainer, a plain PyTorch loop, and the floor, in turns in one process.

    uv run python benchmarks/throughput.py
    uv run python benchmarks/throughput.py --device cuda --images IMAGES
    uv run python benchmarks/throughput.py --model wide_resnet shake_shake conv_large_recipe

plain     the loop of `plain_loop.py`, fp32, once for each number of DataLoader workers; the fastest is compared with
trainer   `trainers.Trainer` through its public interface, fp32, and bf16 where the machine has units for it; all that a
          user waits for but the evaluations
floor     student forward and backward and teacher forward on fixed tensors, in the trainer's precision and layout:
          no data, no losses, no optimiser, no average; on CUDA as a CUDA graph, as the trainer's step is

In each round everyone trains for about `--seconds`, one after another; ratios are taken within a round. Everyone has
the same cores, loader workers too, and those are stopped while others are timed.
IMAGES holds train/<class>/*, all images of one size; without it, random JPEGs of CIFAR-10's size are made and dropped.

`conv_large_recipe` trains as the recipe conv_large_cifar10_4000 does: weight normalization, Adam, images whitened by
ZCA. The plain loop has none of the three, so there the trainer is compared with the floor alone.
"""

import argparse
import copy
import multiprocessing
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torchvision
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # the trainer needs no installation

from plain_loop import PlainLoop

from trainers import Trainer, TrainerConfig, recipes
from trainers.captured_step import CapturedStep
from trainers.config import ConvLarge, ModelConfig, ShakeShake, SmallCnn, WideResnet
from trainers.devices import has_bf16_units
from trainers.models import Network, build
from trainers.recipes.published import scaled

RECIPE = "conv_large_recipe"
MODELS: dict[str, ModelConfig] = {
    "small_cnn": SmallCnn(),
    "conv_large": ConvLarge(name="conv_large"),
    "wide_resnet": WideResnet(name="wide_resnet"),
    "shake_shake": ShakeShake(name="shake_shake"),
    RECIPE: ConvLarge(name="conv_large", norm="weight"),
}
TRANSLATE = 2


class Contender(Protocol):
    """Takes part in every round."""

    def seconds(self, steps: int) -> float:
        """Train for so many steps; the seconds that they took."""


class Plain:
    def __init__(self, options: argparse.Namespace, model: ModelConfig, workers: int) -> None:
        self._device = options.device
        network = build(model, 3, options.classes)
        labeled = round(options.labeled_batch_fraction * options.batch_size)
        self._losses = PlainLoop(
            options.images, options.labels, network, options.batch_size, labeled, TRANSLATE, workers, options.device
        ).train()
        before = set(multiprocessing.active_children())
        next(self._losses)
        self._workers = set(multiprocessing.active_children()) - before
        self._tell_workers(signal.SIGSTOP)

    def seconds(self, steps: int) -> float:
        self._tell_workers(signal.SIGCONT)
        start = time.perf_counter()
        for _ in range(steps):
            next(self._losses)
        _synchronize(self._device)
        seconds = time.perf_counter() - start
        self._tell_workers(signal.SIGSTOP)
        return seconds

    def close(self) -> None:
        self._tell_workers(signal.SIGCONT)  # or they would not hear that they are to end
        self._losses.close()

    def _tell_workers(self, what: signal.Signals) -> None:
        for worker in self._workers:
            os.kill(worker.pid, what)


class Ours:
    def __init__(self, options: argparse.Namespace, name: str, precision: str, steps: int) -> None:
        total = steps * (options.rounds + 1)
        method = {
            "model": MODELS[name].model_dump(),
            "augmentation": {"translate": TRANSLATE, "flip": True},
            "schedule": {"name": "constant"},
        }
        if name == RECIPE:
            method = scaled(recipes.settings("conv_large_cifar10_4000"), total)
        dataset = {"name": "image_folder", "root": str(options.images), "labels": options.labels, "validation": 100}
        config = method | {
            "dataset": dataset,
            "steps": total,
            "evaluate_every": steps,
            "batch_size": options.batch_size,
            "labeled_batch_fraction": options.labeled_batch_fraction,
            "precision": precision,
            "compile": options.compile,
            "device": options.device.type,
        }
        self._steps = steps
        self._reports = Trainer(TrainerConfig.model_validate(config)).run()
        self._evaluation = 0.0

    def seconds(self, steps: int) -> float:
        assert steps == self._steps
        start = time.perf_counter()
        report = next(self._reports)
        seconds = time.perf_counter() - start
        before, self._evaluation = self._evaluation, report.metrics["time.evaluation_seconds"]
        return seconds - (self._evaluation - before)


class Floor:
    def __init__(self, options: argparse.Namespace, model: ModelConfig, precision: str) -> None:
        self._device = options.device
        self._student = self._network(model, options)
        self._teacher = copy.deepcopy(self._student).requires_grad_(False)
        if options.compile:
            self._student.compile_passes()
            self._teacher.compile_passes()
        shape = (options.batch_size, 3, options.image_size, options.image_size)
        self._views = [
            torch.randn(shape, device=options.device).to(memory_format=torch.channels_last) for _ in range(2)
        ]
        self._gradient = torch.randn(options.batch_size, options.classes, device=options.device)
        self._autocast = torch.autocast(options.device.type, torch.bfloat16, enabled=precision == "bf16")
        on_cuda = options.device.type == "cuda"
        self._take = partial(CapturedStep([], self._drop_gradients), self._step) if on_cuda else self._step

    def seconds(self, steps: int) -> float:
        _synchronize(self._device)
        start = time.perf_counter()
        for _ in range(steps):
            self._take()
        _synchronize(self._device)
        return time.perf_counter() - start

    def _step(self) -> None:
        with self._autocast:
            logits = self._student.forward_heads(self._views[0])[0]
            with torch.no_grad():
                self._teacher.forward_heads(self._views[1])
        logits.backward(self._gradient)
        self._drop_gradients()

    def _drop_gradients(self) -> None:
        for weight in self._student.parameters():
            weight.grad = None

    @staticmethod
    def _network(model: ModelConfig, options: argparse.Namespace) -> Network:
        return build(model, 3, options.classes).to(options.device, memory_format=torch.channels_last)


def measure(name: str, options: argparse.Namespace, stack: ExitStack) -> None:
    """Alternate all contenders on one network, and print what was measured."""
    model = MODELS[name]
    contenders: dict[str, Contender] = {}
    steps: dict[str, int] = {}
    resident: dict[str, int] = {}

    def enter(who: str, contender: Contender, of_a_round: int, before: int) -> None:
        contender.seconds(of_a_round)  # warm-up: kernels are chosen, memory is taken, code is compiled
        contenders[who], steps[who], resident[who] = contender, of_a_round, _allocated(options.device) - before

    def steps_of(contender: Contender) -> int:
        if contender.seconds(1) > options.seconds:
            return 1
        tried = max(1, round(0.2 / contender.seconds(1)))
        return max(1, round(options.seconds * tried / contender.seconds(tried)))

    for workers in plain_loops(name, options):
        before = _allocated(options.device)
        plain = Plain(options, model, workers)
        stack.callback(plain.close)
        enter(_plain(workers), plain, steps_of(plain), before)
    for precision in options.precision:
        before = _allocated(options.device)
        floor = Floor(options, model, precision)
        enter(f"floor {precision}", floor, steps_of(floor), before)
        before = _allocated(options.device)
        of_a_round = steps[f"floor {precision}"]
        enter(f"trainer {precision}", Ours(options, name, precision, of_a_round), of_a_round, before)

    speeds: dict[str, list[float]] = {who: [] for who in contenders}
    peaks = dict.fromkeys(contenders, 0)
    for done in range(options.rounds):
        for who, contender in contenders.items():
            before = _allocated(options.device)
            if options.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            speeds[who].append(options.batch_size * steps[who] / contender.seconds(steps[who]))
            peaks[who] = max(peaks[who], resident[who] + _peak(options.device) - before)
        print(f"{name}: round {done + 1} of {options.rounds}", file=sys.stderr, flush=True)
    tell(name, options, speeds, steps, peaks)


def tell(
    name: str,
    options: argparse.Namespace,
    speeds: dict[str, list[float]],
    steps: dict[str, int],
    peaks: dict[str, int],
) -> None:
    """Two Markdown tables: the speeds, and the ratios within a round."""
    on_cuda = options.device.type == "cuda"
    print(f"\n### {name}\n")
    print("| images a second | n | steps a round | median | range |" + (" peak MiB |" if on_cuda else ""))
    print("|---|---|---|---|---|" + ("---|" if on_cuda else ""))
    plain = [_plain(workers) for workers in plain_loops(name, options)]
    if not plain:
        print("| no plain loop | | | | |" + (" |" if on_cuda else ""))
    for who, values in speeds.items():
        row = f"| {who} | {len(values)} | {steps[who]} | {_spread(values, 1)} |"
        print(row + (f" {peaks[who] / 2**20:.0f} |" if on_cuda else ""))
    fastest = max(plain, key=lambda who: statistics.median(speeds[who]), default=None)
    print("\n| ratio | n | median | range |\n|---|---|---|---|")
    for precision in options.precision:
        ours = f"trainer {precision}"
        for other in filter(None, (fastest, f"floor {precision}")):
            ratios = [a / b for a, b in zip(speeds[ours], speeds[other], strict=True)]
            print(f"| {ours} / {other} | {len(ratios)} | {_spread(ratios, 2)} |")
    sys.stdout.flush()


def random_images(folder: Path, of_each_class: int = 500) -> None:
    """Ten classes of smooth random JPEGs, about as large in bytes as those of photographs of 32x32 pixels."""
    rng = np.random.default_rng(0)
    for label in range(10):
        (folder / "train" / str(label)).mkdir(parents=True)
        for i in range(of_each_class):
            coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
            coarse.resize((32, 32), Image.Resampling.BICUBIC).save(folder / "train" / str(label) / f"{i}.jpg")


def plain_loops(name: str, options: argparse.Namespace) -> list[int]:
    """Return the numbers of loader workers with which the plain loop trains a network."""
    return [] if name == RECIPE else options.workers


def _plain(workers: int) -> str:
    return f"plain, {workers} workers"


def _spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} | {min(values):.{digits}f} to {max(values):.{digits}f}"


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated() if device.type == "cuda" else 0


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=["small_cnn", "conv_large"])
    parser.add_argument("--images", type=Path, help="folder that holds train/<class>/*")
    parser.add_argument("--labels", type=int, default=1000, help="images that keep their label")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=2.0, help="of everyone in a round; at least one step")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--labeled-batch-fraction", type=float, default=0.25)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], help="default: bf16 only with units for it")
    parser.add_argument("--cores", type=int, help="that all may use (default: 1, as trials run; with CUDA all)")
    parser.add_argument("--threads", type=int, help="of torch (default: one a core)")
    parser.add_argument("--workers", type=int, nargs="+", help="of the plain loop (default: 0 2; with CUDA 4 8)")
    parser.add_argument("--compile", action="store_true", help="torch.compile, for the trainer and the floor")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is visible")
    options.device = torch.device(options.device)
    options.workers = options.workers or ([4, 8] if options.device.type == "cuda" else [0, 2])
    options.cores = options.cores or (len(os.sched_getaffinity(0)) if options.device.type == "cuda" else 1)
    options.threads = options.threads or options.cores
    options.precision = options.precision or ["fp32", *(["bf16"] if has_bf16_units(options.device) else [])]
    return options


def facts(options: argparse.Namespace, images: str) -> dict[str, Any]:
    on_cuda = options.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if on_cuda else "CPU",
        "machine": platform.platform(),
        "cores": f"{options.cores} used of {os.cpu_count()}, torch threads {options.threads}",
        "bf16 units": "yes" if has_bf16_units(options.device) else "no",
        "Python, torch, torchvision": f"{platform.python_version()}, {torch.__version__}, {torchvision.__version__}",
        "batch": f"{options.batch_size} images of {options.image_size}x{options.image_size}, {images}",
        "compiled": "trainer and floor" if options.compile else "no",
        "date": datetime.now(UTC).date(),
    }


def main() -> None:
    options = parsed()
    # Loader workers inherit it: everyone has the same cores, as when each core has a trial of its own.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.cores :])
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message="This DataLoader will create")  # more workers than cores: asked for
    with ExitStack() as stack:
        images = "of a folder"
        if options.images is None:
            images = "random JPEGs"
            options.images = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            os.environ["MT_SWEEP_CACHE"] = str(options.images / "cache")
            random_images(options.images)
        first = next(islice(options.images.glob("train/*/*"), 1))
        options.image_size = Image.open(first).width
        options.classes = sum(entry.is_dir() for entry in (options.images / "train").iterdir())
        for fact, value in facts(options, images).items():
            print(f"- {fact}: {value}")
        for name in options.model:
            with ExitStack() as contenders:
                measure(name, options, contenders)


if __name__ == "__main__":
    main()
