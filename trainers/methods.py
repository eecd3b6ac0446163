"""What differs between the methods: where the target of the consistency loss comes from."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.config import TrainerConfig
from trainers.ema import update_average
from trainers.models.network import Network
from trainers.timetable import Now


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

    def after_step(self, now: Now, indices: Tensor, logits: Tensor) -> None:
        """Learn from the optimiser step that was just taken.

        Args:
            now: the scheduled values of that step.
            indices: int64 [b], the images of the batch, on the device.
            logits: float [b, classes], the student's, before the step, without gradient.
        """

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
        try:
            with torch.set_grad_enabled(self._target_gradient):
                probabilities = self._student.forward_heads(view)[0].softmax(1)
        finally:  # a step whose capture fails is taken again
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
    def after_step(self, now: Now, indices: Tensor, logits: Tensor) -> None:  # noqa: ARG002
        # If labels are few, a batch can hold an image twice. That is one update with the mean of its predictions, which
        # each of its rows writes. (With `torch.unique` the program would wait for the device.)
        probabilities = logits.softmax(1)
        same = (indices[:, None] == indices).to(probabilities.dtype)
        means = same @ probabilities / same.sum(1, keepdim=True)
        self._sums[indices] = self._decay * self._sums[indices] + (1.0 - self._decay) * means
        self._updates[indices] = self._updates[indices] + 1

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
        self._batch_norm = config.teacher.batch_norm
        self.teacher = teacher.requires_grad_(False).train(config.teacher.mode == "train")
        if config.teacher.dropout is not None:
            teacher.set_dropout(config.teacher.dropout)

    @torch.no_grad()
    def target(self, indices: Tensor, view: Tensor | None = None) -> Target:  # noqa: ARG002
        assert view is not None
        return Target(self.teacher.forward_heads(view)[0].softmax(1))

    def after_step(self, now: Now, indices: Tensor, logits: Tensor) -> None:  # noqa: ARG002
        update_average(self.teacher, self._student, now.student_share, self._batch_norm)


METHODS: dict[str, type[Method]] = {
    "supervised": Supervised,
    "probe": Supervised,
    "pi_model": PiModel,
    "temporal_ensembling": TemporalEnsembling,
    "mean_teacher": MeanTeacher,
}
"""By the name that the setting `method` has."""
