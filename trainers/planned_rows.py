"""Values of the steps ahead, laid out on the device, so that a step takes none from the program."""

import torch
from torch import Tensor

PLANNED = 256  # steps that are laid out at once


class PlannedRows:
    """One row per step. A counter on the device says which row is next.

    A step that reads its values here is the same program every time: its addresses and its numbers do not change.

    Args:
        width: values per row.
        dtype: of the values.
        device: where the steps are taken.
    """

    def __init__(self, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self._rows = torch.zeros(PLANNED, width, dtype=dtype, device=device)
        self._next = torch.zeros(1, dtype=torch.int64, device=device)

    def fill(self, rows: Tensor) -> None:
        """Lay out the rows of the next steps; the first of them is next.

        Args:
            rows: [n, width], on the CPU; n is at most `PLANNED`.
        """
        if self._rows.is_cuda:
            rows = rows.pin_memory()  # else the copy would wait for the steps before
        self._rows[: len(rows)].copy_(rows, non_blocking=True)
        self._next.zero_()

    def take(self) -> Tensor:
        """Return the next row, [width], on the device. More than were laid out must not be taken."""
        row = self._rows.index_select(0, self._next)[0]
        self._next += 1
        return row
