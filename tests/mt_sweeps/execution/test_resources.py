import pytest

from mt_sweeps.execution.resources import Share, allocate
from mt_sweeps.spec.sections import Resources


@pytest.mark.parametrize(
    ("wanted", "available", "given"),
    [
        ({}, {"CPU": 2.0}, Share(gpus=0, cpus=1, concurrent=2)),
        ({}, {"CPU": 16.0, "GPU": 2.0}, Share(gpus=1, cpus=8, concurrent=2)),
        ({"gpus_per_trial": 0.5}, {"CPU": 8.0, "GPU": 1.0}, Share(gpus=0.5, cpus=4, concurrent=2)),
        ({"gpus_per_trial": 0.6}, {"CPU": 9.0, "GPU": 3.0}, Share(gpus=0.6, cpus=3, concurrent=3)),
        ({"gpus_per_trial": 0.0}, {"CPU": 8.0, "GPU": 1.0}, Share(gpus=0, cpus=1, concurrent=8)),
        ({"gpus_per_trial": 1.0}, {"CPU": 8.0, "GPU": 4.0}, Share(gpus=1, cpus=2, concurrent=4)),
        ({"cpus_per_trial": 2}, {"CPU": 5.0}, Share(gpus=0, cpus=2, concurrent=2)),
        ({"max_concurrent": 1}, {"CPU": 8.0}, Share(gpus=0, cpus=1, concurrent=1)),
        ({}, {"CPU": 1.0, "GPU": 4.0}, Share(gpus=1, cpus=1, concurrent=1)),
    ],
)
def test_what_a_trial_gets_of_what_there_is(wanted, available, given):
    assert allocate(Resources(**wanted), [available], "auto") == given


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"gpus_per_trial": 1.0}, "asks for 1 and there are 0 GPUs"),
        ({"cpus_per_trial": 4}, "asks for 4 and there are 2"),
    ],
)
def test_what_is_not_there_is_refused_at_once(wanted, reason):
    with pytest.raises(ValueError, match=reason):
        allocate(Resources(**wanted), [{"CPU": 2.0}], "auto")


def test_the_device_that_the_file_names_decides_what_auto_means():
    there = [{"CPU": 8.0, "GPU": 1.0}]
    assert allocate(Resources(), there, "cpu").gpus == 0
    with pytest.raises(ValueError, match="asks for 1 and there are 0 GPUs"):
        allocate(Resources(), [{"CPU": 8.0}], "cuda")
    with pytest.raises(ValueError, match=r"cuda is set and resources\.gpus_per_trial is 0"):
        allocate(Resources(gpus_per_trial=0.0), there, "cuda")


HEAD, ONE_GPU, EIGHT_GPUS = {"CPU": 64.0}, {"CPU": 8.0, "GPU": 1.0}, {"CPU": 64.0, "GPU": 8.0}


@pytest.mark.parametrize(
    ("wanted", "nodes", "given"),
    [
        ({}, [HEAD, EIGHT_GPUS], Share(gpus=1, cpus=8, concurrent=8)),  # the cores of the head train nothing
        ({}, [HEAD, ONE_GPU], Share(gpus=1, cpus=8, concurrent=1)),
        ({}, [{}, {"CPU": 4.0}], Share(gpus=0, cpus=1, concurrent=4)),  # a head that is to run nothing
        ({}, [ONE_GPU, {"CPU": 64.0, "GPU": 2.0}], Share(gpus=1, cpus=8, concurrent=3)),
        ({"gpus_per_trial": 0.5}, [ONE_GPU, EIGHT_GPUS], Share(gpus=0.5, cpus=4, concurrent=18)),
        (
            {"gpus_per_trial": 0.0, "cpus_per_trial": 3},
            [{"CPU": 8.0}, {"CPU": 4.0}],
            Share(gpus=0, cpus=3, concurrent=3),
        ),
    ],
)
def test_a_trial_fits_on_one_node_of_a_cluster(wanted, nodes, given):
    assert allocate(Resources(**wanted), nodes, "auto") == given


def test_more_cores_than_a_node_has_are_refused():
    with pytest.raises(ValueError, match="asks for 12 and there are 8 cores"):
        allocate(Resources(cpus_per_trial=12), [ONE_GPU, HEAD], "auto")
