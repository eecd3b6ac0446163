"""The same bits every time: on CUDA, some kernels otherwise add numbers up in the order in which they come."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from trainers.errors import NotDeterministic

_WORKSPACES = "CUBLAS_WORKSPACE_CONFIG"
_SIZES = ":4096:8"  # one of the two that torch accepts; docs.nvidia.com/cuda/cublas, Results Reproducibility
_NO_SUCH_FORM = "does not have a deterministic implementation"


def reserve_workspaces(device: torch.device) -> None:
    """Give cuBLAS the workspaces with which it can compute the same bits every time: 32 MiB of the GPU.

    cuBLAS reads this at its first use in a process. So every run on CUDA calls it, and not only one that wants the same
    bits: a worker may have both kinds.
    """
    if device.type == "cuda":
        os.environ.setdefault(_WORKSPACES, _SIZES)


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Let torch compute the same bits every time within the block, if that is wanted. Restore its settings after it.

    Raises:
        NotDeterministic: an operation within the block has no deterministic form on its device.
    """
    if not wanted:
        yield
        return
    memory: Any = torch.utils.deterministic  # mypy does not see its property
    fills, benchmarks = memory.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    memory.fill_uninitialized_memory = False  # it takes a launch per tensor, and nothing here reads such memory
    torch.backends.cudnn.benchmark = False  # it chooses kernels by their time
    try:
        with _deterministic_algorithms(True):
            yield
    except RuntimeError as error:
        reason = _why_not(str(error))
        if reason is None:
            raise
        raise NotDeterministic(f"deterministic: true: {reason}") from error
    finally:
        memory.fill_uninitialized_memory, torch.backends.cudnn.benchmark = fills, benchmarks


def exact_in_any_order() -> AbstractContextManager[None]:
    """Let torch add up in any order within the block: for integers, whose sum is always the same."""
    return _deterministic_algorithms(False)


@contextmanager
def _deterministic_algorithms(wanted: bool) -> Iterator[None]:
    enabled, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(wanted)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warns)


def _why_not(message: str) -> str | None:
    """Return what an error of torch says about determinism, and what to do; None if it is another error."""
    if _NO_SUCH_FORM in message:
        operation = message.partition(_NO_SUCH_FORM)[0].split()[-1]
        return f"{operation} has no deterministic form on this device; set deterministic: false, or use another model"
    if _WORKSPACES in message:
        return (
            f"cuBLAS was used before this run, or {_WORKSPACES} is {os.environ.get(_WORKSPACES)!r}; set "
            f"{_WORKSPACES}={_SIZES} before the process starts, or set deterministic: false"
        )
    return None
