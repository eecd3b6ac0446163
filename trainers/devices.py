"""The device that a run computes on, its precision, and its memory layout."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from trainers.errors import DataError


def on_cpu(state: dict[str, Any]) -> dict[str, Any]:
    """Return the same state with all its tensors on the CPU, where random generators and samplers keep theirs."""

    def move(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: move(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [move(inner) for inner in value]
        return value.cpu() if isinstance(value, Tensor) else value

    moved: dict[str, Any] = move(state)
    return moved


def resolve_device(name: str) -> torch.device:
    """Return the device that the setting `device` stands for on this machine.

    Raises:
        DataError: the setting is `cuda` and no CUDA device is visible.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise DataError("device: cuda is set and no CUDA device is visible; set device: auto or cpu")
    return torch.device(name)


def memory_format(channels_last: bool) -> torch.memory_format:
    """Return the layout in which images and features lie in memory."""
    return torch.channels_last if channels_last else torch.contiguous_format


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context for the passes of networks; warn where the device has no units for the precision.

    On CUDA, convolutions and matrix products of fp32 use TF32 only if that is the precision: torch's default is TF32
    for convolutions. This holds for the process until the next run.
    """
    if device.type == "cuda":
        _allow_tf32(precision == "tf32")
    if precision == "bf16" and not has_bf16_units(device):
        warnings.warn(
            f"precision: bf16 is slower than fp32 here: this {_kind(device)} has no units for it", stacklevel=3
        )
    if precision == "tf32" and device.type == "cpu":
        warnings.warn("precision: tf32 is fp32 here: this CPU has no units for it", stacklevel=3)
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def products(device: torch.device, precision: str) -> Iterator[None]:
    """Compute products on CUDA as evaluations of a run in this precision do, within the block: in TF32 or not."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    _allow_tf32(precision == "tf32")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def has_bf16_units(device: torch.device) -> bool:
    """Return whether the device computes in bfloat16 itself."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _kind(device: torch.device) -> str:
    return "GPU" if device.type == "cuda" else "CPU"
