"""The settings of the methods: augmentation, consistency loss, teacher."""

from typing import Literal

from pydantic import Field, model_validator

from trainers.config.base import MAX_STEPS, Settings


class Augmentation(Settings):
    """Random changes of the input, drawn for each image, each network and each step."""

    translate: int = Field(
        2, ge=0, le=1024, description="pixels per axis, reflected at the edge, uniform over -n..n; with crop: 0"
    )
    crop: int | None = Field(
        None,
        ge=4,
        le=1024,
        description="pixels per side to which random parts are resized; evaluations use the centre; none: whole images",
    )
    smallest_crop: float = Field(0.08, gt=0, le=1, description="smallest share of the area that a crop takes")
    rotate: float = Field(0.0, ge=0, le=180, description="degrees, uniform over -n..n, reflected at the edge")
    flip: bool = Field(False, description="mirror left and right with probability 1/2")
    brightness: float = Field(0.0, ge=0, le=1, description="a factor uniform over 1-n..1+n; likewise the next two")
    contrast: float = Field(0.0, ge=0, le=1, description="distance from the image's mean grey")
    saturation: float = Field(0.0, ge=0, le=1, description="distance from grey")
    hue: float = Field(0.0, ge=0, le=0.5, description="turns of the colour circle, uniform over -n..n")
    strong: Literal["none", "trivial_augment", "rand_augment"] = Field(
        "none",
        description="random operations as torchvision has them; trivial_augment: TrivialAugmentWide, one per image",
    )
    rand_operations: int = Field(2, ge=1, le=100, description="rand_augment: operations per image, one after another")
    rand_magnitude: int = Field(9, ge=0, le=30, description="rand_augment: of every operation; 30 is the largest")
    noise: float = Field(0.0, ge=0, description="standard deviation of Gaussian noise on normalised pixels")
    erase: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability that a rectangle, 0.02 to 0.33 of the image, becomes 0 after normalisation",
    )

    @property
    def jitters(self) -> bool:
        """Whether colours are changed."""
        return any((self.brightness, self.contrast, self.saturation, self.hue))

    @property
    def is_noise(self) -> bool:
        """Whether two views of an image differ at all."""
        geometry = (self.translate, self.crop, self.rotate, self.flip)
        return any((*geometry, self.jitters, self.strong != "none", self.noise, self.erase))

    @property
    def weak(self) -> "Augmentation":
        """The crop, the translation and the flip alone."""
        return Augmentation(translate=self.translate, crop=self.crop, smallest_crop=self.smallest_crop, flip=self.flip)


class Consistency(Settings):
    """The loss that ties the student to its target (section 2 of the paper)."""

    loss: Literal["mse", "kl"] = Field("mse", description="mse: mean over classes of the squared difference")
    weight: float = Field(10.0, ge=0, description="at full ramp; C to C squared for mse, 1 to 10 for kl (C classes)")
    ramp_up: Literal["sigmoid", "linear"] = Field("sigmoid", description="sigmoid: exp(-5 (1 - x)^2)")
    start: int = Field(
        0, ge=0, le=MAX_STEPS, description="step at which the ramp-up begins; before, only labels are learnt from"
    )
    ramp_up_steps: int | None = Field(
        None, ge=0, le=MAX_STEPS, description="none: the first fifth of the steps from start on"
    )
    confidence: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="an image counts where the target's highest probability exceeds this; 0: all count, as published",
    )
    images: Literal["all", "unlabeled"] = Field(
        "all",
        description="the mean of the loss is taken over these; with class_loss_normalizer: whole_batch, their sum / "
        "batch size",
    )
    heads: Literal[1, 2] = Field(1, description="2: the first classifies, the second agrees with the teacher's first")
    logit_distance_weight: float = Field(0.01, ge=0, description="of the squared distance of two heads; one has none")
    target_gradient: bool = Field(
        False, description="pi_model: the gradient flows through both passes, as its authors have it"
    )


class Ema(Settings):
    """The teacher's weights: the exponential moving average of the student's."""

    decay: float = Field(0.999, ge=0, lt=1, description="alpha; warmed up as min(1 - 1/(t+1), alpha)")
    ramp_up_decay: float | None = Field(
        None, ge=0, lt=1, description="alpha until the consistency ramp-up ends; none: the same"
    )


class Teacher(Settings):
    """How the second network starts and what it sees; for the Pi-model, the student's second pass."""

    dropout: float | None = Field(None, ge=0, lt=1, description="none: the student's, model.dropout")
    augmentation: Literal["same", "weak"] = Field(
        "same", description="same: the student's settings; weak: its crop, translation and flip alone"
    )
    noise: float | None = Field(
        None, ge=0, description="none: the student's, augmentation.noise; with augmentation: weak, 0"
    )
    start: Literal["copy", "independent"] = Field("copy", description="its first weights: the student's, or its own")
    mode: Literal["train", "eval"] = Field("train", description="of its batch norm and dropout when it makes targets")
    batch_norm: Literal["own", "copied", "averaged"] = Field(
        "own", description="its statistics: from its own passes (mode train), or the student's (mode eval)"
    )

    @model_validator(mode="after")
    def _batch_norm_fits_the_mode(self) -> "Teacher":
        if self.mode == "eval" and self.batch_norm == "own":
            raise ValueError(
                "mode: eval and batch_norm: own clash: a teacher that never passes in train mode never updates "
                "statistics of its own; use batch_norm: copied or averaged, or mode: train"
            )
        if self.mode == "train" and self.batch_norm != "own":
            raise ValueError(
                f"mode: train and batch_norm: {self.batch_norm} clash: the teacher's passes and the student's would "
                "both write its statistics; use mode: eval, or batch_norm: own"
            )
        if self.mode == "eval" and self.dropout is not None:
            raise ValueError("dropout and mode: eval clash: in eval mode nothing is dropped; use mode: train")
        return self


class Ensemble(Settings):
    """Temporal ensembling (Laine & Aila 2017): each image's target is the average of its past predictions."""

    decay: float = Field(0.6, ge=0, lt=1, description="of the average, for each update")
