"""What a search tries first because of `sampler.prior`: within the file's own ranges, and never what is not known."""

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.spec import prior_points as module
from mt_sweeps.spec.load import load_spec
from mt_sweeps.spec.prior_points import SHARE, GoodSettings, prior_points
from tests.helpers.command_line import REPOSITORY

DIGITS = REPOSITORY / "search_spaces" / "digits.yaml"
GRID = ("search_space={labeled_batch_fraction: {type: categorical, choices: [0.25, 0.5]}}", "finalists.baselines=[]")
GOOD = GoodSettings(0.1, 0.001, "none", window=0.1, loss="mse", weight=0.5, labeled=0.5)
KL = GoodSettings(0.2, 0.0005, "none", window=0.02, loss="kl", weight=2.0, labeled=0.25)


@pytest.fixture(autouse=True)
def _two_known(monkeypatch):
    monkeypatch.setattr(module, "MEASURED", {"search": (GOOD, KL), "supervised": (GoodSettings(0.3, 0.002, "none"),)})


def spec(*changes, file=DIGITS):
    return load_spec(file, ("sampler.prior=measured", "trials=16", *changes))


def test_a_file_without_a_prior_has_no_such_points():
    assert prior_points(load_spec(DIGITS), "search", 10, 788) == []


def test_settings_are_fitted_to_the_classes_and_the_steps():
    first, second = prior_points(spec(), "search", 10, 788)
    assert first == {
        "optimizer.learning_rate": pytest.approx(0.1),
        "optimizer.weight_decay": pytest.approx(0.001),
        "ema.decay": pytest.approx(1 - 1 / 30),  # a tenth of 300 steps
        "consistency.loss": "mse",
        "consistency.weight": pytest.approx(10 / 3 * 90**0.5),  # the middle of C / 3 and 3 C squared
        "labeled_batch_fraction": 0.5,
    }
    assert second["consistency.weight"] == pytest.approx(2.0), "that of kl is the same for any number of classes"
    fewer, _ = prior_points(spec("trainer.steps=150"), "search", 4, 788)
    assert fewer["ema.decay"] == pytest.approx(1 - 1 / 15)
    assert fewer["consistency.weight"] == pytest.approx(4 / 3 * 36**0.5)


def test_the_baseline_gets_points_of_its_own():
    (point,) = prior_points(spec(), "supervised", 10, 788)
    assert point == {"optimizer.learning_rate": pytest.approx(0.3), "optimizer.weight_decay": pytest.approx(0.002)}


def test_a_value_beyond_its_range_becomes_the_end_of_it_and_an_unknown_choice_is_left_to_the_sampler():
    narrow = (
        "search_space.optimizer.learning_rate.low=0.15",
        "search_space.labeled_batch_fraction.choices=[0.125, 0.25]",
    )
    first, second = prior_points(spec(*narrow), "search", 10, 788)
    assert (first["optimizer.learning_rate"], second["optimizer.learning_rate"]) == (0.15, pytest.approx(0.2))
    assert "labeled_batch_fraction" not in first and second["labeled_batch_fraction"] == 0.25


def test_a_weight_of_another_loss_is_left_to_the_sampler():
    fixed = (
        "trainer.consistency={loss: kl}",
        "search_space={ema.decay: {type: float, low: 0.8, high: 0.99, scale: one_minus_log}, consistency.weight: "
        "{type: float, low: 0.1, high: 10, scale: log}}",
    )
    first, second = prior_points(spec(*fixed, "finalists.baselines=[]"), "search", 10, 788)
    assert "consistency.weight" not in first, "it is that of mse"
    assert second["consistency.weight"] == pytest.approx(2.0)


def test_points_that_are_the_same_or_that_a_filter_rules_out_are_left_out():
    same = ("search_space={optimizer.weight_decay: {type: float, low: 0.004, high: 0.005}}", "finalists.baselines=[]")
    assert prior_points(spec(*same), "search", 10, 788) == [{"optimizer.weight_decay": 0.004}]
    (only,) = prior_points(spec("filters=[optimizer.learning_rate > 0.15]"), "search", 10, 788)
    assert only["consistency.loss"] == "kl"


def test_they_take_a_share_of_the_trials_at_the_most():
    assert len(prior_points(spec(f"trials={SHARE}"), "search", 10, 788)) == 1
    assert prior_points(spec(f"trials={SHARE - 1}"), "search", 10, 788) == []


def test_the_papers_values_are_those_of_the_published_baseline():
    file = spec("sampler.prior=paper")
    published = file.published_values(10, 788)
    (point,) = prior_points(file, "search", 10, 788)
    assert point["consistency.loss"] == published["consistency.loss"] == "mse"
    assert point["consistency.weight"] == pytest.approx(published["consistency.weight"])
    assert point["ema.decay"] == 0.99, "the end of the range: the paper's is 0.999"
    (baseline,) = prior_points(file, "supervised", 10, 788)
    assert baseline.keys() == {"optimizer.learning_rate", "optimizer.weight_decay", "augmentation.noise"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ((*GRID, "sampler.name=grid", "trials=2"), r"sampler\.prior: a grid is enumerated; take prior out"),
        (("trainer.optimizer={name: adamw}",), r"sampler\.prior: measured is known for .* sgd; write prior: paper"),
        (
            ("search_space={augmentation.noise: {type: float, low: 0, high: 0.5}}",),
            r"sampler\.prior: measured knows optimizer\.learning_rate, .* and none of them is searched; take prior out",
        ),
        (("sampler.prior=yes",), r"sampler\.prior: 'yes' is not allowed; use 'measured', 'paper' or 'none'"),
    ],
)
def test_a_prior_that_says_nothing_of_the_search_is_refused(changes, problem):
    with pytest.raises(InputError, match=problem):
        spec(*changes)


def test_a_prior_of_networks_that_start_from_nothing_is_refused_for_pre_trained_ones():
    file = REPOSITORY / "search_spaces" / "image_folder_pretrained.yaml"
    with pytest.raises(InputError, match="measured is known for networks that start from nothing"):
        load_spec(file, ("sampler.prior=measured",))
