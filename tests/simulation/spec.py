"""The sweeps that are simulated: a few short trials each, and no configuration validated twice."""

from functools import cache, cached_property
from typing import Any

from mt_sweeps.search_space.space import Space
from mt_sweeps.spec.arms import Arm
from mt_sweeps.spec.sweep_spec import SweepSpec, Values
from tests.helpers.sweeps import digits
from trainers.config import TrainerConfig

_SHORT = (
    "trainer.steps=40",
    "trainer.evaluate_every=10",
    "trainer.consistency.ramp_up_steps=10",
    "sampler.name=random",
)
_SHORT += ("trainer.dataset.labels=20", "trainer.dataset.validation=40", "trainer.dataset.verdict=0", "points=[]")
_VARIANTS = (
    ("trials=4", "pruner.name=none", "finalists.baselines=[]"),
    ("trials=6", "pruner.name=asha", "pruner.reduction_factor=2", "finalists.baselines=[]"),
    ("trials=6", "pruner.name=median", "finalists.baselines=[]"),
    ("trials=3", "pruner.name=none", "finalists.top=1", "finalists.seeds=4", "finalists.baselines=[supervised]"),
)
_CONFIGS: dict[tuple[str, Arm], TrainerConfig] = {}


class SimulatedSpec(SweepSpec):
    """A specification that remembers what it computed: a thousand schedules ask the same."""

    def space(self, arm: Arm = "search") -> Space:
        return self._spaces[arm]

    def config(self, values: Values, arm: Arm = "search") -> TrainerConfig:
        key = repr(sorted(values.items())), arm
        if key not in _CONFIGS:
            _CONFIGS[key] = super().config(values, arm)
        return _CONFIGS[key]

    @cached_property
    def total_steps(self) -> int:  # type: ignore[override]
        return super().total_steps

    @cached_property
    def _spaces(self) -> dict[Arm, Space]:
        return {arm: super(SimulatedSpec, self).space(arm) for arm in (*self.arms(), "search")}


@cache
def specs() -> list[SimulatedSpec]:
    """Return them. They differ in their pruners, and in their arms; the settings of their trials are the same."""
    settings: list[dict[str, Any]] = [digits(*_SHORT, *variant).model_dump(exclude_none=True) for variant in _VARIANTS]
    return [SimulatedSpec.model_validate(one) for one in settings]
