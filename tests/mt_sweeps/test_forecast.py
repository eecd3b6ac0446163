from mt_sweeps.forecast import forecast
from tests.mt_sweeps.support import digits


def test_all_arms_are_counted():
    planned = forecast(digits(), concurrent=2)
    assert planned.trials == {"search": 16, "supervised": 1, "published": 1}
    assert planned.steps == 18 * 300
    assert planned.rungs == [90]


def test_larger_networks_and_more_trials_take_more_disk():
    small = forecast(digits(), 2).disk_bytes
    assert forecast(digits("trainer.model.width=512"), 2).disk_bytes > small + 1e9
    assert forecast(digits("trials=4"), 2).disk_bytes < small
