"""The random numbers of one run. Dropout draws from torch's global generators, which other code draws from too."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class RunGenerator:
    """Keeps the state of torch's global generators for one run, so that other code does not change its random numbers.

    Args:
        seed: of the first use.
        device: of the run; with CUDA, the state of its generator is kept too.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(self._cuda):
            torch.manual_seed(seed)
            self._states = self._read()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let torch's global generators continue from this run's state within the block, and restore them after it."""
        with torch.random.fork_rng(self._cuda):
            torch.set_rng_state(self._states[0])
            for device, state in zip(self._cuda, self._states[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
            self._states = self._read()

    def state_dict(self) -> dict[str, list[Tensor]]:
        return {"states": self._states}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        self._states = state["states"]

    def _read(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self._cuda)]
