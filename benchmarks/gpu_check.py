"""What a GPU has to show of the trainer, in one command of at most eight minutes: first that it is right, then speed.

    uv run python benchmarks/gpu_check.py --images IMAGES
    uv run python benchmarks/gpu_check.py --device cpu --tiny     # whether this script runs

IMAGES holds train/<class>/* and test/<class>/* of CIFAR-10; without it, the last part is left out.

facts       of the card: products and copies per second, and the time that one launch takes from Python
parity      CPU against CUDA in float64, without noise: the largest difference of any weight; how exact fp32 is
repeats     one run twice, and one that is resumed in its middle, with `deterministic: true`
bit_for_bit one run twice, with `deterministic: false` and `true`: the largest difference of any weight, and the cost
captured    the CUDA graph of a step against the step itself: the largest difference of any weight, images per second
host_waits  where a step waits for the device: file and line, waits per step (torch's synchronisation debug mode)
launches    kernels per step, and the share of a step in which the card computes
speed       images per second, eager and compiled, in both precisions
sharing     images per second of one process, and of four at once, without and with NVIDIA's Multi-Process Service
training    the recipe of ConvLarge on CIFAR-10 with 4,000 labels, as long as there is time

A part that fails does not end the others. Everything that was found goes to OUTPUT, as JSON, after every part.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1]))  # the trainer needs no installation
os.environ.setdefault("MT_SWEEP_CACHE", tempfile.mkdtemp())

from throughput import random_images

from trainers import Trainer, TrainerConfig, recipes
from trainers.devices import has_bf16_units, products
from trainers.files import write_atomically
from trainers.recipes.published import scaled

STILL = {"translate": 0, "flip": False}  # views without anything random
ADAM = {
    "optimizer": {"name": "adam", "warm_up_beta2": 0.99, "ramp_down_beta1": 0.5},
    "schedule": {"name": "ramp_down", "ramp_down_steps": 5, "warm_up_steps": 5},
}
METHODS: dict[str, dict[str, Any]] = {
    "mean_teacher": {"teacher": {"start": "independent"}},  # equal networks without noise agree: nothing to learn
    "pi_model": {"consistency": {"weight": 0.0}},
    "temporal_ensembling": {"steps": 60},
    "supervised": {},
}
NETWORKS: dict[str, dict[str, Any]] = {
    "small_cnn": {"name": "small_cnn"},
    "conv_large, weight norm": {"name": "conv_large", "norm": "weight"},
    "conv_large, batch norm": {"name": "conv_large"},
    "wide_resnet-28-2": {"name": "wide_resnet"},
    "shake_shake-26": {"name": "shake_shake"},
}
VIEWS: dict[str, dict[str, Any]] = {
    "crop and flip": {},
    "colours": {"augmentation": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}},
    "trivial_augment": {"augmentation": {"strong": "trivial_augment"}},
    "rand_augment": {"augmentation": {"strong": "rand_augment"}},
}
STEPS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adam": {"optimizer": {"name": "adam"}},
    "temporal_ensembling": {"method": "temporal_ensembling"},
    "pi_model": {"method": "pi_model"},
    "supervised": {"method": "supervised"},
    "zca": {"normalization": "zca"},
    "streamed": {"images": "streamed"},
}
PARITY = 1e-7  # that a weight may differ by between devices, in float64
ROUNDING = 1e-5  # that fp32 may differ by from float64; TF32 differs by some 1e-4


class Check:
    """All parts, on one device.

    Args:
        options: of the command.
        images: of random colours, for all parts but the last.
    """

    def __init__(self, options: argparse.Namespace, images: Path) -> None:
        self._options = options
        self._images = images
        self._device: str = options.device
        self._is_cuda = options.device == "cuda"
        self._start = time.perf_counter()

    def left(self) -> float:
        """Return the seconds that are left."""
        return float(self._options.seconds) - (time.perf_counter() - self._start)

    def facts(self) -> dict[str, Any]:
        """What this machine is, and what its card does at best."""
        found: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__}
        if not self._is_cuda:
            return found
        found |= {"device": torch.cuda.get_device_name(), "cudnn": torch.backends.cudnn.version()}
        matrix = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
        large, small = torch.empty(2**30, device="cuda"), torch.zeros(1, device="cuda")
        other = torch.empty_like(large)
        found["bf16 TFLOP/s"] = round(2 * 8192**3 / 1e12 / _seconds(lambda: matrix @ matrix, 10), 1)
        found["copied TB/s"] = round(2 * large.nbytes / 1e12 / _seconds(lambda: other.copy_(large), 10), 2)
        found["microseconds per launch"] = round(1e6 * _seconds(lambda: small.add_(1), 2000), 2)
        return found

    def parity(self) -> dict[str, Any]:
        """Batches and first weights are drawn on the CPU for both, so that arithmetic alone differs."""
        still = {"augmentation": STILL, "model": {"dropout": 0.0}, "steps": 20, "evaluate_every": 10}
        cases = {f"{name}, sgd": still | more for name, more in METHODS.items()}
        cases |= {f"{name}, adam": still | ADAM | more for name, more in METHODS.items()}
        cases |= {name: still | METHODS["mean_teacher"] | {"normalization": name} for name in ("zca", "per_image")}
        if not self._options.tiny:
            short = {"augmentation": STILL, "steps": 5, "evaluate_every": 5, "batch_size": 20}
            short |= METHODS["mean_teacher"] | {"optimizer": {"learning_rate": 0.001}}
            cases["conv_large"] = short | {"model": NETWORKS["conv_large, weight norm"] | {"dropout": 0.0}}
            cases["wide_resnet"] = short | {"model": {"name": "wide_resnet", "depth": 10}}
        torch.set_default_dtype(torch.float64)
        try:
            found: dict[str, Any] = {
                name: _difference(*(self._trained(more | {"device": device}) for device in ("cpu", self._device)))
                for name, more in cases.items()
            }
        finally:
            torch.set_default_dtype(torch.float32)
        passed = all(difference <= PARITY for difference in found.values())
        rounding = {name: _rounding(name, torch.device(self._device)) for name in ("matmul", "conv2d")}
        passed &= all(error <= ROUNDING for error in rounding.values())
        return found | {"fp32 against float64, of the largest value": rounding, "passed": passed}

    def repeats(self) -> dict[str, Any]:
        """0 is: equal to the last bit."""
        cases = {name: more | ({"steps": 60} if "ensembling" in name else {}) for name, more in STEPS.items()}
        cases["bf16"] = {"precision": "bf16"}
        found, passed = dict[str, Any](), True
        for name, more in cases.items():
            more = more | {"deterministic": True}
            first, again = self._trained(more), self._trained(more)
            with tempfile.TemporaryDirectory() as folder:
                next(Trainer(self._config(more), Path(folder)).run())
                resumed = self._trained(more, Path(folder))
            found[name] = {"twice": _difference(first, again), "resumed": _difference(first, resumed)}
            passed &= all(difference == 0 for difference in found[name].values())
        return found | {"passed": passed}

    def bit_for_bit(self) -> dict[str, Any]:
        """A difference of 0 is: equal to the last bit. The cost is the share of the images per second that is lost."""
        precision = "bf16" if has_bf16_units(torch.device(self._device)) else "fp32"
        cases: dict[str, dict[str, Any]] = {"small_cnn, fp32": {}, "pi_model": STEPS["pi_model"]}
        cases["temporal_ensembling"] = STEPS["temporal_ensembling"]
        for name in NETWORKS if not self._options.tiny else ():
            cases[f"{name}, {precision}"] = {"model": NETWORKS[name], "precision": precision}
        steps, found, differs = 20 if self._options.tiny else 100, dict[str, Any](), False
        lengths = {"steps": steps, "evaluate_every": steps // 2}
        for name, more in cases.items():
            if self.left() < 0.6 * self._options.seconds:
                return found | {"left out": "the rest: no time", "passed": not differs}
            weights, speeds = dict[bool, list[Any]](), dict[bool, list[float]]()
            for wanted in (False, True, True, False):  # so that neither always has the warmer machine
                trainer = Trainer(self._config(more | lengths | {"deterministic": wanted}))
                *_, last = trainer.run()
                weights.setdefault(wanted, []).append(_weights(trainer))
                speeds.setdefault(wanted, []).append(last.metrics["time.images_per_second"])
            difference = {wanted: _difference(*weights[wanted]) for wanted in weights}
            differs |= difference[True] > 0
            found[name] = {
                "difference, deterministic: false": difference[False],
                "difference, deterministic: true": difference[True],
                "images per second, false": [round(speed) for speed in speeds[False]],
                "images per second, true": [round(speed) for speed in speeds[True]],
                "cost": round(1 - sum(speeds[True]) / sum(speeds[False]), 3),
            }
        return found | {"passed": not differs}

    def captured(self) -> dict[str, Any]:
        """With `deterministic: true`, all but the streamed ones are to be captured, and to be equal to the last bit.

        The speeds are those without it.
        """
        cases = STEPS | VIEWS | {"bf16": {"precision": "bf16"}, "compiled": {"compile": True}}
        found, passed = dict[str, Any](), True
        for name, more in cases.items() if self._is_cuda else ():
            short = {"steps": 60, "evaluate_every": 20, "deterministic": True}
            replayed, called = (self._run(more | short, is_replayed) for is_replayed in (True, False))
            found[name] = {
                "graph": replayed._replay is not None and replayed._replay.is_captured,
                "difference": _difference(_weights(replayed), _weights(called)),
            }
            passed &= found[name]["graph"] == (name != "streamed") and found[name]["difference"] == 0
            if name in STEPS:
                speeds = (self._run(more | {"steps": 200, "evaluate_every": 100}, one) for one in (True, False))
                images = [round(one.history[-1].metrics["time.images_per_second"]) for one in speeds]
                found[name]["images per second, replayed and called"] = images
        return found | {"passed": passed}

    def host_waits(self) -> dict[str, Any]:
        """The waits of 30 steps less those of 10, so that what a run does once does not count."""
        found = {}
        for name, more in (STEPS | VIEWS).items() if self._is_cuda else ():
            long, short = (self._waits(more, steps) for steps in (30, 10))
            long.subtract(short)
            found[name] = {place: count / 20 for place, count in long.items() if count}
        return found

    def launches(self) -> dict[str, Any]:
        """From torch's profiler, as the difference of 30 steps and 10."""
        found = {}
        for name, model in NETWORKS.items() if self._is_cuda else ():
            kernels, busy = (0, 0.0)
            for steps, sign in ((30, 1), (10, -1)):
                trainer = Trainer(self._config({"model": model, "steps": steps, "evaluate_every": steps}))
                with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
                    _finish(trainer)
                events = [event for event in seen.events() if event.device_type == torch.autograd.DeviceType.CUDA]
                kernels += sign * len(events)
                busy += sign * sum(event.device_time for event in events) / 1e3
            found[name] = {"kernels per step": kernels / 20, "milliseconds of the card per step": round(busy / 20, 3)}
        return found

    def speed(self) -> dict[str, Any]:
        """Of the second half of a run: in the first, kernels are chosen and compiled."""
        precisions = ["fp32", *(["bf16"] if has_bf16_units(torch.device(self._device)) else [])]
        steps, found = (6 if self._options.tiny else 400), {}
        for name, model in NETWORKS.items() if not self._options.tiny else [("small_cnn", {})]:
            for precision in precisions:
                for compiled in (False, *([True] if self._is_cuda else [])):
                    if self.left() < 0.4 * self._options.seconds:
                        return found | {"left out": "the rest: no time"}
                    more = {"model": model, "precision": precision, "compile": compiled, "steps": steps}
                    *_, last = Trainer(self._config(more | {"evaluate_every": steps // 2})).run()
                    kind = f"{name}, {precision}{', compiled' if compiled else ''}"
                    found[kind] = {
                        key: round(last.metrics[key])
                        for key in ("time.images_per_second", "memory.peak_mib")
                        if key in last.metrics
                    }
        return found

    def sharing(self) -> dict[str, Any]:
        """Processes that start together; the time is that of all of them, with their start."""
        if not self._is_cuda:
            return {}
        from mt_sweeps.execution.gpu_sharing import shared_gpus  # needs more packages than the trainer
        from mt_sweeps.spec.sections import Resources

        command = [sys.executable, __file__, "--only", "speed_of_one", "--images", str(self._images)]

        def speeds(count: int) -> list[int]:
            several = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
            try:
                return [round(float(process.communicate(timeout=120)[0].split()[-1])) for process in several]
            finally:
                for process in several:  # one that goes on would keep the service from its end
                    process.kill()

        found: dict[str, Any] = {f"{count} at once, images per second each": speeds(count) for count in (1, 4)}
        with shared_gpus(Resources(gpus_per_trial=0.25)) as problem:
            found["4 at once with MPS, images per second each"] = problem or speeds(4)
        return found

    def speed_of_one(self) -> None:
        """For `sharing`: print the images per second of one process."""
        more = {"precision": "bf16", "steps": 4000, "evaluate_every": 2000}
        more |= {"dataset": {"root": str(self._options.images)}}
        *_, last = Trainer(self._config(more)).run()
        print(last.metrics["time.images_per_second"])

    def training(self) -> dict[str, Any]:
        """The recipe with all lengths in proportion to the time that is left."""
        if self._options.images is None or self.left() < 60:
            return {"left out": "no --images, or no time"}
        tiny, recipe = self._options.tiny, recipes.settings("conv_large_cifar10_4000")
        data = {"name": "image_folder", "root": str(self._options.images), "labels": 4000, "validation": 1000}
        common: dict[str, Any] = {"dataset": data, "precision": "bf16", "device": self._device}
        if tiny:
            data |= {"labels": 400, "validation": 100}
            common |= {"batch_size": 24, "model": {"name": "small_cnn", "width": 2}}
        some = 10 if tiny else 1000
        tried = TrainerConfig.model_validate(scaled(recipe, some) | common | {"evaluate_every": some // 2})
        *_, last = Trainer(tried).run()
        per_second = last.metrics["time.images_per_second"] / tried.batch_size
        steps = 20 if tiny else int(0.8 * (self.left() - 20) * per_second) // 100 * 100
        config = scaled(recipe, steps) | common | {"evaluate_every": max(1, steps // 6)}
        trainer = Trainer(TrainerConfig.model_validate(config))
        start = time.perf_counter()
        curve = [{"step": one.step, "teacher": one.metrics["validation.teacher_error"]} for one in trainer.run()]
        seconds = time.perf_counter() - start
        test = {name: error.rate for name, error in trainer.test().items()}
        return {"steps": steps, "seconds": round(seconds), "of 150,000": steps / 150_000, "curve": curve, "test": test}

    def _config(self, more: dict[str, Any]) -> TrainerConfig:
        tiny = self._options.tiny
        settings = {
            "dataset": {"name": "image_folder", "root": str(self._images), "labels": 200, "validation": 100},
            "model": {"name": "small_cnn", "dropout": 0.2} | ({"width": 2} if tiny else {}),
            "steps": 40,
            "batch_size": 20 if tiny else 100,
            "evaluate_every": 20,
            "augmentation": {"translate": 2, "flip": True},
            "device": self._device,
        }
        return TrainerConfig.model_validate(recipes.merged(settings, more))

    def _run(self, more: dict[str, Any], is_replayed: bool) -> Trainer:
        """Return a trainer at the end of its run, whose steps are replayed if they can be, or never."""
        trainer = Trainer(self._config(more))
        if not is_replayed:
            trainer._replay = None
        _finish(trainer)
        return trainer

    def _trained(self, more: dict[str, Any], folder: Path | None = None) -> dict[str, torch.Tensor]:
        """Return the weights of the teacher (of the student, if there is no teacher) at the end of a run."""
        trainer = Trainer(self._config(more), folder)
        _finish(trainer)
        return _weights(trainer)

    def _waits(self, more: dict[str, Any], steps: int) -> Counter[str]:
        trainer = Trainer(self._config({"steps": steps, "evaluate_every": steps} | more))
        trainer._replay = None  # a graph cannot wait
        with _warned_waits() as caught:
            _finish(trainer)
        places = (f"{Path(one.filename).name}:{one.lineno}" for one in caught if "synchroniz" in str(one.message))
        return Counter(places)


PARTS = (
    "facts",
    "parity",
    "repeats",
    "bit_for_bit",
    "captured",
    "host_waits",
    "launches",
    "speed",
    "sharing",
    "training",
)


@contextmanager
def _warned_waits() -> Iterator[list[warnings.WarningMessage]]:
    """Let torch warn of every wait for the device within the block."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield caught
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _seconds(work: Callable[[], Any], times: int) -> float:
    """Return the seconds of one of so many calls, on CUDA."""
    work()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def _finish(trainer: Trainer) -> None:
    for _ in trainer.run():
        pass


def _weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    with tempfile.TemporaryDirectory() as place:
        trainer.save_model(Path(place) / "model.safetensors")
        return load_file(Path(place) / "model.safetensors")


def _rounding(name: str, device: torch.device) -> float:
    """Return how far an operation in fp32 is from float64, as a share of the largest value."""
    drawn = torch.Generator().manual_seed(0)
    sizes = {"matmul": ((512, 512), (512, 512)), "conv2d": ((8, 64, 16, 16), (64, 64, 3, 3))}[name]
    first, second = (torch.randn(size, generator=drawn) for size in sizes)
    operation = {"matmul": torch.matmul, "conv2d": torch.conv2d}[name]
    exact = operation(first.double(), second.double())
    with products(device, "fp32"):  # as a trainer computes
        found = operation(first.to(device), second.to(device)).cpu().double()
    return float((found - exact).abs().max() / exact.abs().max())


def _difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder that holds train/ and test/")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--seconds", type=float, default=470.0, help="that all parts may take")
    parser.add_argument("--only", nargs="+", choices=[*PARTS, "speed_of_one"], default=PARTS, help="these parts alone")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the script")
    parser.add_argument("--output", type=Path, default=Path("gpu_check.json"))
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is visible; --device cpu --tiny tries the script")
    with tempfile.TemporaryDirectory() as folder:
        random_images(Path(folder), 40 if options.tiny else 300)
        check, found = Check(options, Path(folder)), dict[str, Any]()
        if options.only == ["speed_of_one"]:
            check.speed_of_one()
            return
        for name in options.only:
            start = time.perf_counter()
            try:
                found[name] = getattr(check, name)()
            except Exception:
                found[name] = {"failed": traceback.format_exc()}
            print(
                f"\n## {name}, {time.perf_counter() - start:.0f} s\n\n{json.dumps(found[name], indent=1)}", flush=True
            )
            write_atomically(options.output, json.dumps(found, indent=1) + "\n")
    failed = [name for name, one in found.items() if "failed" in one or one.get("passed") is False]
    print(f"\nfailed: {', '.join(failed) or 'nothing'}")


if __name__ == "__main__":
    main()
