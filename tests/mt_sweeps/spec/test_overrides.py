import re

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.spec.load import load_spec
from tests.helpers.command_line import DIGITS
from tests.helpers.sweeps import digits


def test_set_takes_the_longest_matching_key():
    spec = digits("search_space.ema.decay.high=0.99", "trainer.steps=77", "search_space.consistency.weight.1.low=0.5")
    assert spec.search_space["ema.decay"][0].high == 0.99
    assert spec.search_space["consistency.weight"][1].low == 0.5
    assert spec.config({}).steps == 77


def test_set_adds_what_the_file_leaves_out():
    spec = digits(
        "trainer.consistency.ramp_up_steps=10",
        "search_space.optimizer.weight_decay={type: categorical, choices: [0.0]}",
    )
    assert spec.config({}).consistency.ramp_up_steps == 10
    assert "optimizer.weight_decay" in spec.search_space


def test_set_adds_filters_and_changes_one():
    assert digits("filters=[ema.decay < 0.99]").filters == ["ema.decay < 0.99"]
    assert digits("filters=[ema.decay < 0.99]", "filters.0=ema.decay < 0.98").filters == ["ema.decay < 0.98"]


def test_set_adds_a_dotted_key_to_a_point():
    weight = "search_space.optimizer.weight_decay={type: categorical, choices: [0.0]}"
    assert digits(weight, "points.0.optimizer.weight_decay=0.0").points[0]["optimizer.weight_decay"] == 0.0


@pytest.mark.parametrize(
    "override", ["trials", "=3", "trainer.=3", "trainer..steps=3", "trainer.new.=3", "points.0.=3"]
)
def test_a_path_with_an_empty_key_is_refused(override):
    with pytest.raises(InputError, match="write key=value"):
        digits(override)


@pytest.mark.parametrize("position", ["1", "-1", "x", "²"])
def test_a_list_is_entered_only_at_a_position_that_it_has(position):
    with pytest.raises(InputError, match="is not a position in a list of 1; the first is 0"):
        digits(f"points.{position}.ema.decay=0.9")


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("augmentation.strong=none", "trainer.augmentation.strong?"),
        ("steps=20", "trainer.steps?"),
        ("model={name: small_cnn}", "trainer.model?"),
        ("ema.decay=0.9", "trainer.ema.decay, or search_space.ema.decay, since it is searched?"),
        ("ema.decay.high=0.9", "trainer.ema.decay.high, or search_space.ema.decay.high, since it is searched?"),
    ],
)
def test_a_path_without_its_section_is_answered_with_the_whole_path(override, meant):
    path = override.partition("=")[0]
    with pytest.raises(InputError, match=re.escape(f"--set {path}: there is no such key; did you mean {meant}")):
        digits(override)


def test_a_section_of_trainer_at_the_top_of_a_file_is_answered_with_its_place(tmp_path):
    file = tmp_path / "digits.yaml"
    file.write_text(DIGITS.read_text() + "\naugmentation: {strong: none}\n")
    with pytest.raises(InputError, match=r"augmentation: unknown key; did you mean 'trainer\.augmentation'\?"):
        load_spec(file)
