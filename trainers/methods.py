"""What differs between the methods: where the target of the consistency loss comes from."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.config import TrainerConfig
from trainers.ema import update_average
from trainers.models.network import Network
from trainers.schedules import ema_decay


@dataclass(frozen=True)
class Target:
    """The class probabilities that the student is to agree with.

    Attributes:
        probabilities: float [b, classes], in fp32 or more; without gradient, except with `consistency.target_gradient`.
        known: float [b], 1 where an image has a target and 0 where it has none yet. None: all have one.
    """

    probabilities: Tensor
    known: Tensor | None = None

    def is_confident(self, threshold: float) -> Tensor:
        """Return float [b]: 1 where the highest probability exceeds a threshold, else 0."""
        return (self.probabilities.detach().amax(1) > threshold).to(self.probabilities.dtype)


class Method:
    """A way of learning from unlabeled images. This base class ignores them.

    Attributes:
        needs_second_view: whether the target is made from a second view of the batch.
        teacher: the second network, if the method has one.
        first_target_step: after this many steps, images have targets that differ from the student's own predictions.
    """

    needs_second_view = False
    teacher: Network | None = None
    first_target_step = 2

    def target(self, indices: Tensor, view: Tensor | None = None) -> Target | None:  # noqa: ARG002
        """Return the targets of a batch, or None if there is no consistency loss.

        Args:
            indices: int64 [b], the images of the batch, on the device.
            view: float [b, channels, height, width], the second view, if `needs_second_view`.
        """
        return None

    def after_step(self, step: int, indices: Tensor, logits: Tensor) -> dict[str, float]:  # noqa: ARG002
        """Learn from the optimiser step that was just taken; return metrics to report.

        Args:
            step: how many steps were taken, this one included.
            indices: int64 [b], the images of the batch, on the device.
            logits: float [b, classes], the student's, before the step, without gradient.
        """
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps of the method, except for the teacher's weights."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned."""


class Supervised(Method):
    """Learns from the labeled images alone: the baseline."""


class PiModel(Method):
    """The target is the student's own prediction of the second view (Laine & Aila 2017).

    Both passes are in train mode, so both update the student's batch-norm statistics.

    Args:
        student: the network that the optimiser trains.
        dropout: probabilities of the first and of the second pass.
        target_gradient: whether the gradient flows into the target too, as in the paper.
    """

    needs_second_view = True

    def __init__(self, student: Network, dropout: tuple[float, float], target_gradient: bool = False) -> None:
        self._student = student
        self._dropout = dropout
        self._target_gradient = target_gradient

    def target(self, indices: Tensor, view: Tensor | None = None) -> Target:  # noqa: ARG002
        assert view is not None
        self._student.set_dropout(self._dropout[1])
        with torch.set_grad_enabled(self._target_gradient):
            probabilities = self._student.forward_heads(view)[0].softmax(1)
        self._student.set_dropout(self._dropout[0])
        return Target(probabilities)


class TemporalEnsembling(Method):
    """The target of an image is the bias-corrected average of the student's past predictions (Laine & Aila 2017).

    The paper updates all averages once per epoch. Here the average of an image is updated after each batch that the
    image was in, which is the same for images that are drawn once per epoch. An image has no target in its first batch.

    Args:
        images: how many the training set has.
        classes: how many there are.
        decay: of the average, in [0, 1).
        epoch: steps until nearly every image has been in a batch.
        like: a tensor that has the device and the precision of the averages.
    """

    def __init__(self, images: int, classes: int, decay: float, epoch: int, like: Tensor) -> None:
        self.first_target_step = epoch
        self._decay = decay
        self._sums = like.new_zeros(images, classes)
        self._updates = like.new_zeros(images, dtype=torch.int32)

    def target(self, indices: Tensor, view: Tensor | None = None) -> Target:  # noqa: ARG002
        updates = self._updates[indices]
        bias_correction = 1.0 - self._decay ** updates.to(self._sums.dtype)
        known = (updates > 0).to(self._sums.dtype)
        return Target(self._sums[indices] / torch.where(updates > 0, bias_correction, 1.0)[:, None], known)

    @torch.no_grad()
    def after_step(self, step: int, indices: Tensor, logits: Tensor) -> dict[str, float]:  # noqa: ARG002
        # If labels are few, a batch can hold an image twice. That is one update, with the mean of its predictions.
        images, positions, counts = torch.unique(indices, return_inverse=True, return_counts=True)
        probabilities = logits.softmax(1)
        sums = torch.zeros_like(probabilities[: len(images)]).index_add_(0, positions, probabilities)
        means = sums / counts[:, None]
        self._sums[images] = self._decay * self._sums[images] + (1.0 - self._decay) * means
        self._updates[images] += 1
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        # Under the names that checkpoints of earlier versions have.
        return {"sums": self._sums, "looks": self._updates}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._sums.copy_(state["sums"])
        self._updates.copy_(state["looks"])


class MeanTeacher(Method):
    """The target is the prediction of a teacher, whose weights are a moving average of the student's.

    Section 2 of Tarvainen & Valpola 2017.

    Args:
        student: the network that the optimiser trains.
        teacher: a network of the same architecture, with its first weights.
        config: of the run.
    """

    needs_second_view = True
    teacher: Network

    def __init__(self, student: Network, teacher: Network, config: TrainerConfig) -> None:
        self._student = student
        self._config = config
        self.teacher = teacher.requires_grad_(False).train(config.teacher.mode == "train")
        if config.teacher.dropout is not None:
            teacher.set_dropout(config.teacher.dropout)

    @torch.no_grad()
    def target(self, indices: Tensor, view: Tensor | None = None) -> Target:  # noqa: ARG002
        assert view is not None
        return Target(self.teacher.forward_heads(view)[0].softmax(1))

    def after_step(self, step: int, indices: Tensor, logits: Tensor) -> dict[str, float]:  # noqa: ARG002
        decay = ema_decay(step, self._config.ema, self._config.consistency_ramp_end)
        update_average(self.teacher, self._student, decay, self._config.teacher.batch_norm)
        return {"train.ema_decay": decay}


METHODS: dict[str, type[Method]] = {
    "supervised": Supervised,
    "probe": Supervised,
    "pi_model": PiModel,
    "temporal_ensembling": TemporalEnsembling,
    "mean_teacher": MeanTeacher,
}
"""By the name that the setting `method` has."""
