"""What one training step asks of torch: the operations, their numbers and the addresses that they work on.

If two steps are the same in this, a CUDA graph that was captured of one of them does what the other does.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = ("_local_scalar_dense", "nonzero", "_unique2", "masked_select", "lift_fresh", "is_nonzero", "equal")
"""Operations for which the program waits for the device, or copies to it from memory that is not pinned."""

_VIEWS = ("view", "_unsafe_view", "t", "permute", "transpose", "expand", "slice", "select", "unsqueeze", "squeeze")
_VIEWS += ("alias", "detach", "as_strided", "unbind", "split", "empty", "empty_like", "new_empty", "empty_strided")


@dataclass
class RecordedStep(TorchDispatchMode):
    """Records all operations within its block.

    Attributes:
        operations: name and arguments of each; a tensor is named by the operation that made it, or by its address if it
            was there before.
        launches: how many operations are kernels on a GPU: all but views and allocations.
        waits: names of the operations for which the program would wait.
    """

    operations: list[tuple[str, str]] = field(default_factory=list)
    launches: int = 0
    waits: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._made: dict[int, str] = {}
        self._kept: list[Any] = []  # so that no address is used twice

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        arguments = repr(torch.utils._pytree.tree_map(self._named, (args, kwargs or {})))
        result = func(*args, **(kwargs or {}))
        self.operations.append((name, arguments))
        self.launches += name not in _VIEWS
        if name in WAITS:
            self.waits.append(name)
        before = {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, kwargs))}
        for number, tensor in enumerate(_tensors(result)):
            address = tensor.untyped_storage().data_ptr()
            if address not in before:
                self._made[address] = f"{name} {len(self.operations)}.{number}"
                self._kept.append(tensor.untyped_storage())
        return result

    def _named(self, value: Any) -> Any:
        if isinstance(value, torch.Generator):
            return "a generator"  # its wrapper is a new object at each call
        if not isinstance(value, Tensor):
            return repr(value)
        address = value.untyped_storage().data_ptr()
        place = self._made.get(address, f"address {address}")
        return f"{place}, {tuple(value.shape)} {value.stride()} {value.storage_offset()} {value.dtype}"


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
