"""What is accepted runs, and what is refused is refused at once, with the file and the key."""

import os
import time
from pathlib import Path

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.search_space.space import Space
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.hints import whole_number
from mt_sweeps.spec.load import load_spec
from tests.helpers.sweeps import digits, written

BASE = {
    "name": "bounds",
    "trainer": {"dataset": {"name": "digits", "labels": 50, "validation": 300}, "steps": 20},
    "search_space": {"ema.decay": {"type": "float", "low": 0.9, "high": 0.99}},
    "pruner": {"name": "none"},
    "trials": 6,
    "finalists": {"baselines": [], "top": 0},
}
DEPTHS = {"model.depth": {"type": "int", "low": 10, "high": 28}}


def refused(tmp_path, content):
    file = tmp_path / "space.yaml"
    file.write_text(content if isinstance(content, str) else yaml_file.dump(BASE | content))
    started = time.process_time()
    with pytest.raises(InputError) as error:
        load_spec(file)
    assert time.process_time() - started < 2
    assert all(problem.startswith(f"{file}: ") and len(problem) < 4000 for problem in error.value.problems)
    return [problem.removeprefix(f"{file}: ") for problem in error.value.problems]


def test_a_range_of_which_most_values_are_no_network_is_refused_with_the_step_that_makes_it_one(tmp_path):
    trainer = BASE["trainer"] | {"model": {"name": "wide_resnet", "width": 1}}
    (problem,) = refused(tmp_path, {"trainer": trainer, "search_space": DEPTHS})
    assert problem == (
        "search_space.model.depth: 11 layers make no whole blocks; use 4 and a multiple of 6: 10, 16, 22, 28, 40, ...; "
        "in this range, write low: 10, high: 28, step: 6"
    )
    stepped = {"model.depth": DEPTHS["model.depth"] | {"step": 6}}
    spec = load_spec(written(tmp_path, BASE | {"trainer": trainer, "search_space": stepped}))
    assert [values["model.depth"] for values in spec.space().typical()] == [10, 16, 22, 28]


def test_a_pair_of_choices_that_clash_is_refused_though_each_is_legal_beside_the_first_of_the_others(tmp_path):
    space = {
        "steps": {"type": "categorical", "choices": [100, 20]},
        "consistency.ramp_up_steps": {"type": "categorical", "choices": [10, 50]},
        "ema.decay": {"type": "float", "low": 0.9, "high": 0.99},
    }
    (problem,) = refused(tmp_path, {"search_space": space})
    assert problem.startswith("trainer: consistency.ramp_up_steps (50) is longer than steps (20)")
    assert "the search may try steps: 20, consistency.ramp_up_steps: 50, ema.decay: " in problem
    assert problem.endswith("rule such values out with filters, or narrow search_space")
    allowed = {"search_space": space, "filters": ["consistency.ramp_up_steps <= steps"]}
    assert load_spec(written(tmp_path, BASE | allowed)).trials == 6


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"step": 5}, "high (28) is no whole number of steps of 5 above low (10); use high: 25 or 30"),
        ({"step": 30}, "high (28) is no whole number of steps of 30 above low (10); use step: 18"),
        ({"step": 6, "scale": "log"}, "step and scale: log clash"),
        ({"step": 6, "levels": 3}, "step (6) and levels (3) clash"),
        ({"step": 0}, "should be greater than or equal to 1, not 0"),
    ],
)
def test_a_step_that_does_not_fit_its_range_is_refused(tmp_path, entry, message):
    (problem,) = refused(tmp_path, {"search_space": {"seed": {"type": "int", "low": 10, "high": 28} | entry}})
    assert problem.startswith("search_space.seed") and message in problem


def test_a_point_lies_on_the_steps_of_its_range():
    seeds = "search_space.seed={type: int, low: 10, high: 28, step: 6}"
    assert digits(seeds, "points=[{seed: 16}]").points == [{"seed": 16}]
    with pytest.raises(InputError, match=r"points\.0: seed: 17 is not 10 plus a multiple of the step 6"):
        digits(seeds, "points=[{seed: 17}]")


def test_two_conditions_that_read_alike_have_two_names_in_the_ledger():
    entries = digits(
        "points=[]",
        "search_space.augmentation.translate={type: categorical, choices: [1, 2]}",
        "search_space.consistency.heads={type: categorical, choices: [1, 2]}",
        "search_space.model.width={type: categorical, choices: [2, 4]}",
        "search_space.consistency.weight="
        "[{when: {augmentation.translate: 1, consistency.heads: 2}, type: float, low: 1.0, high: 10.0}, "
        "{when: {consistency.heads: 1, model.width: 2}, type: float, low: 1.0, high: 100.0, scale: log}]",
    ).search_space
    space = Space(entries)
    assert [space.name("consistency.weight", branch) for branch in entries["consistency.weight"]] == [
        'consistency.weight[{"augmentation.translate": 1, "consistency.heads": 2}]',
        'consistency.weight[{"consistency.heads": 1, "model.width": 2}]',
    ]
    weights = digits().search_space["consistency.weight"]
    assert [digits().space().name("consistency.weight", branch) for branch in weights] == [
        "consistency.weight[mse]",
        "consistency.weight[kl]",
    ], "as sweeps of earlier versions have it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "trainer: {dataset: digits, steps: 10}",
            "trainer.dataset: should be a valid dictionary or object to extract fields from, not 'digits'; write "
            "{name: digits, labels: ..., validation: ...}",
        ),
        (
            "trainer: {dataset: {name: digits, labels: 1,000, validation: 30}}",
            "trainer.dataset.labels: the comma in 1,000 makes a second key; write 1000 without a comma",
        ),
        ("trainer: {labels: 0,5}", "trainer.labels: the comma in 0,5 makes a second key; write 0.5"),
        ("trainer: {steps: 1,000,000}", 'line 1: found duplicate key "0"; keep one of them, and write numbers without'),
        ("trainer: {1: 2}", "trainer: the key 1 is no word; write it in quotes"),
        ("trainer: {true: 2}", "trainer: the key true is no word; write it in quotes"),
        ("trainer: {null: 2}", "trainer: the key null is no word; write it in quotes"),
        ("trainer: {2026-11-27: 2}", "trainer: the key 2026-11-27 is no word; write it in quotes"),
        ("trainer: {[1, 2]: 2}", "trainer: the key "),
        ("trials: 2026-11-27", "trials: 2026-11-27 is read as a date; write it in quotes if it is a word"),
        (f"trainer: {{batch_size: {'9' * 400}}}", "trainer.batch_size: is a whole number of more than 64 bits"),
        (f"trainer: {{batch_size: {'9' * 5000}}}", "line 1: a number of 5,000 digits; write a smaller one"),
        (f"trainer: [{', '.join(['1'] * 30_000)}]", "line 1: more than 10,000 keys and values"),
        (f"trainer: {'x' * 300_000}", "larger than 200,000 characters"),
        ("5", "must be a mapping with the keys name, trainer, search_space"),
    ],
)
def test_what_is_no_search_space_is_refused_at_once_with_its_key(tmp_path, text, message):
    whole = "name: n\nsearch_space: {ema.decay: {type: float, low: 0.9, high: 0.99}}\ntrials: 1\n"
    is_whole = text.startswith("trainer: {dataset: digits")
    assert refused(tmp_path, text + "\n" + whole if is_whole else text)[0].startswith(message)


def test_a_gain_below_one_image_is_refused():
    with pytest.raises(InputError) as refusal:
        digits("finalists.smallest_gain=0.2")
    assert "finalists.smallest_gain (0.2) is less than one image: finalists are scored on 300" in str(refusal.value)
    assert "write at least 0.33" in str(refusal.value)
    assert digits("finalists.smallest_gain=0.34").finalists.smallest_gain == 0.34
    with pytest.raises(InputError, match="scored on 40 "):
        digits("finalists.smallest_gain=1", "trainer.dataset.verdict=0", "trainer.dataset.validation=40")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"trials": 10**6}, "trials: should be less than or equal to 100000, not 1000000"),
        ({"trainer": BASE["trainer"] | {"steps": 10**9}}, "trainer.steps: should be less than or equal to 100000000"),
        ({"trainer": BASE["trainer"] | {"seed": 2**60}}, "trainer.seed: should be less than or equal to 90071992547"),
        ({"sampler": {"seed": 2**60}}, "sampler.seed: should be less than or equal to 9007199254740992"),
        ({"finalists": {"seeds": 10**6}}, "finalists.seeds: should be less than or equal to 1000, not 1000000"),
        ({"filters": ["ema.decay < 1"] * 101}, "filters: list should have at most 100 items"),
        ({"filters": ["ema.decay < 1" + " " * 400] * 20}, "filters: 8,260 characters in all; write at most 5,000"),
        (
            {"search_space": {"ema.decay": {"type": "float", "low": 0.1, "high": 0.9, "levels": 10**9}}},
            "search_space.ema.decay.levels: should be less than or equal to 1000, not 1000000000",
        ),
        (
            {"search_space": {"seed": {"type": "categorical", "choices": list(range(1001))}}},
            "search_space.seed.choices: list should have at most 1000 items",
        ),
        (
            {"search_space": {"seed": {"type": "int", "low": 0, "high": 2**60}}},
            "search_space.seed.high: should be less than or equal to 9007199254740992",
        ),
    ],
)
def test_there_is_an_upper_bound(tmp_path, content, message):
    assert refused(tmp_path, content)[0].startswith(message)


def test_only_the_first_of_many_mistakes_are_told(tmp_path):
    assert len(refused(tmp_path, {f"x{i}": 1 for i in range(500)})) == 20


def test_a_pipe_a_device_and_a_folder_are_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for file, message in (("pipe", "is no ordinary file"), ("/dev/zero", "is no ordinary file"), (".", "is a folder")):
        with pytest.raises(InputError, match=message):
            yaml_file.read(tmp_path / file)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "trainer.steps=5k",
            "trainer.steps: should be a valid integer, unable to parse string as an integer, not '5k'",
        ),
        ("trainer.epochs=30", "trainer.epochs: unknown key; the length of a run is trainer.steps: steps = epochs x"),
        ("trainer.optimizer={lr: 0.1}", "trainer.optimizer.lr: unknown key; did you mean 'learning_rate'?"),
        (
            "search_space.optimizer.lr={type: float, low: 0.1, high: 0.2}",
            "search_space.optimizer.lr: unknown key; did you mean 'optimizer.learning_rate'?",
        ),
        ("max_trials=3", "max_trials: unknown key; did you mean 'trials'?"),
    ],
)
def test_the_words_of_other_tools_are_answered_with_ours(override, message):
    with pytest.raises(InputError) as error:
        digits(override)
    assert any(f": {message}" in problem for problem in error.value.problems) or message.split(",")[0] in str(
        error.value
    )


@pytest.mark.parametrize(
    ("value", "whole"),
    [("5k", 5000), ("1.5M", 1_500_000), ("5,000", 5000), ("1_000_000", 10**6), (1e4, 10_000), ("x", None), (0.5, None)],
)
def test_a_whole_number_is_told_as_it_is_written_here(value, whole):
    assert whole_number(value) == whole


@pytest.mark.parametrize("override", ["tracking.uri.=x", "search_space.consistency.weight.².low=1", "a.=5", "a..b=5"])
def test_an_override_that_leads_nowhere_is_refused(override):
    with pytest.raises(InputError, match="--set "):
        digits(override)


def test_a_pipe_of_the_shell_is_read():
    reading, writing = os.pipe()
    os.write(writing, b"name: mine\n")
    os.close(writing)
    try:
        assert yaml_file.read(Path(f"/dev/fd/{reading}")) == {"name": "mine"}
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        ("lr", "optimizer.learning_rate"),
        ("learning_rate", "optimizer.learning_rate"),
        ("wd", "optimizer.weight_decay"),
        ("ema_decay", "ema.decay"),
        ("num_labels", "dataset.labels"),
        ("dropout", "model.dropout"),
        ("amp", "precision"),
        ("batch", "batch_size"),
    ],
)
def test_a_key_of_another_tool_or_group_is_told_where_it_stands_here(key, ours):
    with pytest.raises(InputError) as error:
        digits(f"trainer.{key}=1")
    assert f"trainer.{key}: unknown key; did you mean {ours!r}? Known: augmentation, " in str(error.value)
