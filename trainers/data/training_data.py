"""The images of one run: which of them serve which purpose, the batches it trains on, and their augmented views."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.config import Augmentation, TrainerConfig
from trainers.config.compatibility import ONLY_LABELS
from trainers.data import dataset
from trainers.data.augmentation import ViewAugmenter
from trainers.data.class_balance import class_weights
from trainers.data.geometry import center_crop
from trainers.data.grey_images import are_grey
from trainers.data.loaders import Batch, Resident, loader
from trainers.data.normalization import Normalization, PerChannel, Take, fit_normalization
from trainers.data.samplers import TwoStreamBatches
from trainers.data.splits import split_for
from trainers.devices import memory_format, on_cpu
from trainers.errors import DataError, NoLabels

_COLOR_IMAGES = 256


@dataclass(frozen=True)
class EvaluationImages:
    """Images that networks are evaluated on.

    Attributes:
        take: returns the pixels of some of `indices`, on the device of the run.
        indices: int64 [n].
        labels: int64 [n], on the CPU.
    """

    take: Take
    indices: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.indices)


class TrainingData:
    """The images of one run, from their files to the views that the networks see.

    Args:
        config: of the run.
        device: that trains.
        seeds: of the labeled stream, the unlabeled stream, the first view and the second view.
        second_view: whether each batch is augmented a second time, for the target of the consistency loss.
        of_weights: how the images of the first weights were normalised, if there are any.

    Attributes:
        classes: names, in the order of their indices.
        split: which images serve which purpose.
        labels: int64 [n], of all training images, on the device; -1 where an image has no class.
        class_weights: float [classes], factors on the classification loss, on the device; None: all 1.
        normalization: fitted to the images that are trained on.
        fingerprint: SHA-256 over the data set's pixels, labels and class names.

    Raises:
        DataError: the images are missing, unreadable or too few, or their classes do not fit the configuration.
        NoLabels: there is no labeled image, or one of them has no label.
    """

    def __init__(
        self,
        config: TrainerConfig,
        device: torch.device,
        seeds: Sequence[int],
        second_view: bool,
        of_weights: PerChannel | None = None,
    ) -> None:
        self._config = config
        self._device = device
        self._layout = memory_format(config.channels_last)
        self._images = images = dataset.load(config.dataset)
        self.classes = images.classes
        self.fingerprint = images.fingerprint
        self.labels = images.train_labels.to(device)
        self.split = split_for(config, images.train_labels.numpy(), images.classes, self.image_size, images.groups)
        labeled, unlabeled = self.split.labeled, self.split.unlabeled
        if not len(labeled) or (images.train_labels[labeled] < 0).any():
            raise NoLabels("an image without a label was to be trained on with its label")
        labels = images.train_labels.numpy()[labeled]
        weights = class_weights(config, labels, images.classes)
        self.class_weights = (
            None if weights is None else torch.tensor(weights, dtype=torch.get_default_dtype()).to(device)
        )
        self._batches = TwoStreamBatches(
            labeled,
            unlabeled,
            config.batch_size,
            config.labeled_per_batch,
            (seeds[0], seeds[1]),
            labels if config.sampling == "class_balanced" else None,
        )
        self._loader = loader(config.images, images.train, self._batches, device)
        if config.normalization == "of_weights":
            assert of_weights is not None
            self.normalization: Normalization = of_weights.for_channels(self.channels)
        else:
            trained_on = torch.from_numpy(np.concatenate([labeled, unlabeled]))
            self.normalization = fit_normalization(
                config.normalization, self._loader.take, trained_on, self.fingerprint, device
            )
        settings = [config.augmentation, *([config.second_augmentation] if second_view else [])]
        if len(settings) == 2 and settings[0] == settings[1]:
            self._augmenters = [self._augmenter(settings[0], seeds[2:4])]  # both views in one call
        else:
            self._augmenters = [self._augmenter(one, [seed]) for one, seed in zip(settings, seeds[2:], strict=False)]

    @property
    def image_size(self) -> int:
        """Pixels per side, before any crop."""
        return self._images.train.shape[1]

    @property
    def channels(self) -> int:
        """Of the images: 1 is grey, 3 is colour."""
        return self._images.train.shape[-1]

    @cached_property
    def color_share(self) -> float:
        """Share of the images in colour, of at most 256 of those that are trained on with their labels."""
        some = self.labeled.indices[:: max(1, len(self.labeled) // _COLOR_IMAGES)][:_COLOR_IMAGES]
        return 1.0 - float(are_grey(self.labeled.take(some).cpu().numpy()).mean())

    @property
    def epoch(self) -> int:
        """Batches until nearly every image was drawn once: see `TwoStreamBatches`."""
        return self._batches.epoch

    @property
    def resident_bytes(self) -> int:
        """Bytes of images on the device; 0 if they are streamed."""
        return self._loader.held

    @property
    def labeled(self) -> EvaluationImages:
        """The images that are trained on with their labels."""
        return self._training_images(self.split.labeled)

    @property
    def validation(self) -> EvaluationImages:
        """The images that select among trials."""
        return self._training_images(self.split.validation)

    @property
    def verdict(self) -> EvaluationImages:
        """The images that compare the finalists."""
        return self._training_images(self.split.verdict)

    @property
    def has_test_images(self) -> bool:
        """Whether the data set has a test set."""
        return len(self._images.test) > 0

    @property
    def test(self) -> EvaluationImages:
        """The test images.

        Raises:
            DataError: the data set has none.
        """
        if not self.has_test_images:
            raise DataError("the data set has no test images")
        pixels = self._images.test
        return EvaluationImages(
            lambda indices: pixels[indices].to(self._device), torch.arange(len(pixels)), self._images.test_labels
        )

    def plan(self, count: int) -> None:
        """Draw the batches of the next steps, at most `PLANNED`; all must be taken before more are drawn."""
        self._loader.plan(count)

    def next_batch(self) -> Batch:
        """Return the images of the next step that was planned, labeled ones first."""
        return self._loader.next()

    @property
    def is_resident(self) -> bool:
        """Whether all images are kept on the device."""
        return isinstance(self._loader, Resident)

    @property
    def generators(self) -> list[torch.Generator]:
        """What each view draws from, on the device."""
        return [generator for augmenter in self._augmenters for generator in augmenter.generators]

    def views(self, batch: Batch) -> list[Tensor]:
        """Return the augmented views of a batch.

        Returns:
            The student's view and, if there is one, the second view: float [b, channels, height, width].
        """
        return self._drawn(batch, self._augmenters)

    def first_view(self) -> Tensor:
        """Return the student's view of the first batch, without drawing it: a run that has not begun will draw it.

        Returns:
            float [b, channels, height, width].
        """
        indices = self._batches.copy().next()
        rows = torch.arange(len(indices), device=self._device)
        states = [generator.get_state() for generator in self.generators]
        view = self.views(Batch(indices.to(self._device), self._loader.take(indices), rows))[0]
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state)
        return view

    def preview(self, count: int, augmentations: Sequence[Augmentation]) -> list[Tensor]:
        """Return training images and views of them, as pictures for people.

        Args:
            count: at most how many images, as `preview_classes` lists them.
            augmentations: that of each view.

        Returns:
            The images, then each of their views: float [images, channels, height, width] in [0, 1].
        """
        indices = self._preview_indices(count)
        pixels = self._images.train[indices]
        plain = center_crop(pixels.permute(0, 3, 1, 2) / 255, self._config.augmentation.crop)
        batch = Batch(indices, pixels.to(self._device), torch.arange(len(indices), device=self._device))
        augmenters = [
            self._augmenter(settings, [self._config.seed + number]) for number, settings in enumerate(augmentations)
        ]
        return [plain, *(self.normalization.shown(view).cpu() for view in self._drawn(batch, augmenters))]

    def preview_classes(self, count: int) -> list[tuple[str | None, bool]]:
        """Return the class of each image of a preview.

        Args:
            count: as for `preview`.

        Returns:
            The name of the class, or None for an image that has none; and whether its label is trained on.
        """
        indices = self._preview_indices(count).tolist()
        labels, labeled = self._images.train_labels[indices].tolist(), set(self.split.labeled.tolist())
        return [
            (None if label < 0 else self.classes[label], index in labeled)
            for index, label in zip(indices, labels, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: where the batches and the random numbers of the views are."""
        return {
            "batches": self._batches.state_dict(),
            "views": [{"generator": generator.get_state()} for generator in self.generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned; other keys are ignored."""
        self._batches.load_state_dict(on_cpu(state["batches"]))
        for generator, saved in zip(self.generators, state["views"], strict=True):
            generator.set_state(on_cpu(saved)["generator"])

    def _augmenter(self, settings: Augmentation, seeds: Sequence[int]) -> ViewAugmenter:
        return ViewAugmenter(self.normalization, settings, settings.noise, seeds, self._device)

    def _drawn(self, batch: Batch, augmenters: Sequence[ViewAugmenter]) -> list[Tensor]:
        images, rows = batch.images, batch.rows
        if self.normalization.of_whole_images:
            images = self.normalization.normalized(images[rows])
            rows = torch.arange(len(rows), device=self._device)
        views = [view for augmenter in augmenters for view in augmenter.draw(images, rows)]
        return [view.contiguous(memory_format=self._layout) for view in views]

    def _preview_indices(self, count: int) -> Tensor:
        """Return images that are trained on: a labeled one of each class, then unlabeled ones from all over.

        Of six columns, the last is kept for an unlabeled image. Where there are not enough, more labeled ones follow.
        """
        labeled = self.split.labeled
        unlabeled = self.split.unlabeled if self._config.method not in ONLY_LABELS else labeled[:0]
        first_of_class = np.unique(self._images.train_labels.numpy()[labeled], return_index=True)[1]
        ordered = np.concatenate([labeled[first_of_class], np.delete(labeled, first_of_class)])
        kept = min(count // 6, len(unlabeled))
        with_label = min(len(ordered), max(min(len(first_of_class), count - kept), count - len(unlabeled)))
        places = np.linspace(0, len(unlabeled) - 1, min(count - with_label, len(unlabeled))).astype(int)
        return torch.from_numpy(np.concatenate([ordered[:with_label], unlabeled[places]]))

    def _training_images(self, indices: np.ndarray) -> EvaluationImages:
        chosen = torch.from_numpy(indices)
        return EvaluationImages(self._loader.take, chosen, self._images.train_labels[chosen])
