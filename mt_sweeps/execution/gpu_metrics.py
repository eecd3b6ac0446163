"""What a trial's own GPU does while it trains, under the names that MLflow shows as system metrics."""

import threading
from collections.abc import Callable
from contextlib import suppress

_EVERY = 2.0  # seconds


class GpuSampler:
    """Looks at torch's current GPU every other second, in a thread of its own.

    What the GPU does not tell (one that is shared out by MIG tells little) is left out.
    """

    def __init__(self) -> None:
        self._samples: dict[str, list[float]] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        threading.Thread(target=self._work, name="gpu", daemon=True).start()

    def means(self) -> dict[str, float]:
        """Since they were asked for last: percent of time in use, MiB in use on the device, watts."""
        self._look()
        with self._lock:
            samples, self._samples = self._samples, {}
        return {f"system/gpu_{name}": sum(values) / len(values) for name, values in samples.items()}

    def close(self) -> None:
        """No more samples."""
        self._ending.set()

    def _work(self) -> None:
        while not self._ending.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        import torch

        readings: dict[str, Callable[[], float]] = {
            "utilization_percentage": torch.cuda.utilization,
            "memory_usage_megabytes": lambda: torch.cuda.device_memory_used() / 2**20,
            "power_usage_watts": lambda: torch.cuda.power_draw() / 1000,
        }
        for name, reading in readings.items():
            with suppress(Exception):  # whatever driver and NVML cannot do: no trial fails for that
                value = float(reading())
                with self._lock:
                    self._samples.setdefault(name, []).append(value)
