"""A step that is captured once as a CUDA graph and then replayed: one launch in place of hundreds."""

import logging
from collections.abc import Callable, Sequence

import torch

_EAGER = 3  # steps before the capture, in which kernels are chosen, code is compiled and memory is taken
_log = logging.getLogger(__name__)


class CapturedStep:
    """Calls a step; from the fourth time on, the graph that was captured of it.

    If the step cannot be captured (it waits for the device, or the memory does not suffice for the graph), that is
    logged once, and the step is called as it is.

    Args:
        step: works on CUDA tensors alone, always the same; what it returns is not used.
        generators: that it draws from, other than torch's own.
        drop: forgets the gradients that a capture which failed has left behind.
    """

    def __init__(
        self, step: Callable[[], object], generators: Sequence[torch.Generator], drop: Callable[[], None]
    ) -> None:
        self._step = step
        self._generators = generators
        self._drop = drop
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    @property
    def is_captured(self) -> bool:
        """Whether the step is replayed from now on."""
        return self._graph is not None

    def __call__(self) -> None:
        """Take one step."""
        self._calls += 1
        if self._graph is not None:
            self._graph.replay()
        elif self._calls <= _EAGER:
            self._take_aside()
        elif self._calls == _EAGER + 1 and self._capture():
            self.__call__()
        else:
            self._step()

    def _take_aside(self) -> None:
        """Take the step on a stream of its own, as a capture will."""
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            self._step()
        torch.cuda.current_stream().wait_stream(aside)

    def _capture(self) -> bool:
        """Capture the step, which does not take it; return whether that went well."""
        graph = torch.cuda.CUDAGraph()
        try:
            for generator in self._generators:
                graph.register_generator_state(generator)
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._step()
        except RuntimeError as error:
            self._drop()
            _log.warning("the training step cannot be a CUDA graph, so each of its kernels is launched: %s", error)
            return False
        self._graph = graph
        return True
