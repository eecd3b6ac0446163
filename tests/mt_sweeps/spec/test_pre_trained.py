"""Search-space files with networks of a library, first weights and a linear probe."""

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.spec.load import load_spec
from tests.helpers.sweeps import digits


def problems(*overrides):
    with pytest.raises(InputError) as error:
        digits(*overrides)
    return error.value.problems


TIMM = "trainer.model={name: timm, architecture: %s}"


def test_an_architecture_that_timm_does_not_have_is_told_with_the_nearest():
    (problem,) = problems(TIMM % "resnet19")
    assert "trainer.model.architecture: timm has no 'resnet19'; did you mean " in problem
    searched = "search_space.model.architecture={type: categorical, choices: [test_resnet, tset_resnet]}"
    (problem,) = problems(TIMM % "test_resnet", searched)
    assert "search_space.model.architecture: timm has no 'tset_resnet'; did you mean test_resnet" in problem


def test_a_pre_trained_network_is_compared_with_a_probe_unless_told_otherwise(tmp_path):
    def arms(model, finalists=""):
        file = tmp_path / "space.yaml"
        dataset = "{name: digits, labels: 50, validation: 300}"
        searched = "search_space: {ema.decay: {type: float, low: 0.9, high: 0.99}}\ntrials: 2\n"
        file.write_text(f"name: any\ntrainer: {{dataset: {dataset}, model: {model}, steps: 9}}\n{searched}{finalists}")
        return load_spec(file).arms()

    timm = "{name: timm, architecture: test_resnet, weights: some.pth}"
    assert arms(timm) == ["search", "probe", "supervised", "published", "finalists"]
    assert arms(timm, "finalists: {top: 1}") == ["search", "probe", "supervised", "published", "finalists"]
    assert arms(timm, "finalists: {baselines: [supervised]}") == ["search", "supervised", "finalists"]
    assert "probe" not in arms("{name: timm, architecture: test_resnet}")


def test_a_probe_searches_over_the_networks_alone():
    weights = "search_space.model.weights={type: categorical, choices: [one.pth, other.pth]}"
    start = "search_space.model.head={type: categorical, choices: [random, probe]}"
    spec = digits(TIMM % "test_resnet", weights, start, "finalists.baselines=[probe]")
    assert list(spec.space("probe").entries) == ["model.weights"]
    assert spec.enumerated("probe") == [{"model.weights": "one.pth"}, {"model.weights": "other.pth"}]
    assert (spec.trials_of("probe"), spec.enumerated("search")) == (2, None)
    probe = spec.config({"model.weights": "other.pth"}, "probe")
    assert (probe.method, probe.steps, probe.model.weights) == ("probe", spec.steps, "other.pth")


def test_a_probe_without_weights_is_told():
    (problem,) = problems("finalists.baselines=[probe, supervised]")
    assert problem.endswith(
        "finalists.baselines: method: probe needs pre-trained features; set model.weights, or leave probe out"
    )
