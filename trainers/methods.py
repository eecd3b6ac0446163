"""What differs between the methods: where the target of the consistency loss comes from, and who is evaluated."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.config import TrainerConfig
from trainers.ema import update_average
from trainers.models.network import Network
from trainers.schedules import ema_decay


@dataclass(frozen=True)
class Target:
    """What the student is to agree with.

    Attributes:
        probabilities: float [b, classes], without gradient.
        known: float [b], 1 where there is a target and 0 where there is none yet; none: all have one.
    """

    probabilities: Tensor
    known: Tensor | None = None


class Method:
    """One way of learning from unlabeled images; as it stands here, it learns from the labeled ones alone.

    Attributes:
        needs_second_view: whether the target is made from a second view of the batch.
        teacher: the second network, if the method has one.
        first_target_step: the number of steps after which images have targets that differ from the student's own view.
    """

    needs_second_view = False
    teacher: Network | None = None
    first_target_step = 2

    def target(self, indices: Tensor, view: Tensor | None = None) -> Target | None:  # noqa: ARG002
        """What the student is to agree with; none: no consistency loss.

        Args:
            indices: int64 [b], the images of the batch, on the device.
            view: float [b, channels, height, width], the second view, where the method looks twice.
        """
        return None

    def after_step(self, step: int, indices: Tensor, logits: Tensor) -> dict[str, float]:  # noqa: ARG002
        """Called when the optimiser has taken its `step`-th step; returns what is worth reporting.

        Args:
            step: at least 1.
            indices: of the batch.
            logits: float [b, classes], what the student said of it, without gradient.
        """
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of the method, its teacher left out."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` returned."""


class Supervised(Method):
    """The labeled images alone: the baseline."""


class PiModel(Method):
    """The student looks a second time, with other noise (Laine & Aila 2017; here without gradient into the target).

    Both looks are in train mode, so both move its batch-norm statistics.

    Args:
        student: the network that the optimiser trains.
        dropout: of the first and of the second look.
    """

    needs_second_view = True

    def __init__(self, student: Network, dropout: tuple[float, float]) -> None:
        self._student = student
        self._dropout = dropout

    @torch.no_grad()
    def target(self, indices: Tensor, view: Tensor | None = None) -> Target:  # noqa: ARG002
        assert view is not None
        self._student.set_dropout(self._dropout[1])
        probabilities = self._student.forward_heads(view)[0].softmax(1)
        self._student.set_dropout(self._dropout[0])
        return Target(probabilities)


class TemporalEnsembling(Method):
    """Each image's target is the bias-corrected average of what the student said of it (Laine & Aila 2017).

    The paper updates once an epoch; here an image is updated whenever it was in a batch, which is the same for images
    that an epoch shows once. An image has no target at its first look.

    Args:
        images: of the training set.
        classes: how many there are.
        decay: of the average, in [0, 1).
        epoch: steps until nearly every image has been seen.
        like: a tensor of the device and the precision of the average.
    """

    def __init__(self, images: int, classes: int, decay: float, epoch: int, like: Tensor) -> None:
        self.first_target_step = epoch
        self._decay = decay
        self._sums = like.new_zeros(images, classes)
        self._looks = like.new_zeros(images, dtype=torch.int32)

    def target(self, indices: Tensor, view: Tensor | None = None) -> Target:  # noqa: ARG002
        looks = self._looks[indices]
        start_up = 1.0 - self._decay ** looks.to(self._sums.dtype)
        known = (looks > 0).to(self._sums.dtype)
        return Target(self._sums[indices] / torch.where(looks > 0, start_up, 1.0)[:, None], known)

    @torch.no_grad()
    def after_step(self, step: int, indices: Tensor, logits: Tensor) -> dict[str, float]:  # noqa: ARG002
        # Few labels come round within one batch; an image that is there twice is one look, with the mean of both.
        images, where, times = torch.unique(indices, return_inverse=True, return_counts=True)
        said = logits.softmax(1)
        means = torch.zeros_like(said[: len(images)]).index_add_(0, where, said) / times[:, None]
        self._sums[images] = self._decay * self._sums[images] + (1.0 - self._decay) * means
        self._looks[images] += 1
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        return {"sums": self._sums, "looks": self._looks}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._sums.copy_(state["sums"])
        self._looks.copy_(state["looks"])


class MeanTeacher(Method):
    """The teacher is the moving average of the student (section 2 of the paper).

    Args:
        student: the network that the optimiser trains.
        teacher: of the same architecture, with the weights it begins with.
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
        decay = ema_decay(step, self._config.ema, self._config.ramp_up_steps)
        update_average(self.teacher, self._student, decay, self._config.teacher.batch_norm)
        return {"train.ema_decay": decay}
