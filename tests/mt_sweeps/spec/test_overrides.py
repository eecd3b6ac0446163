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
