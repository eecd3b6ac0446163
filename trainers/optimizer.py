"""The optimiser, and the schedules that set its learning rate and betas before every step."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from trainers.config import Adam, AdamW, Sgd, TrainerConfig
from trainers.models import Network
from trainers.schedules import learning_rate_factor, ramp_down


class ScheduledOptimizer:
    """torch's optimiser of a network's weights, with scheduled learning rate and betas.

    Args:
        network: the network to train; weights that are frozen are left out.
        config: of the run.
    """

    def __init__(self, network: Network, config: TrainerConfig) -> None:
        self._config = config
        self._optimizer, self._factors = _optimizer(network, config.optimizer)
        self._scheduled_betas = _ScheduledBetas(config) if isinstance(config.optimizer, Adam) else None

    def step(self, step: int) -> float:
        """Update the weights from their gradients, then drop the gradients.

        Args:
            step: how many steps were taken before this one.

        Returns:
            The learning rate of this step; the body's is `body_learning_rate_factor` times as high.
        """
        config = self._config
        rate = config.optimizer.learning_rate * learning_rate_factor(step, config.schedule, config.steps)
        for group, factor in zip(self._optimizer.param_groups, self._factors, strict=True):
            group["lr"] = factor * rate
        if self._scheduled_betas is not None:
            self._scheduled_betas.apply(self._optimizer, step)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return rate

    def state_dict(self) -> dict[str, Any]:
        betas = self._scheduled_betas
        return {"optimizer": self._optimizer.state_dict(), "products": None if betas is None else betas.products}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        if self._scheduled_betas is not None:
            self._scheduled_betas.products = state["products"]


class _ScheduledBetas:
    """Adam's betas as in the authors' TensorFlow code: beta2 changes after the warm-up, beta1 during the ramp-down.

    Adam's moments start at 0 and must be divided by 1 - (product of all betas so far). torch's Adam uses a power of the
    current beta instead of that product. The learning rate and epsilon are adjusted to compensate for the difference.
    """

    def __init__(self, config: TrainerConfig) -> None:
        assert isinstance(config.optimizer, Adam)
        self._adam = config.optimizer
        self._warm_up_steps = config.schedule.warm_up_steps
        self._steps, self._ramp_down_steps = config.steps, getattr(config.schedule, "ramp_down_steps", None)
        self._constant = self._adam.warm_up_beta2 is None and self._adam.ramp_down_beta1 is None
        self.products = [1.0, 1.0]

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set the betas of the step after `step` others, with the learning rate and epsilon that compensate."""
        if self._constant:
            return
        betas = self._betas(step)
        self.products = [product * beta for product, beta in zip(self.products, betas, strict=True)]
        first, second = (
            (1 - beta ** (step + 1)) / (1 - product) for beta, product in zip(betas, self.products, strict=True)
        )
        for group in optimizer.param_groups:
            group["betas"] = betas
            group["lr"] *= first / math.sqrt(second)
            group["eps"] = self._adam.epsilon / math.sqrt(second)

    def _betas(self, step: int) -> tuple[float, float]:
        adam = self._adam
        beta1, beta2 = adam.beta1, adam.beta2
        if adam.ramp_down_beta1 is not None and self._ramp_down_steps is not None:
            factor = ramp_down(step, self._ramp_down_steps, self._steps)
            beta1 = factor * beta1 + (1 - factor) * adam.ramp_down_beta1
        if adam.warm_up_beta2 is not None and step < self._warm_up_steps:
            beta2 = adam.warm_up_beta2
        return beta1, beta2


def _optimizer(network: Network, config: Sgd | Adam | AdamW) -> tuple[torch.optim.Optimizer, list[float]]:
    """Return the optimiser, and for each of its groups of weights the factor on the learning rate."""
    factor = config.body_learning_rate_factor
    parts: list[tuple[Iterable[nn.Parameter], float]] = [(network.parameters(), 1.0)]
    if factor != 1:
        head = [weight for name, weight in network.named_parameters() if not name.startswith("features.")]
        parts = [(head, 1.0), (network.features.parameters(), factor)]
    groups, factors = [], []
    for weights, its_factor in parts:
        for group in _groups(weights, config.weight_decay, config.weight_decay_on == "all"):
            groups.append(group)
            factors.append(its_factor)
    rate = config.learning_rate
    if isinstance(config, Sgd):
        return torch.optim.SGD(groups, lr=rate, momentum=config.momentum, nesterov=config.nesterov), factors
    kind = torch.optim.AdamW if isinstance(config, AdamW) else torch.optim.Adam
    return kind(groups, lr=rate, betas=(config.beta1, config.beta2), eps=config.epsilon), factors


def _groups(weights: Iterable[nn.Parameter], weight_decay: float, on_all: bool) -> list[dict[str, Any]]:
    """Return the groups with and without weight decay. Norms and biases are the parameters of one dimension."""
    parameters = [parameter for parameter in weights if parameter.requires_grad]
    decayed = [parameter for parameter in parameters if on_all or parameter.ndim > 1]
    free = [parameter for parameter in parameters if not on_all and parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
