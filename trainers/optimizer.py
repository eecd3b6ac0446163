"""The optimisers, with a learning rate and betas that are tensors on the device.

torch's own take them as numbers of the program, at least where Adam's betas change (the authors' TensorFlow code).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainers.config import AdamW, Sgd, TrainerConfig
from trainers.models import Network
from trainers.timetable import Now


@dataclass
class _Group:
    """Weights that are updated alike.

    Attributes:
        weights: that are trained.
        weight_decay: of these weights.
        rate_factor: on the learning rate.
        averages: by the name that torch's optimisers give them, one tensor per weight: SGD's velocity, or Adam's means
            of the gradients and of their squares.
    """

    weights: list[Tensor]
    weight_decay: float
    rate_factor: float
    averages: dict[str, list[Tensor]]


class Optimizer:
    """SGD with momentum, Adam (Kingma & Ba 2015) or AdamW, of a network's weights.

    Adam's means start at 0 and are divided by 1 - (the product of all betas so far).

    Args:
        network: the network to train; weights that are frozen are left out.
        config: of the run.
    """

    def __init__(self, network: Network, config: TrainerConfig) -> None:
        self._config = config.optimizer
        self._groups = [
            _Group(weights, decay, factor, {name: _zeros_like(weights) for name in self._names()})
            for part, factor in _parts(network, config.optimizer.body_learning_rate_factor)
            for weights, decay in _decayed(part, config.optimizer.weight_decay, config.optimizer.weight_decay_on)
        ]

    @torch.no_grad()
    def step(self, now: Now) -> None:
        """Update the weights from their gradients, then drop the gradients.

        A weight that has none, since the loss does not depend on it, stays as it is.
        """
        update = self._sgd if isinstance(self._config, Sgd) else self._adam
        for group in self._groups:
            used = [index for index, weight in enumerate(group.weights) if weight.grad is not None]
            gradients = [weight.grad for weight in group.weights if weight.grad is not None]
            averages = [[tensors[index] for index in used] for tensors in group.averages.values()]
            if used:
                update(group, now, [group.weights[index] for index in used], gradients, *averages)
        self.drop_gradients()

    def drop_gradients(self) -> None:
        """Forget all gradients."""
        for group in self._groups:
            for weight in group.weights:
                weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the averages by the position of their weight and their name, as torch's optimisers do."""
        each = [
            {name: tensors[index] for name, tensors in group.averages.items()}
            for group in self._groups
            for index in range(len(group.weights))
        ]
        return {"optimizer": {"state": dict(enumerate(each))}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned, or from the state of torch's optimiser."""
        saved, position = state["optimizer"]["state"], 0
        for group in self._groups:
            for index in range(len(group.weights)):
                for name, tensors in group.averages.items():
                    if position in saved:  # torch keeps nothing of a weight that never had a gradient
                        tensors[index].copy_(saved[position][name])
                position += 1

    def _names(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if isinstance(self._config, Sgd) else ("exp_avg", "exp_avg_sq")

    def _sgd(
        self, group: _Group, now: Now, weights: list[Tensor], gradients: list[Tensor], velocities: list[Tensor]
    ) -> None:
        assert isinstance(self._config, Sgd)
        if group.weight_decay:
            torch._foreach_add_(gradients, weights, alpha=group.weight_decay)
        torch._foreach_mul_(velocities, self._config.momentum)
        torch._foreach_add_(velocities, gradients)
        if self._config.nesterov:
            torch._foreach_add_(gradients, velocities, alpha=self._config.momentum)
        else:
            torch._foreach_copy_(gradients, velocities)
        torch._foreach_mul_(gradients, group.rate_factor * now.learning_rate)
        torch._foreach_sub_(weights, gradients)

    def _adam(
        self,
        group: _Group,
        now: Now,
        weights: list[Tensor],
        gradients: list[Tensor],
        means: list[Tensor],
        squares: list[Tensor],
    ) -> None:
        assert not isinstance(self._config, Sgd)
        rate = group.rate_factor * now.learning_rate
        if group.weight_decay and isinstance(self._config, AdamW):
            torch._foreach_mul_(weights, 1.0 - group.weight_decay * rate)
        elif group.weight_decay:
            torch._foreach_add_(gradients, weights, alpha=group.weight_decay)
        torch._foreach_mul_(squares, now.beta2)
        changes = torch._foreach_mul(gradients, gradients)
        torch._foreach_mul_(changes, now.square_share)
        torch._foreach_add_(squares, changes)
        torch._foreach_sub_(gradients, means)
        torch._foreach_mul_(gradients, now.gradient_share)
        torch._foreach_add_(means, gradients)
        divisors = torch._foreach_sqrt(squares)
        torch._foreach_div_(divisors, now.second_correction)
        torch._foreach_add_(divisors, self._config.epsilon)
        changes = torch._foreach_div(means, divisors)
        torch._foreach_mul_(changes, rate / now.first_correction)
        torch._foreach_sub_(weights, changes)


def _zeros_like(weights: list[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(weight, requires_grad=False) for weight in weights]


def _parts(network: Network, body_factor: float) -> list[tuple[Iterable[nn.Parameter], float]]:
    """Return the weights of the network in parts, each with the factor on its learning rate."""
    if body_factor == 1:
        return [(network.parameters(), 1.0)]
    head = [weight for name, weight in network.named_parameters() if not name.startswith("features.")]
    return [(head, 1.0), (network.features.parameters(), body_factor)]


def _decayed(weights: Iterable[nn.Parameter], weight_decay: float, on: str) -> list[tuple[list[Tensor], float]]:
    """Return the weights with and without weight decay. Norms and biases are the parameters of one dimension."""
    trained: list[Tensor] = [weight for weight in weights if weight.requires_grad]
    decayed = [weight for weight in trained if on == "all" or weight.ndim > 1]
    free = [weight for weight in trained if on != "all" and weight.ndim <= 1]
    return [(some, decay) for some, decay in ((decayed, weight_decay), (free, 0.0)) if some]
