"""The settings of the optimiser and of the schedule of its learning rate."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainers.config.base import MAX_STEPS, Settings, by_default


class _Optimizer(Settings):
    name: str
    weight_decay: float = Field(0.0, ge=0)
    weight_decay_on: Literal["all", "weights"] = Field("all", description="weights: not on norms and biases")
    body_learning_rate_factor: float = Field(
        1.0, ge=0, description="on the learning rate of all but the heads; 0: pre-trained weights stay as they are"
    )


class Sgd(_Optimizer):
    """Stochastic gradient descent with Nesterov's momentum."""

    name: Literal["sgd"] = "sgd"
    learning_rate: float = Field(0.05, gt=0, description="before the schedule")
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(2e-4, ge=0)

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "Sgd":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: true needs a momentum above 0; set nesterov: false or raise momentum")
        return self


class _Moments(_Optimizer):
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    epsilon: float = Field(1e-8, gt=0)


class Adam(_Moments):
    """Adam, with the changing betas of the authors' TensorFlow code; weight decay is added to the gradient."""

    name: Literal["adam"]
    learning_rate: float = Field(0.003, gt=0, description="before the schedule")
    warm_up_beta2: float | None = Field(
        None, ge=0, lt=1, description="beta2 until the schedule's warm-up ends (authors: 0.99); none: the same"
    )
    ramp_down_beta1: float | None = Field(
        None, ge=0, lt=1, description="beta1 at the end of schedule.name: ramp_down (authors: 0.5); none: the same"
    )


class AdamW(_Moments):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    name: Literal["adamw"]
    learning_rate: float = Field(0.001, gt=0, description="before the schedule")


class _Schedule(Settings):
    """The factor on the learning rate: warm-up times decay."""

    name: str
    warm_up: Literal["linear", "sigmoid"] = Field("linear", description="sigmoid: exp(-5 (1 - x)^2)")
    warm_up_steps: int = Field(0, ge=0, le=MAX_STEPS)
    warm_up_from: float = Field(0.0, ge=0, le=1, description="the factor at the first step of a linear warm-up")


class Constant(_Schedule):
    """No decay."""

    name: Literal["constant"]


class HalfCosine(_Schedule):
    """(1 + cos(pi t / length)) / 2."""

    name: Literal["half_cosine"] = "half_cosine"
    length: int | None = Field(
        None, ge=1, le=MAX_STEPS, description="step where it reaches 0, at or after the last; none: steps"
    )


class QuarterCosine(_Schedule):
    """cos(pi t / (2 length)); with length = 8/7 steps, FixMatch's cos(7 pi t / (16 steps))."""

    name: Literal["quarter_cosine"]
    length: int | None = Field(
        None, ge=1, le=MAX_STEPS, description="step where it reaches 0, at or after the last; none: steps"
    )


class RampDown(_Schedule):
    """exp(-12.5 x^2), where x rises from 0 to 1 over the last steps (the authors' TensorFlow code)."""

    name: Literal["ramp_down"]
    ramp_down_steps: int = Field(ge=1, le=MAX_STEPS, description="at the end of the run")


class StepDecay(_Schedule):
    """The learning rate is multiplied by `factor` at each of the steps in `at`."""

    name: Literal["step_decay"]
    at: list[Annotated[int, Field(ge=1, le=MAX_STEPS)]] = Field(min_length=1, max_length=1000)
    factor: float = Field(0.1, gt=0, lt=1)


Optimizer = Annotated[Sgd | Adam | AdamW, Field(discriminator="name"), by_default("sgd")]
Schedule = Annotated[
    Constant | HalfCosine | QuarterCosine | RampDown | StepDecay,
    Field(discriminator="name"),
    by_default("half_cosine"),
]
