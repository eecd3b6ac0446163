import pytest

from mt_sweeps.execution.forecast import forecast, measure_speed, text
from mt_sweeps.execution.preflight import DatasetCheck
from mt_sweeps.execution.resources import Share
from mt_sweeps.spec.speed import Speed
from mt_sweeps.study import pruner
from tests.helpers.sweeps import digits


def test_all_arms_are_counted():
    planned = forecast(digits("finalists.top=2", "finalists.seeds=5"), concurrent=2)
    assert planned.trials == {"search": 16, "supervised": 1, "published": 1, "finalists": 20}
    assert planned.steps == 38 * 300
    assert planned.evaluations == 38 * 10
    assert planned.rungs == [90]


def test_a_cross_validation_takes_as_many_trainings_as_it_has_folds():
    spec = digits("finalists.top=2", "finalists.seeds=5", "trainer.dataset.validation=0", "trainer.dataset.folds=5")
    planned = forecast(spec, concurrent=2)
    assert planned.steps == 5 * 38 * 300
    assert planned.evaluations == 5 * 38 * 10
    images = {"labeled": 50, "unlabeled": 1088, "validation": 50, "verdict": 300}
    data = DatasetCheck("", "", list("0123456789"), images, {}, {}, {})
    shown = text(spec, planned, Share(0.0, 1, 2), data, None)
    assert "images    50 labeled, 1,088 unlabeled, validation on the labeled ones in 5 folds, 300 verdict" in shown


def test_larger_networks_and_more_trials_take_more_disk():
    small = forecast(digits(), 2).disk_bytes
    assert forecast(digits("trainer.model.width=512"), 2).disk_bytes > small + 1e9
    assert forecast(digits("trials=4"), 2).disk_bytes < small


def test_hours_and_gpu_hours_follow_from_a_measured_step():
    spec = digits("budget.hours=2.0")
    planned = forecast(spec, 2)
    told = text(spec, planned, Share(0.5, 1, 2), None, Speed(step=2.0, evaluation=10.0))
    assert Speed(2.0, 10.0).seconds(planned.steps, planned.evaluations) == 18 * (300 * 2 + 10 * 10)
    assert "time      1 h 45 min at the most" in told
    assert "GPU-hours 1.75 at the most" in told
    assert "budget    hours 2" in told


@pytest.mark.parametrize(
    ("hours", "missing"),
    [
        (0.8, "about 11 of 18 trainings fit before the finalists; "),
        (0.3, "few of 18 trainings fit, and not all of the 12 finalists; "),
    ],
)
def test_a_budget_that_clearly_cuts_the_sweep_off_is_a_warning_with_the_hours_it_needs(hours, missing):
    spec = digits("finalists.top=2", "finalists.seeds=3", f"budget.hours={hours}")
    planned, speed = forecast(spec, 2), Speed(step=0.8, evaluation=0.2)
    shown = text(spec, planned, Share(0.0, 1, 2), None, speed)
    assert f"  warning   {hours} h cut the search and the baselines short: {missing}" in shown
    assert "this sweep needs about 1.1 h" in shown


def test_a_forecast_at_the_most_that_is_a_little_more_than_the_budget_is_no_warning():
    spec = digits("finalists.top=2", "finalists.seeds=3", "budget.hours=0.9")
    assert "cut off" not in text(spec, forecast(spec, 2), Share(0.0, 1, 2), None, Speed(0.8, 0.2))


@pytest.mark.parametrize(("gpus", "is_said"), [(0.25, True), (1.0, False), (0.0, False)])
def test_trials_that_share_a_gpu_are_foreseen_with_a_reservation(gpus, is_said):
    spec = digits()
    shown = text(spec, forecast(spec, 2), Share(gpus, 1, 2), None, Speed(0.8, 0.2))
    assert ("trials that share one may each be slower" in shown) == is_said


@pytest.mark.system
def test_a_step_of_this_machine_is_measured():
    speed = measure_speed(digits().sample_config(), threads=1)
    assert 0 < speed.step < 5
    assert 0 < speed.evaluation < 5


def test_rungs_that_leave_nothing_to_prune_are_told_with_the_numbers():
    late = pruner.why_not_pruning(digits("trainer.consistency.ramp_up_steps=280"))
    assert "first rung would be at step 280" in late
    assert "the last may be at 240 of 300" in late
    assert "no trial before 3 are at a rung, and trials is 2" in pruner.why_not_pruning(digits("trials=2"))
    assert pruner.why_not_pruning(digits()) is None
    assert pruner.why_not_pruning(digits("trials=2", "pruner.name=none")) is None
    spec = digits("trials=2")
    assert "trials is 2" in text(spec, forecast(spec, 2), Share(0.0, 1, 2), None, None)
