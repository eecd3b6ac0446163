import math

import pytest
import torch
from torch import nn

from tests.helpers.training import config
from trainers.errors import Collapsed, ConsistencyMissing, Diverged
from trainers.guards import check_consistency, check_losses, check_teacher, check_weights
from trainers.report import Report

# --- losses

FINE = {
    "train.class_loss": 2.3,
    "train.consistency_loss": 0.01,
    "train.logit_distance": 0.5,
    "train.loss": 2.4,
    "train.learning_rate": 1e9,  # no loss
}


def test_losses_of_any_size_up_to_the_limit_are_fine():
    check_losses(FINE, 5)
    check_losses({}, 5)
    for name in ("train.class_loss", "train.consistency_loss", "train.logit_distance", "train.loss"):
        for value in (0.0, 1e5):
            check_losses(FINE | {name: value}, 5)


@pytest.mark.parametrize("value", [math.nextafter(1e5, math.inf), 1e30, math.inf, math.nan])
@pytest.mark.parametrize("name", ["train.class_loss", "train.consistency_loss", "train.logit_distance", "train.loss"])
def test_a_loss_that_exploded_or_is_no_number_ends_as_diverged_by_name(name, value):
    with pytest.raises(Diverged, match=rf"{name} is .* by step 5; lower the learning rate") as error:
        check_losses(FINE | {name: value}, 5)
    assert error.value.reason == "diverged"


# --- weights


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", range(4))
def test_a_weight_that_is_not_finite_ends_as_diverged(position, value):
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    check_weights(network, 7)
    list(network.parameters())[position].data.flatten()[-1] = value
    with pytest.raises(Diverged, match="not finite at step 7; lower the learning rate"):
        check_weights(network, 7)


def test_large_weights_are_no_reason_to_end():
    network = nn.Linear(2, 3)
    nn.init.constant_(network.weight, 1e15)
    check_weights(network, 7)


# --- the consistency term


def consistent(loss: float = 0.1, gradient: float = 0.1) -> dict[str, float]:
    return {"train.consistency_loss": loss, "train.consistency_gradient_norm": gradient}


def history(*steps: int) -> list[Report]:
    return [Report(step, 0.0, {}) for step in steps]


BROKEN = {
    "train.consistency_loss": [{"loss": 0.0}, {"loss": math.nan}],
    "train.consistency_gradient_norm": [{"gradient": 0.0}, {"gradient": math.nan}],
}


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in BROKEN for case in range(2)])
def test_a_consistency_term_that_is_nothing_or_moves_nothing_ends_with_its_own_reason(name, case):
    metrics = consistent(**BROKEN[name][case])
    with pytest.raises(ConsistencyMissing, match=rf"{name} is .* at step 3 though consistency\.weight is 10") as error:
        check_consistency(metrics, config(), 3, [], 2)
    assert error.value.reason == "no_consistency"


def test_a_consistency_term_however_small_is_one():
    check_consistency(consistent(5e-324, 5e-324), config(), 3, [], 2)
    check_consistency(consistent(-3e-9, 1e-5), config(), 3, [], 2)  # KL, rounded


def test_a_consistency_term_that_nobody_wants_may_be_nothing():
    check_consistency(consistent(0.0, 0.0), config(consistency={"weight": 0.0}), 3, [], 2)
    check_consistency({}, config(method="supervised"), 3, [], 2)


@pytest.mark.parametrize("first_target_step", [2, 40])
def test_the_consistency_term_is_asked_for_once_at_the_first_evaluation_that_has_targets(first_target_step):
    def asked(step: int, *before: int) -> bool:
        try:
            check_consistency(consistent(0.0), config(), step, history(*before), first_target_step)
        except ConsistencyMissing:
            return True
        return False

    assert not asked(first_target_step - 1)
    assert not asked(first_target_step, first_target_step - 1)
    assert asked(first_target_step + 1, first_target_step - 1, first_target_step)
    assert asked(first_target_step + 1)
    assert asked(first_target_step + 100, first_target_step)
    assert not asked(first_target_step + 2, first_target_step, first_target_step + 1)


# --- the teacher

# Of 400 images 40 are of the most frequent class: chance is an error of 0.9, with a standard error of 0.015.
LABELS = torch.arange(400) % 10
CHANCE, STANDARD_ERROR = 0.9, 0.015


def teacher(error: float) -> dict[str, float]:
    return {"validation.teacher_error": error, "validation.student_error": 0.9}


def reports(*errors: float) -> list[Report]:
    return [Report(i + 1, 0.0, teacher(error)) for i, error in enumerate(errors)]


@pytest.mark.parametrize("error", [0.9, 0.95, 1.0, CHANCE - 1.99 * STANDARD_ERROR])
@pytest.mark.parametrize("before", [(0.1,), (0.9, 0.2, 0.88), (CHANCE - 10.01 * STANDARD_ERROR,)])
def test_a_teacher_at_chance_that_was_not_ends_as_collapsed(before, error):
    message = rf"errs on {error:.1%} .* at step 9, which is chance, after {min(before):.1%}; lower consistency\.weight"
    with pytest.raises(Collapsed, match=message) as raised:
        check_teacher(teacher(error), LABELS, 9, reports(*before))
    assert raised.value.reason == "collapsed"


@pytest.mark.parametrize(
    ("before", "error"),
    [
        ((), 0.9),  # it has only begun
        ((0.9, 0.89, 0.91), 0.9),  # it never was better
        ((CHANCE - 9.99 * STANDARD_ERROR,), 0.9),  # or hardly
        ((0.1,), CHANCE - 2.01 * STANDARD_ERROR),  # it is worse, and still better than chance
        ((0.1,), 0.5),
    ],
)
def test_a_teacher_that_is_better_than_chance_or_never_was_goes_on(before, error):
    check_teacher(teacher(error), LABELS, 9, reports(*before))


def test_chance_is_the_error_of_naming_the_most_frequent_class():
    labels = torch.tensor([0] * 300 + [1] * 100)  # chance 0.25, standard error 0.0217
    with pytest.raises(Collapsed):
        check_teacher(teacher(0.25), labels, 9, reports(0.01))
    check_teacher(teacher(0.2), labels, 9, reports(0.01))
    check_teacher(teacher(0.25), labels, 9, reports(0.04))


def test_a_run_without_a_teacher_cannot_collapse():
    check_teacher({"validation.student_error": 0.9}, LABELS, 9, [Report(1, 0.0, {"validation.student_error": 0.1})])
