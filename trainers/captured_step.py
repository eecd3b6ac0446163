"""A step that is captured once as a CUDA graph and then replayed: one launch in place of hundreds."""

import gc
import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch

CAN_CAPTURE = torch.__version__ >= (2, 15)  # type: ignore[operator]
"""Whether a capture that fails leaves no trace. Before torch 2.15, the allocator went on as if it had not ended."""
_EAGER = 3  # steps before the capture, in which kernels are chosen, code is compiled and memory is taken
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class CapturedStep(Generic[_T]):
    """Takes a step that is always the same; from the fourth time on, by the graph that was captured of it.

    If the step cannot be captured (it waits for the device, or the memory does not suffice for the graph), that is
    logged once, and the step is called as it is.

    It keeps no step: one of an object that also keeps this one would keep the object's memory on the device, until
    Python next looks for circles.

    Args:
        generators: that the step draws from, other than torch's own.
        drop: forgets the gradients that a capture which failed has left behind.
    """

    def __init__(self, generators: Sequence[torch.Generator], drop: Callable[[], None]) -> None:
        self._generators = generators
        self._drop = drop
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._returned: _T

    @property
    def is_captured(self) -> bool:
        """Whether the step is replayed from now on."""
        return self._graph is not None

    def __call__(self, step: Callable[[], _T]) -> _T:
        """Take one step.

        Args:
            step: works on CUDA tensors alone.

        Returns:
            What the step returned. Of a replayed one these are the same tensors each time, with new values.
        """
        self._calls += 1
        if self._calls <= _EAGER:
            return self._take_aside(step)
        if self._graph is None and not (self._calls == _EAGER + 1 and self._capture(step)):
            return step()
        assert self._graph is not None
        self._graph.replay()
        return self._returned

    def _take_aside(self, step: Callable[[], _T]) -> _T:
        """Take the step on a stream of its own, as a capture will."""
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            returned = step()
        torch.cuda.current_stream().wait_stream(aside)
        return returned

    def _capture(self, step: Callable[[], _T]) -> bool:
        """Capture the step, which does not take it; return whether that went well."""
        graph = torch.cuda.CUDAGraph()
        # To delete the graph of an earlier run while this one is captured would spoil it.
        gc.collect()
        is_collecting = gc.isenabled()
        gc.disable()
        try:
            for generator in self._generators:
                graph.register_generator_state(generator)
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._returned = step()
        except RuntimeError as error:
            self._drop()
            cause = error.__context__ or error  # the capture's end raises, too, if what it captured did
            _log.warning("the training step cannot be a CUDA graph, so each of its kernels is launched: %s", cause)
            return False
        finally:
            if is_collecting:
                gc.enable()
        self._graph = graph
        return True
