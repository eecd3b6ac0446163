"""What a sweep will take, said before anything starts: from the file alone, and from a few steps where one may wait."""

from dataclasses import dataclass

from mt_sweeps.execution.preflight import DatasetCheck
from mt_sweeps.execution.resources import Share
from mt_sweeps.formatting import counted, duration
from mt_sweeps.spec.arms import Arm
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.study import pruner
from trainers.config import TrainerConfig

OVERHEAD_BYTES = 30_000_000  # ledger, MLflow's database, records and logs of a usual sweep


@dataclass(frozen=True)
class Forecast:
    """An upper bound: pruning makes it less.

    Attributes:
        trials: of each arm.
        steps: optimiser steps of all trials together, were none pruned.
        evaluations: of all trials together.
        rungs: at which steps trials are ranked and ended.
        disk_bytes: kept at the end or needed on the way, whichever is more.
    """

    trials: dict[Arm, int]
    steps: int
    evaluations: int
    rungs: list[int]
    disk_bytes: int


@dataclass(frozen=True)
class Speed:
    """What was measured of one possible trial, in seconds."""

    step: float
    evaluation: float

    def seconds(self, planned: Forecast) -> float:
        """That all trials take one after the other."""
        return planned.steps * self.step + planned.evaluations * self.evaluation


def forecast(spec: SweepSpec, concurrent: int) -> Forecast:
    """What a sweep will take.

    Args:
        spec: of the sweep.
        concurrent: trials at once.
    """
    trials = {arm: spec.trials_of(arm) for arm in spec.arms()}
    weights = max(spec.config(values).model.weights for values in spec.space().corners())
    # A model is 4 bytes a weight. A checkpoint holds student, teacher and at most two moments; there are the last, the
    # one before, and the one that is being written.
    models, checkpoints = 4 * weights * sum(trials.values()), 3 * 16 * weights * concurrent
    return Forecast(
        trials=trials,
        steps=spec.steps * sum(trials.values()),
        evaluations=-(-spec.steps // spec.sample_config().evaluation_interval) * sum(trials.values()),
        rungs=pruner.rungs(spec),
        disk_bytes=models + checkpoints + OVERHEAD_BYTES,
    )


def measure_speed(config: TrainerConfig, threads: int) -> Speed:
    """Time a few steps and an evaluation of a training run on this machine.

    Args:
        config: of the run.
        threads: that torch may use.

    Raises:
        DataError: its images are not there.
        TrainingError: it cannot give a result.
    """
    import torch

    from trainers import Trainer

    torch.set_num_threads(threads)
    steps = 40 if torch.cuda.is_available() and config.device != "cpu" else 4
    reports = list(Trainer(config.model_copy(update={"steps": 2 * steps, "evaluate_every": steps})).run())
    first, second = (report.metrics for report in reports)  # the first steps are watched, and warm up

    def between(name: str) -> float:
        return second[name] - first[name]

    return Speed(between("time.step_seconds") / steps, between("time.evaluation_seconds"))


def text(spec: SweepSpec, planned: Forecast, share: Share, data: DatasetCheck | None, speed: Speed | None) -> str:
    """For people, a line a quantity.

    Args:
        spec: of the sweep.
        planned: what it will take.
        share: what a trial gets, and how many run at once.
        data: what there is of the images; none: not known.
        speed: as measured; none: it is told later.
    """
    config = spec.sample_config()
    classes = "" if data is None else f" {data.classes} classes,"
    arms = ", ".join(f"{count} {arm}" for arm, count in planned.trials.items())
    device = f"{share.gpus:g} GPU" if share.gpus else counted(share.cpus, "core")
    rungs = f"at step {', '.join(map(str, planned.rungs))}" if planned.rungs else "nowhere"
    told = [f"{spec.name}: {config.dataset.name},{classes} {config.model.name}"]
    if data is not None:
        told.append(f"  images    {', '.join(f'{count:,} {use}' for use, count in data.purposes.items() if count)}")
    told += [
        f"  trials    {arms}; {share.concurrent} at once, {device} each",
        f"  steps     {planned.steps:,} at the most; trials are ranked and ended {rungs}",
        f"  disk      about {planned.disk_bytes / 1e6:,.0f} MB",
    ]
    if speed is None:
        told.append("  time      told when the first trial has reported")
    else:
        seconds = speed.seconds(planned)
        told.append(
            f"  time      {duration(seconds / share.concurrent)} at the most: {1000 * speed.step:.3g} ms a step and "
            f"{speed.evaluation:.2g} s an evaluation, measured"
        )
        if share.gpus:
            told.append(f"  GPU-hours {seconds * share.gpus / 3600:.3g} at the most")
    limits = [f"{name} {value:g}" for name, value in spec.budget if value is not None]
    if limits:
        told.append(f"  budget    {', '.join(limits)}")
    if (reason := pruner.why_not_pruning(spec)) is not None:
        told.append(f"  note      {reason}")
    return "\n".join(told)
