"""How a run spends its time, and how much memory it takes."""

import resource
import sys
import time
from itertools import pairwise

import torch


class Stopwatch:
    """Seconds per kind of work. On CUDA it measures the time of the device, which runs behind the program.

    Args:
        device: the one that does the work.

    Attributes:
        seconds: by the name of the work, up to the last `stop`.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._names: list[str] = []
        self._events: list[torch.cuda.Event] = []
        self._times: list[float] = []
        self.seconds: dict[str, float] = {}

    def start(self, name: str) -> None:
        """Count the time from now until the next call with another name for `name`; not while a graph is captured."""
        if (self._names and self._names[-1] == name) or (self._on_cuda and torch.cuda.is_current_stream_capturing()):
            return
        self._names.append(name)
        if self._on_cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._events.append(event)
        else:
            self._times.append(time.perf_counter())

    def stop(self) -> None:
        """Wait for the device and add up the seconds; the time until the next `start` is not counted."""
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
        """Return the seconds of these names together."""
        return sum(self.seconds.get(name, 0.0) for name in names)


def peak_memory(device: torch.device) -> int:
    """Return bytes: with CUDA, the most that this run held on the device; else the most that this process ever held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)  # with what graphs keep between two replays
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def reset_peak_memory(device: torch.device) -> None:
    """Start measuring the peak of a new run; the process may have trained other runs before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
