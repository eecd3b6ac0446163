"""What a worker relies on in a trainer: the real one and the simulated one keep the same promises."""

import warnings

import pytest

from mt_sweeps.execution.simulated_trainer import Script, SimulatedTrainer
from tests.helpers.training import config
from trainers import Trainer
from trainers.errors import CheckpointError, UnreadableCheckpoint
from trainers.files import CHECKPOINT, PREVIOUS_CHECKPOINT

TRAINERS = {"real": Trainer, "simulated": lambda config, folder: SimulatedTrainer(config, folder, Script())}


@pytest.fixture(params=TRAINERS)
def make(request):
    return TRAINERS[request.param]


def metrics(reports):
    """What of the reports does not depend on the clock or the machine."""
    return [
        {name: value for name, value in report.metrics.items() if not name.startswith(("time.", "memory."))}
        for report in reports
    ]


def test_there_is_one_report_per_evaluation_and_the_last_is_at_the_last_step(make):
    trainer = make(config(steps=7, evaluate_every=3), None)
    assert trainer.history == []
    reports = list(trainer.run())
    assert [report.step for report in reports] == [3, 6, 7]
    assert trainer.history == reports
    assert sorted(report.time for report in reports) == [report.time for report in reports]
    assert all(isinstance(value, float) for report in reports for value in report.metrics.values())


@pytest.mark.parametrize(
    ("method", "networks"), [("mean_teacher", {"student", "teacher"}), ("supervised", {"student"})]
)
def test_each_network_has_its_errors_their_standard_errors_and_a_confusion_matrix(make, method, networks):
    (report,) = make(config(method=method, steps=2, evaluate_every=2), None).run()
    names = {name for name in report.metrics if name.startswith("validation.") and name != "validation.images"}
    plain, balanced, f1 = ("error", "standard_error"), ("balanced_error", "balanced_standard_error"), "macro_f1"
    kinds = (*plain, *balanced, f1, f"{f1}_standard_error")
    assert names == {f"validation.{network}_{kind}" for network in networks for kind in kinds}
    assert report.confusion.keys() == {f"validation.{network}" for network in networks}
    assert all(0 <= report.metrics[name] <= 1 for name in names)
    assert "time.step_seconds" in report.metrics


def test_a_finalist_reports_its_verdict_errors_at_the_end_alone(make):
    dataset = {"name": "digits", "labels": 20, "validation": 60, "verdict": 40}
    first, last = make(config(dataset=dataset, verdict=True, steps=4, evaluate_every=2), None).run()
    assert not any(name.startswith("verdict.") for name in first.metrics)
    assert {"verdict.student_error", "verdict.teacher_error"} <= last.metrics.keys()


def test_the_checkpoint_of_a_report_is_on_disk_before_the_report(make, tmp_path):
    for report in make(config(), tmp_path).run():
        assert make(config(), tmp_path).history[-1] == report


def test_a_resumed_run_equals_an_uninterrupted_one(make, tmp_path):
    whole = list(make(config(), tmp_path / "whole").run())
    interrupted = make(config(), tmp_path / "interrupted")
    first = next(interrupted.run())
    resumed = make(config(), tmp_path / "interrupted")
    assert resumed.history == [first]
    list(resumed.run())
    assert metrics(resumed.history) == metrics(whole)
    assert list(make(config(), tmp_path / "interrupted").run()) == [], "nothing is left to train"


def test_a_checkpoint_of_another_configuration_is_refused(make, tmp_path):
    list(make(config(), tmp_path).run())
    with pytest.raises(CheckpointError, match="another configuration"):
        make(config(seed=7), tmp_path)


def test_a_torn_checkpoint_falls_back_to_the_one_before_it_and_two_of_them_are_named(make, tmp_path):
    list(make(config(), tmp_path).run())
    (tmp_path / CHECKPOINT).write_bytes(b"torn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        resumed = make(config(), tmp_path)
    assert [report.step for report in resumed.history] == [2, 4]
    for name in (CHECKPOINT, PREVIOUS_CHECKPOINT):
        (tmp_path / name).write_bytes(b"torn")
    with pytest.raises(UnreadableCheckpoint, match=CHECKPOINT):
        make(config(), tmp_path)
