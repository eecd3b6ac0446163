import subprocess
import sys

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.spec.load import load_spec
from tests.helpers.command_line import DIGITS, REPOSITORY
from tests.helpers.sweeps import digits, written

# The example of the design: its names are an interface.
DESIGN_EXAMPLE = """
name: cifar10-4000
trainer:
  dataset: {name: cifar10, labels: 4000, validation: 2000, verdict: 2000, split_seed: 0}
  model: {name: conv_large}
  steps: 40000
  batch_size: 100
search_space:
  ema.decay:              {type: float, low: 0.9, high: 0.9999, scale: one_minus_log}
  consistency.loss:       {type: categorical, choices: [mse, kl]}
  consistency.weight:
    - {when: {consistency.loss: mse}, type: float, low: 3.0, high: 300.0, scale: log}
    - {when: {consistency.loss: kl},  type: float, low: 0.3, high: 30.0,  scale: log}
  labeled_batch_fraction: {type: categorical, choices: [0.125, 0.25, 0.5]}
sampler: {name: tpe, seed: 0}
pruner: {name: asha, reduction_factor: 3}
trials: 64
points: [{ema.decay: 0.999, consistency.loss: mse, consistency.weight: 100.0, labeled_batch_fraction: 0.5}]
objective: {metric: validation.teacher_error, direction: minimize}
resources: {gpus_per_trial: auto, cpus_per_trial: auto, max_concurrent: auto}
budget: {hours: 12, gpu_hours: 24}
finalists: {top: 3, seeds: 5, baselines: [supervised, published]}
tracking: {uri: null, experiment: mt-sweeps}
"""


@pytest.mark.parametrize("file", sorted((REPOSITORY / "search_spaces").glob("*.yaml")), ids=lambda file: file.name)
def test_every_shipped_search_space_is_valid(file):
    assert load_spec(file).trials >= 1


def test_the_example_of_the_design_is_valid(tmp_path):
    file = tmp_path / "example.yaml"
    file.write_text(DESIGN_EXAMPLE)
    spec = load_spec(file)
    assert spec.trials_of("search") == 64
    assert spec.budget.gpu_hours == 24


def problems(*overrides):
    with pytest.raises(InputError) as error:
        digits(*overrides)
    return error.value.problems


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("trainer.stepz=3", "trainer.stepz: unknown key; did you mean 'steps'?"),
        ("triels=3", "triels: unknown key; did you mean 'trials'?"),
        (
            "search_space.ema.dekay={type: float, low: 0.1, high: 0.2}",
            "search_space.ema.dekay: unknown key; did you mean",
        ),
        ("search_space.ema.decay.hihg=0.9", "search_space.ema.decay.hihg: unknown key; did you mean 'high'?"),
        ("trainer.steps=0", "trainer.steps: should be greater than or equal to 1, not 0"),
        ("trainer.batch_size=1.5", "trainer.batch_size: should be a valid integer"),
        ("trainer.batch_size=true", "trainer.batch_size: should be a valid integer, not True"),
        ("trials=0", "trials: should be greater than or equal to 1, not 0"),
        ("search_space.ema.decay.low=0.9999", "search_space.ema.decay: low (0.9999) must be below high (0.999)"),
        ("search_space.ema.decay.high=1.0", "search_space.ema.decay: high (1.0) must be below 1"),
        ("search_space.ema.decay.low=-0.5", "search_space.ema.decay: should be greater than or equal to 0, not -0.5"),
        (
            "search_space.consistency.weight.0.low=0",
            "search_space.consistency.weight.0: low (0.0) must be above 0 on a log",
        ),
        ("search_space.ema.decay.low=.nan", "search_space.ema.decay.low: should be a finite number, not nan"),
        ("trainer.optimizer.learning_rate=.inf", "trainer.optimizer.learning_rate: should be a finite number, not inf"),
        ("search_space.consistency.loss.choices=[]", "search_space.consistency.loss.choices: must not be empty"),
        ("search_space.consistency.loss.choices=[mse, mse]", "search_space.consistency.loss: choices has 'mse' twice"),
        (
            "search_space.ema.decay.type=flaot",
            "search_space.ema.decay.type: 'flaot' is not allowed; use one of 'float'",
        ),
        ("search_space={}", "search_space: must not be empty"),
        (
            "trainer.consistency=5",
            "trainer.consistency: should be a valid dictionary or instance of Consistency, not 5",
        ),
        (
            "trainer.consistency=",
            "trainer.consistency: should be a valid dictionary or instance of Consistency, not None",
        ),
        ("search_space.ema.decay.high=0.9999999999999", "must be below 1 on the scale one_minus_log"),
        ("search_space.dataset.labels={type: int, low: 10, high: 50}", "search_space.dataset.labels: is not searched"),
        ("trainer.dataset.labels=all", "a batch takes 75 unlabeled images and 0 are left"),
        ("search_space.ema.decay=[]", "search_space.ema.decay: must not be empty"),
        ("search_space.consistency.weight.0.when={consistency.los: mse}", "consistency.los is not in search_space"),
        ("search_space.consistency.weight.0.when={consistency.loss: mes}", "can never hold: consistency.loss: 'mes'"),
        ("search_space.consistency.weight.1.when={consistency.loss: mse}", "two branches can hold at once"),
        (
            "trainer.dataset.labels=1000",
            "trainer.dataset: labels + validation + verdict = 1000 + 300 + 300 is more than",
        ),
        ("trainer.dataset.labels=9", "trainer.dataset: labels: 9 is fewer than the 10 classes"),
        (
            "trainer.dataset.name=cifar11",
            "trainer.dataset.name: 'cifar11' is not allowed; use one of 'digits', 'cifar10', 'cifar100', 'svhn', "
            "'image_folder', 'imagenet', or name the plugin that has it: --plugin MODULE; did you mean 'cifar10'?",
        ),
        (
            "trainer.dataset.with_validation=true",
            "trainer.dataset.with_validation: a search needs images that it is not",
        ),
        ("trainer.model.name=conv_large", "trainer.model.width: unknown key; Known: dropout, name"),
        ("name=a/b", "name: 'a/b' is no plain name"),
        ("name=..", "name: '..' is no plain name"),
        ("sampler.name=tpo", "sampler.name: 'tpo' is not allowed; use 'tpe', 'gp', 'random' or 'grid'"),
        ("pruner.name=meian", "pruner.name: 'meian' is not allowed; use 'asha', 'median' or 'none'"),
        ("points.0.ema.dekay=0.9", "points.0: ema.dekay is not in search_space; did you mean 'ema.decay'?"),
        ("search_space.ema.dekay.high=0.9", "no key of search_space begins it; did you mean 'ema.decay'?"),
        ("filters=[batch_sizes > 3]", "filters.0: batch_sizes is neither searched nor set under trainer; did you mean"),
        ("points.0.ema.decay=0.1", "points.0: ema.decay: 0.1 is outside 0.8 to 0.999"),
        ("points.0.consistency.weight=1000.0", "points.0: consistency.weight: 1000.0 is outside 3.0 to 300.0"),
        ("tracking.uri=https://user:secret@host", "tracking.uri: holds credentials"),
        ("resources.gpus_per_trial=1.5", "resources: gpus_per_trial (1.5) must be auto, or from 0 to 1"),
        ("resources.gpus_per_trial=2", "resources: gpus_per_trial (2.0) must be auto, or from 0 to 1"),
        ("trainer", "--set trainer: write key=value"),
        ("points.3.ema.decay=0.9", "--set points.3.ema.decay: '3' is not a position in a list of 1"),
        ("trials.more=3", "--set trials.more: there is nothing below trials"),
    ],
)
def test_a_mistake_is_told_with_its_key_and_what_is_allowed(override, told):
    found = problems(override)
    assert any(told in problem for problem in found), found


def test_conditions_in_a_circle_are_refused():
    when_fraction = "search_space.consistency.loss.when={labeled_batch_fraction: 0.5}"
    when_loss = "search_space.labeled_batch_fraction.when={consistency.loss: mse}"
    assert "consistency.loss -> labeled_batch_fraction -> consistency.loss" in problems(when_fraction, when_loss)[0]


def test_all_mistakes_are_told_at_once():
    assert len(problems("trainer.stepz=3", "trials=0", "name=a b")) >= 2


def test_a_secret_of_the_tracking_address_is_not_repeated():
    assert "secret" not in "".join(problems("tracking.uri=https://user:secret@host"))


def test_values_reach_the_trainer_under_their_dotted_keys():
    values = {"ema.decay": 0.9, "consistency.loss": "kl", "consistency.weight": 3.0, "labeled_batch_fraction": 0.5}
    config = digits().config(values)
    assert (config.ema.decay, config.consistency.loss, config.consistency.weight) == (0.9, "kl", 3.0)
    assert config.labeled_batch_fraction == 0.5
    assert config.dataset.labels == 50


def test_the_supervised_arm_is_searched_over_the_keys_that_concern_it_with_as_many_trials():
    assert digits().trials_of("supervised") == 1
    both = digits("search_space.optimizer.learning_rate={type: float, low: 0.01, high: 1.0, scale: log}")
    assert list(both.space("supervised").entries) == ["optimizer.learning_rate"]
    assert both.trials_of("supervised") == both.trials_of("search") == 16
    assert both.config({"optimizer.learning_rate": 0.1}, "supervised").method == "supervised"


def test_a_file_that_names_no_baselines_has_both(tmp_path):
    content = DIGITS.read_text()
    file = tmp_path / "space.yaml"
    file.write_text("\n".join(line for line in content.splitlines() if not line.startswith("finalists")))
    assert load_spec(file).arms() == ["search", "supervised", "published", "finalists"]
    assert digits("finalists.baselines=[published]").arms() == ["search", "published"]


def test_the_published_arm_is_one_trial_of_the_rules_of_thumb_on_what_the_file_fixes():
    spec = digits()
    assert spec.trials_of("published") == 1
    config = spec.config(spec.published_values(classes=10, unlabeled=788), "published")
    assert config == spec.config(
        {"ema.decay": 0.999, "consistency.weight": 10**1.5, "labeled_batch_fraction": 0.375, "consistency.loss": "mse"}
    )


def test_the_published_arm_is_the_recipe_where_there_is_one():
    spec = load_spec(REPOSITORY / "search_spaces" / "svhn.yaml")
    config = spec.config(spec.published_values(classes=10, unlabeled=68_757), "published")
    assert (config.consistency.weight, config.labeled_batch_fraction) == (1.0, 0.01)
    assert (config.class_loss_normalizer, config.steps) == ("whole_batch", 60_000)
    assert config.dataset == spec.sample_config().dataset


def test_of_searched_steps_the_published_arm_has_the_most():
    spec = digits("search_space.steps={type: int, low: 100, high: 400}")
    assert spec.config(spec.published_values(10, 788), "published").steps == 400


def test_a_published_baseline_that_the_fixed_settings_do_not_allow_is_told_with_the_way_out():
    heads = "search_space.consistency.heads={type: categorical, choices: [2]}"
    distance = "trainer.consistency.logit_distance_weight=0.5"
    (told,) = problems(heads, distance)
    assert "finalists.baselines: published: trainer: consistency.logit_distance_weight (0.5) has no effect" in told
    assert told.endswith("set it under trainer, or leave published out")
    (told,) = problems(heads, distance, "finalists.baselines=[]", "sampler.prior=paper")
    assert "sampler.prior: paper: trainer: consistency.logit_distance_weight (0.5) has no effect" in told
    assert told.endswith("set it under trainer, or take prior out")
    assert digits(heads, distance, "finalists.baselines=[]").trials == 16


def test_strong_views_and_erasing_can_be_searched():
    magnitude = "{type: int, low: 3, high: 15, when: {augmentation.strong: rand_augment}}"
    spec = digits(
        "search_space.augmentation.strong={type: categorical, choices: [none, trivial_augment, rand_augment]}",
        f"search_space.augmentation.rand_magnitude={magnitude}",
        "search_space.augmentation.erase={type: float, low: 0.0, high: 0.5}",
        "trainer.teacher.augmentation=weak",
    )
    chosen = {spec.config(values, arm).augmentation.strong for values, arm in spec.corners()}
    assert chosen == {"none", "trivial_augment", "rand_augment"}


def test_validating_a_file_needs_neither_torch_nor_ray_nor_mlflow_nor_optuna():
    script = (
        "import sys; from pathlib import Path; import mt_sweeps.cli; from mt_sweeps.spec.load import load_spec;"
        "load_spec(Path(sys.argv[1]));"
        "print([m for m in ('torch', 'ray', 'mlflow', 'optuna', 'numpy', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, DIGITS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


WEIGHT_ALONE = ("points=[]", "search_space={consistency.weight: {type: float, low: 1.0, high: 9.0}}")


@pytest.mark.parametrize("method", ["pi_model", "temporal_ensembling"])
def test_a_method_without_a_teacher_is_judged_by_its_student(method):
    assert digits().metric == "validation.teacher_error"
    assert digits(*WEIGHT_ALONE, f"trainer.method={method}").metric == "validation.student_error"


def test_a_searched_setting_that_the_method_does_not_have_is_refused_with_both_names():
    with pytest.raises(InputError, match=r"ema\.decay \(0\.8\) has no effect: method: pi_model .*use method: mean"):
        digits("trainer.method=pi_model")


def test_a_file_may_name_a_recipe_and_what_differs_from_it():
    spec = digits(
        *WEIGHT_ALONE,
        "trainer={recipe: wrn_cifar10_4000, steps: 300000, dataset: {labels: 1000}, schedule: {at: [200000]}}",
    )
    config = spec.config({"consistency.weight": 2.0})
    assert (config.model.name, config.steps, config.dataset.labels, config.ema.decay) == (
        "wide_resnet",
        300_000,
        1000,
        0.95,
    )
    assert "recipe" not in spec.trainer, "a sweep writes down what the name stood for"
    with pytest.raises(InputError, match=r"trainer: 'wrn' is no recipe; .*Known here: "):
        digits("trainer.recipe=wrn")


SHAKE = REPOSITORY / "search_spaces" / "cifar10_shake.yaml"


def test_a_point_may_be_a_recipe_which_stands_for_its_values_of_the_searched_keys():
    published = {
        "ema.decay": 0.99,
        "consistency.weight": 100.0,
        "consistency.logit_distance_weight": 0.01,
        "labeled_batch_fraction": 0.2421875,
        "optimizer.learning_rate": 0.2,
        "optimizer.weight_decay": 0.0002,
        "augmentation.strong": "none",
    }
    assert load_spec(SHAKE).points == [published]
    changed = load_spec(SHAKE, ("points=[{recipe: shake_cifar10_4000, ema.decay: 0.95}]",))
    assert changed.points == [{**published, "ema.decay": 0.95}]


def test_a_point_of_a_recipe_has_the_keys_whose_branches_hold():
    momentum = "search_space.optimizer.momentum={type: float, low: 0.5, high: 0.95, when: {optimizer.name: sgd}}"
    name = "search_space.optimizer.name={type: categorical, choices: [sgd, adam]}"
    space = ("trainer.optimizer={}", momentum, name, "search_space.labeled_batch_fraction.choices=[0.02, 0.5]")
    space += ("search_space.consistency.weight.0.low=1.0",)
    (point,) = digits(*space, "points=[{recipe: conv_large_cifar10_1000}]").points
    assert point == {
        "optimizer.name": "adam",
        "ema.decay": 0.999,
        "consistency.loss": "mse",
        "consistency.weight": 2.0,
        "labeled_batch_fraction": 0.02,
    }


def test_a_spec_of_other_values_has_a_space_of_its_own():
    spec = digits()
    assert spec.space() is spec.space(), "a trial does not build it anew"
    assert spec.model_copy(update={"trials": 3}).space() is spec.space()
    fewer = spec.model_copy(update={"search_space": {"ema.decay": spec.search_space["ema.decay"]}})
    assert list(fewer.space().entries) == ["ema.decay"]
    filtered = spec.model_copy(update={"filters": ["ema.decay < 0.9"]})
    assert [one.text for one in filtered.space().filters] == ["ema.decay < 0.9"]
    longer = spec.model_copy(update={"trainer": {**spec.trainer, "steps": 7}})
    assert (longer.space().fixed["steps"], spec.space().fixed["steps"]) == (7, 300)
    assert len(spec.space().entries) == 4
    assert spec.space().filters == []


def test_the_space_is_made_of_the_entries_and_the_fixed_values_of_the_file():
    spec = digits(
        "trainer.optimizer={learning_rate: 1e-4, nesterov: true}",
        "search_space.optimizer.weight_decay={type: categorical, choices: [0, 1.0e-4, 0.1]}",
        "points=[]",
    )
    space = spec.space()
    assert space.entries == spec.search_space
    assert [type(value) for value in space.entries["optimizer.weight_decay"][0].choices] == [int, float, float]
    assert space.fixed["optimizer.nesterov"] is True
    assert space.fixed["optimizer.learning_rate"] == 1e-4
    assert [spec.space(arm).entries for arm in ("published", "finalists")] == [{}, {}]


def test_what_a_sweep_writes_down_is_the_spec_it_was(tmp_path):
    spec = digits(
        "search_space.optimizer.weight_decay={same_as: ema.decay, when: {consistency.loss: kl}}",
        "filters=['ema.decay < 0.99']",
    )
    assert load_spec(written(tmp_path, spec.model_dump(exclude_none=True))) == spec


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("points=[{recipe: shake_cifar10}]", "points.0: 'shake_cifar10' is no recipe; did you mean 'shake_cifar10_"),
        ("points=[{recipe: wrn_cifar10_4000}]", "points.0: consistency.weight: 8.0 is outside 30.0 to 300.0"),
        (
            "search_space.teacher.noise={type: float, low: 0.0, high: 0.3}",
            "points.0: teacher.noise: the recipe shake_cifar10_4000 has no value for it; write one beside the recipe",
        ),
    ],
)
def test_a_recipe_that_is_no_point_of_the_space_is_told(override, told):
    with pytest.raises(InputError) as error:
        load_spec(SHAKE, (override,))
    assert any(told in problem for problem in error.value.problems), error.value.problems
