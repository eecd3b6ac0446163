"""Sample what a trial's GPU does while it trains, under the names that MLflow shows as system metrics."""

import threading
from collections.abc import Callable
from contextlib import suppress

_EVERY = 2.0  # seconds


class GpuSampler:
    """Samples torch's current GPU every other second, in a thread of its own.

    A value that the GPU does not give is left out; one that is divided by MIG gives few.
    """

    def __init__(self) -> None:
        self._samples: dict[str, list[float]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        threading.Thread(target=self._work, name="gpu", daemon=True).start()

    def means(self) -> dict[str, float]:
        """Return the means since the last call: percent of time in use, MiB in use on the device, watts."""
        self._sample()
        with self._lock:
            samples, self._samples = self._samples, {}
        return {f"system/gpu_{name}": sum(values) / len(values) for name, values in samples.items()}

    def close(self) -> None:
        """Stop sampling."""
        self._stopping.set()

    def _work(self) -> None:
        while not self._stopping.wait(_EVERY):
            self._sample()

    def _sample(self) -> None:
        import torch

        readings: dict[str, Callable[[], float]] = {
            "utilization_percentage": torch.cuda.utilization,
            "memory_usage_megabytes": lambda: torch.cuda.device_memory_used() / 2**20,
            "power_usage_watts": lambda: torch.cuda.power_draw() / 1000,
        }
        for name, reading in readings.items():
            with suppress(Exception):  # whatever the driver or NVML cannot do: no trial fails because of it
                value = float(reading())
                with self._lock:
                    self._samples.setdefault(name, []).append(value)
