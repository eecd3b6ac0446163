"""Where the time of a run goes, and how much memory it takes."""

import resource
import sys
import time
from itertools import pairwise

import torch


class Stopwatch:
    """Seconds by what was done in them. On CUDA the device is timed, which runs behind the program.

    Args:
        device: that does the work.

    Attributes:
        seconds: by name, as of the last `stop`.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._names: list[str] = []
        self._events: list[torch.cuda.Event] = []
        self._times: list[float] = []
        self.seconds: dict[str, float] = {}

    def start(self, name: str) -> None:
        """From now on, and until the next call, time counts for `name`."""
        self._names.append(name)
        if self._on_cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._events.append(event)
        else:
            self._times.append(time.perf_counter())

    def stop(self) -> None:
        """Time counts for nothing; waits for the device."""
        self.start("")
        if self._on_cuda:
            torch.cuda.synchronize()
            spans = [begin.elapsed_time(end) / 1000 for begin, end in pairwise(self._events)]
        else:
            spans = [end - begin for begin, end in pairwise(self._times)]
        for name, seconds in zip(self._names, spans, strict=False):
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        for marks in (self._names, self._events, self._times):
            marks.clear()

    def total(self, *names: str) -> float:
        """Seconds of these names together."""
        return sum(self.seconds.get(name, 0.0) for name in names)


def peak_memory(device: torch.device) -> int:
    """Bytes: with CUDA, the most that this run held on the device; else, the most that this process ever held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def reset_peak_memory(device: torch.device) -> None:
    """A run begins: a worker may have trained others before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
