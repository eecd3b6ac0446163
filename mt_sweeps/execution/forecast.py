"""Forecast what a sweep will take, before anything starts: from the file, and from a few measured steps."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mt_sweeps.execution.preflight import DatasetCheck
from mt_sweeps.execution.resources import Share
from mt_sweeps.formatting import counted, duration
from mt_sweeps.results.short_budget import CLEARLY, missing_text
from mt_sweeps.spec.arms import Arm
from mt_sweeps.spec.speed import Speed, enough_hours
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.study import pruner
from trainers.config import ModelConfig, Timm, TrainerConfig
from trainers.config.model import network_name

_OF_STEPS = ("time.data_seconds", "time.step_seconds")
OVERHEAD_BYTES = 30_000_000  # ledger, MLflow's database, records and logs of a usual sweep


@dataclass(frozen=True)
class Forecast:
    """What a sweep takes at the most; pruning makes it less.

    Attributes:
        trials: of each arm.
        steps: optimiser steps of all trials together, if none is pruned.
        evaluations: of all trials together.
        rungs: the steps at which trials are ranked and pruned.
        disk_bytes: kept at the end, and needed on the way.
    """

    trials: dict[Arm, int]
    steps: int
    evaluations: int
    rungs: list[int]
    disk_bytes: int


def forecast(spec: SweepSpec, concurrent: int) -> Forecast:
    """Return what a sweep will take.

    Args:
        spec: of the sweep.
        concurrent: trials at once.
    """
    config, trials = spec.sample_config(), {arm: spec.trials_of(arm) for arm in spec.arms()}
    weights = max(_parameters(spec.config(values).model) for values in spec.space().corners())
    # A model takes 4 bytes per weight. A checkpoint holds the student, the teacher and at most two moments; there are
    # up to three per running trial: the last, the one before it, and the one that is being written.
    models, checkpoints = 4 * weights * sum(trials.values()), 3 * 16 * weights * concurrent
    trained = sum(_trainings(spec, trials).values())
    return Forecast(
        trials=trials,
        steps=spec.total_steps * trained,
        evaluations=-(-spec.steps // config.evaluation_interval) * spec.total_steps // spec.steps * trained,
        rungs=pruner.rungs(spec),
        disk_bytes=models + checkpoints + OVERHEAD_BYTES,
    )


def _trainings(spec: SweepSpec, trials: dict[Arm, int]) -> dict[Arm, int]:
    """Return how many trials of each arm train: a probe takes seconds."""
    if "probe" not in trials:
        return trials
    return {
        arm: count - spec.finalists.seeds if arm == "finalists" else count
        for arm, count in trials.items()
        if arm != "probe"
    }


def _parameters(model: ModelConfig) -> int:
    if not isinstance(model, Timm):
        return model.parameters
    from trainers.models.timm_network import parameter_count  # loads torch and timm

    return parameter_count(model.architecture)


def measure_speed(config: TrainerConfig, threads: int) -> Speed:
    """Time a few steps and an evaluation of a training run on this machine, with its checkpoint.

    Args:
        config: of the run.
        threads: that torch may use.

    Raises:
        DataError: its images are not there.
        TrainingError: the run cannot give a result.
    """
    import torch

    from trainers import Trainer

    torch.set_num_threads(threads)
    steps = 40 if torch.cuda.is_available() and config.device != "cpu" else 4
    # As much work without a threshold of confidence, which no target may reach in so few steps.
    consistency = config.consistency.model_copy(update={"confidence": 0.0})
    shortened = {"steps": 2 * steps, "evaluate_every": steps, "consistency": consistency}
    if config.is_cross_validated:
        config = config.of_fold(0)  # else there would be nothing to evaluate on
    metrics, moments = [], []
    with tempfile.TemporaryDirectory(prefix="mt-sweeps-") as folder:
        for report in Trainer(config.model_copy(update=shortened), Path(folder)).run():
            metrics.append(report.metrics)
            moments.append(time.perf_counter())
    # The first interval only warms up. Where a step is a graph, all of it is in the seconds of steps.
    training = sum(metrics[1].get(name, 0) - metrics[0].get(name, 0) for name in _OF_STEPS)
    return Speed(training / steps, max(0.0, moments[1] - moments[0] - training))


def _milliseconds(seconds: float) -> str:
    return f"{float(f'{1000 * seconds:.3g}'):g} ms"


def text(spec: SweepSpec, planned: Forecast, share: Share, data: DatasetCheck | None, speed: Speed | None) -> str:
    """Return the forecast for people, one line per quantity.

    Args:
        spec: of the sweep.
        planned: what it will take.
        share: what a trial gets, and how many run at once.
        data: the images, or None if they are not known.
        speed: as measured, or None if nothing was measured.
    """
    config = spec.sample_config()
    classes = "" if data is None else f" {len(data.classes)} classes,"
    arms = ", ".join(f"{'at most ' * (arm == 'finalists')}{count} {arm}" for arm, count in planned.trials.items())
    device = f"{share.gpus:g} GPU" if share.gpus else counted(share.cpus, "core")
    rungs = f"at step {', '.join(map(str, planned.rungs))}" if planned.rungs else "nowhere"
    lines = [f"{spec.name}: {config.dataset.name},{classes} {network_name(config.model)}"]
    if data is not None:
        uses = {use: f"{count:,} {use}" for use, count in data.purposes.items() if count}
        if folds := config.dataset.folds:
            uses["validation"] = f"validation on the labeled ones in {folds} folds"
        lines.append(f"  images    {', '.join(uses.values())}")
    lines += [
        f"  trials    {arms}; {share.concurrent} at once, {device} each",
        f"  steps     {planned.steps:,} at the most; trials are ranked and ended {rungs}",
        f"  disk      about {planned.disk_bytes / 1e6:,.0f} MB",
    ]
    if speed is None:
        lines.append("  time      estimated after the first evaluation")
    else:
        seconds = speed.seconds(planned.steps, planned.evaluations)
        lines.append(
            f"  time      {duration(seconds / share.concurrent)} at the most: {_milliseconds(speed.step)} per step and "
            f"{speed.evaluation:.2g} s per evaluation, measured"
        )
        if share.gpus:
            lines.append(f"  GPU-hours {seconds * share.gpus / 3600:.3g} at the most")
        if 0 < share.gpus < 1:
            lines.append("  note      measured with a GPU to itself: trials that share one may each be slower")
    limits = [f"{name} {value:g}" for name, value in spec.budget if value is not None]
    if limits:
        lines.append(f"  budget    {', '.join(limits)}")
    if speed is not None:
        seconds = speed.seconds(planned.steps, planned.evaluations) / share.concurrent
        if (warning := _cut_off(spec, planned, seconds)) is not None:
            lines.append(f"  warning   {warning}")
    if (reason := pruner.why_not_pruning(spec)) is not None:
        lines.append(f"  note      {reason}")
    return "\n".join(lines)


def _cut_off(spec: SweepSpec, planned: Forecast, seconds: float) -> str | None:
    """Return what will be missing if the hours of the budget are clearly fewer than a sweep takes; None: nothing.

    Args:
        spec: of the sweep.
        planned: what it will take.
        seconds: that it takes at the most.
    """
    hours = spec.budget.hours
    if hours is None or seconds <= CLEARLY * 3600 * hours:
        return None
    trainings = _trainings(spec, planned.trials)
    fitting, finalists = int(3600 * hours / seconds * sum(trainings.values())), trainings.get("finalists", 0)
    others = sum(trainings.values()) - finalists
    baselines = " and the baselines" if spec.finalists.baselines else ""
    missing = missing_text(fitting - finalists, others, finalists)
    return (
        f"{hours:g} h cut the search{baselines} short: {missing}; without pruning, this sweep needs about "
        f"{enough_hours(seconds):g} h"
    )
