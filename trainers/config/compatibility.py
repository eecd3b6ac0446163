"""Which settings go together: which clash, which have no effect, and which need other images.

Each message names the two settings that clash and the legal values.
"""

from typing import TYPE_CHECKING, Any

from trainers.config.model import WithWeights, first_weights_of

if TYPE_CHECKING:
    from trainers.config import TrainerConfig

CONSISTENCY_ONLY = ("class_loss_normalizer", "consistency.", "ema.", "ensemble.", "labeled_batch_fraction", "teacher.")
"""Prefixes of the dotted keys that have no effect on a supervised run, whose batches are all labeled."""

ONLY_LABELS = ("supervised", "probe")
"""Methods that learn nothing from unlabeled images."""

PROBE_SETTINGS = (
    "dataset",
    "model",
    "normalization",
    "class_weights",
    "steps",
    "images",
    "precision",
    "channels_last",
    "deterministic",
    "seed",
    "device",
)
"""Settings that concern a linear probe, which takes no steps and sees no augmented images; and augmentation.crop."""


def idle_settings(config: "TrainerConfig") -> dict[str, str]:
    """Return the dotted keys (or groups, ending in a dot) that have no effect on this run, and why."""
    idle = {}
    if config.schedule.warm_up == "sigmoid":
        idle["schedule.warm_up_from"] = "schedule.warm_up: sigmoid begins at exp(-5); use schedule.warm_up: linear"
    if config.schedule.warm_up_steps == 0:
        why = "schedule.warm_up_steps: 0 has no warm-up; raise schedule.warm_up_steps"
        idle |= dict.fromkeys(("schedule.warm_up_from", "optimizer.warm_up_beta2"), why)
    if config.dataset.name == "digits":
        idle |= dict.fromkeys(("augmentation.saturation", "augmentation.hue"), "dataset.name: digits has no colours")
    if config.augmentation.crop is None:
        idle["augmentation.smallest_crop"] = "augmentation.crop: none takes whole images; set augmentation.crop"
    else:
        idle["augmentation.translate"] = (
            f"augmentation.crop: {config.augmentation.crop} moves the image already; leave augmentation.crop out"
        )
    if config.augmentation.strong != "rand_augment":
        why = (
            f"augmentation.strong: {config.augmentation.strong} does not use it; use augmentation.strong: rand_augment"
        )
        idle |= dict.fromkeys(("augmentation.rand_operations", "augmentation.rand_magnitude"), why)
    if config.method == "supervised":
        return idle | dict.fromkeys(CONSISTENCY_ONLY, "method: supervised has no consistency loss")
    if config.ramp_up_steps == 0:
        idle["ema.ramp_up_decay"] = "consistency.ramp_up_steps: 0 has no ramp-up; raise consistency.ramp_up_steps"
    if config.method != "pi_model":
        idle["consistency.target_gradient"] = f"method: {config.method} learns from fixed targets; use method: pi_model"
    if config.method != "temporal_ensembling":
        idle["ensemble."] = f"method: {config.method} averages no predictions; use method: temporal_ensembling"
    if config.method == "pi_model":
        why = "method: pi_model has no second network: its student sees each batch twice; use method: mean_teacher"
        idle |= dict.fromkeys(("ema.", "teacher.start", "teacher.mode", "teacher.batch_norm"), why)
    if config.method == "temporal_ensembling":
        why = "method: temporal_ensembling has no second network; use method: mean_teacher"
        idle |= dict.fromkeys(("ema.", "teacher."), why)
    elif not _weak_differs(config):
        idle["teacher.augmentation"] = (
            "augmentation.strong: none leaves nothing to weaken where nothing rotates, changes colours, erases or adds "
            "noise; set augmentation.strong, rotate, brightness, contrast, erase or noise"
        )
    if isinstance(config.model, WithWeights) and config.model.head == "probe":
        idle["teacher.start"] = "model.head: probe starts both networks with the same weights; use model.head: random"
    if config.consistency.heads == 1:
        idle["consistency.logit_distance_weight"] = "consistency.heads: 1 has no second head; use consistency.heads: 2"
    if config.method != "temporal_ensembling" and not hasattr(config.model, "dropout"):
        idle["teacher.dropout"] = f"model.name: {config.model.name} has no dropout; use model.name: conv_large"
    return idle


def _weak_differs(config: "TrainerConfig") -> bool:
    """Return whether a weak second view lacks something that the student's view has."""
    settings, teacher = config.augmentation, config.teacher
    return any((settings.rotate, settings.jitters, settings.strong != "none", settings.erase)) or (
        settings.noise > 0 and teacher.noise is None
    )


def is_idle(key: str, idle: dict[str, str]) -> bool:
    """Return whether a dotted key, or its group, is among those that `idle_settings` returned."""
    return any(key == one or (one.endswith(".") and key.startswith(one)) for one in idle)


def check_combinations(config: "TrainerConfig") -> None:
    """Refuse settings that do not go together.

    Raises:
        ValueError: two settings clash, or one that was changed has no effect because of another.
    """
    steps, fraction = config.steps, config.labeled_batch_fraction
    if config.method == "probe":
        _check_probe(config)
        return  # the other settings belong to the runs that it is compared with
    start, ramp_up = config.consistency.start, config.consistency.ramp_up_steps
    if start >= steps and config.method != "supervised":
        raise ValueError(
            f"consistency.start ({start}) must be below steps ({steps}), or there is no consistency loss; lower it"
        )
    if ramp_up is not None and start + ramp_up > steps:
        whole = (
            f"consistency.start + ramp_up_steps ({start} + {ramp_up})"
            if start
            else f"consistency.ramp_up_steps ({ramp_up})"
        )
        raise ValueError(
            f"{whole} is longer than steps ({steps}): the consistency weight "
            "would never be reached; lower it, or leave it out for a fifth of the steps"
        )
    if round(fraction * config.batch_size) < 1:
        raise ValueError(
            f"labeled_batch_fraction {fraction} of batch_size {config.batch_size} leaves no "
            f"labeled image in a batch; use at least {1 / config.batch_size:g}"
        )
    for one, why in idle_settings(config).items():
        # One file configures the search and its supervised baseline, which ignores the consistency settings.
        tolerated = config.method == "supervised" and one in CONSISTENCY_ONLY
        for key, value, default in [] if tolerated else _values(config, one):
            if value != default and value != 0:
                raise ValueError(f"{key} ({value}) has no effect: {why}, or remove {key}")
    dataset = config.dataset
    if (
        config.class_weights == "balanced"
        and dataset.draw == "balanced"
        and dataset.labels != "all"
        and not dataset.with_validation  # whose images are not drawn by class
    ):
        raise ValueError(
            "class_weights: balanced and dataset.draw: balanced clash: as many images of every class are labeled, so "
            "that all weights would be about 1; use dataset.draw: random or dataset.labels: all, or class_weights: none"
        )
    if config.class_weights != "none" and config.class_loss_normalizer == "labeled" and config.labeled_per_batch == 1:
        raise ValueError(
            "class_weights has no effect with one labeled image per batch, whose weight is divided by itself; raise "
            "labeled_batch_fraction or batch_size, use class_loss_normalizer: whole_batch, or class_weights: none"
        )
    _check_normalization(config)
    if config.method != "supervised":
        _check_methods(config)
    _check_schedule(config)


def _check_normalization(config: "TrainerConfig") -> None:
    """Refuse what needs pre-trained weights without them, and changes of pixels that are normalised already."""
    kind, augmentation = config.normalization, config.augmentation
    if first_weights_of(config.model) is None:
        if kind == "of_weights":
            raise ValueError(
                "normalization: of_weights needs model.weights; set model.weights, or use normalization: per_channel"
            )
        if config.optimizer.body_learning_rate_factor == 0:
            raise ValueError(
                "optimizer.body_learning_rate_factor: 0 would leave random weights as they are; set model.weights, or "
                "a factor above 0"
            )
    if kind in ("per_channel", "of_weights"):
        return
    before = "whole images are normalised before they are changed; use normalization: per_channel or of_weights"
    if augmentation.jitters:
        raise ValueError(
            f"normalization: {kind} and a jitter of colours clash: {before}, or leave out augmentation.brightness, "
            "contrast, saturation and hue"
        )
    if augmentation.strong != "none":
        raise ValueError(
            f"normalization: {kind} and augmentation.strong: {augmentation.strong} clash: {before}, or "
            "augmentation.strong: none"
        )


def _check_probe(config: "TrainerConfig") -> None:
    if first_weights_of(config.model) is None:
        raise ValueError("method: probe needs pre-trained features; set model.weights")
    if config.dataset.with_validation:
        raise ValueError(
            "method: probe and dataset.with_validation clash: the validation images choose the penalty; take out one"
        )


def _check_methods(config: "TrainerConfig") -> None:
    if config.consistency.images == "unlabeled" and config.labeled_per_batch == config.batch_size:
        raise ValueError(
            f"consistency.images: unlabeled and labeled_batch_fraction ({config.labeled_batch_fraction}) clash: a "
            "batch has no unlabeled image; lower labeled_batch_fraction, or use consistency.images: all"
        )
    augmentation, teacher, model = config.augmentation, config.teacher, config.model
    noisy = augmentation.is_noise or any((teacher.noise, teacher.dropout, getattr(model, "dropout", 0)))
    noisy = noisy or model.name == "shake_shake"  # whose gates are random
    if config.consistency.weight > 0 and not noisy and (config.method == "pi_model" or _teacher_is_student(config)):
        clashing = "method: pi_model" if config.method == "pi_model" else "ema.decay: 0"
        raise ValueError(
            f"{clashing} and an augmentation without noise clash: the student would see the same view twice and "
            "always agree; set augmentation.translate, augmentation.flip, augmentation.noise or model.dropout"
        )


def _teacher_is_student(config: "TrainerConfig") -> bool:
    return config.method == "mean_teacher" and config.ema.decay == 0 and config.teacher.mode == "train"


def _check_schedule(config: "TrainerConfig") -> None:
    schedule, steps = config.schedule, config.steps
    for name in ("warm_up_steps", "ramp_down_steps"):
        if getattr(schedule, name, 0) > steps:
            raise ValueError(
                f"schedule.{name} ({getattr(schedule, name)}) is longer than steps ({steps}); use at most {steps}"
            )
    length = getattr(schedule, "length", None)
    if length is not None and length < steps:
        raise ValueError(
            f"schedule.length ({length}) is shorter than steps ({steps}): the learning rate would reach 0 before the "
            "end; raise it, or leave it out for steps"
        )
    at = getattr(schedule, "at", [])
    if at != sorted(set(at)) or (at and at[-1] >= steps):
        raise ValueError(f"schedule.at ({at}) must rise and stay below steps ({steps})")
    if getattr(config.optimizer, "ramp_down_beta1", None) is not None and schedule.name != "ramp_down":
        raise ValueError(
            f"optimizer.ramp_down_beta1 and schedule.name: {schedule.name} clash: beta1 falls while the learning rate "
            "ramps down; use schedule.name: ramp_down, or remove optimizer.ramp_down_beta1"
        )


def _values(config: "TrainerConfig", one: str) -> list[tuple[str, Any, Any]]:
    """Return (dotted key, value, default) of one key, or of each key of a group."""
    group, _, name = one.rpartition(".")
    settings = getattr(config, group) if group else config
    fields = type(settings).model_fields
    names = [one for one in fields if one == name or not name]
    return [(f"{group}.{name}", getattr(settings, name), fields[name].get_default()) for name in names]


def check_unlabeled(config: "TrainerConfig", unlabeled: int) -> None:
    """Refuse a batch that takes more unlabeled images than there are, and a run that is too short for its method.

    Raises:
        ValueError: `unlabeled` images are too few for one batch; or, with temporal ensembling, no image would be drawn
            twice.
    """
    wanted = config.batch_size - config.labeled_per_batch
    if config.method == "temporal_ensembling" and wanted and config.steps <= unlabeled // wanted:
        raise ValueError(
            f"method: temporal_ensembling and steps: {config.steps} clash: one look at each of {unlabeled} unlabeled "
            f"images takes {unlabeled // wanted} steps, and only the next look has a target; raise steps, or batch_size"
        )
    if unlabeled < wanted:
        raise ValueError(
            f"a batch takes {wanted} unlabeled images and {unlabeled} are left: every image serves one purpose; lower "
            "batch_size or the dataset's labels, validation or verdict, or set labeled_batch_fraction: 1.0"
        )


def check_image_size(config: "TrainerConfig", size: int) -> None:
    """Refuse images that the network or the augmentation cannot take.

    Raises:
        ValueError: the images (`size` pixels per side) or their crops are too small; or they are too large to whiten.
    """
    model, crop = config.model, config.augmentation.crop
    if config.normalization == "zca" and size > 64:
        raise ValueError(
            f"normalization: zca whitens images of at most 64x64 pixels, these have {size}x{size}; use per_channel"
        )
    if crop is not None and crop > size:
        raise ValueError(f"augmentation.crop ({crop}) must be at most the image size ({size} pixels)")
    seen = size if crop is None else crop
    smallest = {"small_cnn": 4, "conv_large": 12}.get(model.name, 32 if getattr(model, "stem", "") == "large" else 8)
    smallest = getattr(model, "smallest_image", smallest)  # a plugin's
    if seen < smallest:
        stem = " with stem: large" if smallest == 32 else ""
        raise ValueError(
            f"model {model.name}{stem} needs images of at least {smallest}x{smallest} pixels, these have {seen}x{seen}"
        )
    if crop is None and config.augmentation.translate >= size:
        raise ValueError(
            f"augmentation.translate ({config.augmentation.translate}) must be below the image size ({size} pixels)"
        )
