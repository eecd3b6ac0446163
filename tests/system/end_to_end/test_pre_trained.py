"""A sweep over a pre-trained network, from the search to the final training, and what is kept of its weights."""

import hashlib
import json

import pytest
import torch
from ruamel.yaml import YAML
from safetensors import safe_open

from tests.helpers.command_line import DIGITS, mt_sweep
from trainers.checkpoint import load_model
from trainers.config import Timm
from trainers.models import build

NETWORK = {"name": "timm", "architecture": "test_resnet"}
SMALL = (
    "finalists.top=1",
    "finalists.seeds=2",
    "finalists.baselines=[probe, supervised]",
    "pruner.name=none",
    "trainer.steps=8",
    "trainer.evaluate_every=4",
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A search-space file, with weights in the same folder."""
    folder = tmp_path_factory.mktemp("pre-trained")
    torch.manual_seed(0)
    weights = folder / "weights.pth"
    torch.save(build(Timm(**NETWORK), 3, 10).state_dict(), weights)
    spec = YAML(typ="safe").load(DIGITS)
    spec["trainer"]["model"] = {**NETWORK, "weights": str(weights)}
    spec["search_space"]["optimizer.body_learning_rate_factor"] = {"type": "categorical", "choices": [0.0, 1.0]}
    spec["points"] = []
    YAML(typ="safe").dump(spec, folder / "space.yaml")
    return folder / "space.yaml"


def settings(*more):
    return [word for one in (*SMALL, *more) for word in ("--set", one)]


def test_from_the_search_to_the_final_training(file, tmp_path):
    weights = file.with_name("weights.pth")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    out = mt_sweep("run", file, "--trials", 2, "--in-process", *settings(), folder=tmp_path).stdout
    assert f"first weights from {weights}: " in out
    assert "2 not used: classifier.weight, classifier.bias\n" in out
    assert "probe      " in out
    verdict = out[out.index("\nverdict ") :]
    assert "supervised" in verdict
    assert "probe" in verdict
    kept = json.loads((tmp_path / "sweeps/digits/environment.json").read_text())
    assert kept["weights"] == {str(weights): digest}

    mt_sweep("export", "digits", "-o", "best.yaml", folder=tmp_path)
    assert YAML(typ="safe").load(tmp_path / "best.yaml")["first_weights"] == digest
    trained = mt_sweep("train", "best.yaml", folder=tmp_path).stdout
    assert "these are not the first weights" not in trained
    (model,) = tmp_path.glob("sweeps/trained/*/model.safetensors")
    with safe_open(model, framework="pt") as stored:
        assert stored.metadata()["first_weights"] == digest
    assert json.loads(model.with_name("result.json").read_text())["first_weights"] == digest

    weights.rename(weights.with_suffix(".gone"))  # a model is whole without it
    try:
        assert load_model(model).channels == 1
        refused = mt_sweep("resume", "digits", "--trials", "+1", "--in-process", folder=tmp_path, status=2).stderr
        assert f"{weights} cannot be read: No such file or directory" in refused
    finally:
        weights.with_suffix(".gone").rename(weights)


def test_what_does_not_fit_is_refused_before_the_first_trial(file, tmp_path):
    other = settings("trainer.model.architecture=test_efficientnet")
    refused = mt_sweep("run", file, "--in-process", *other, folder=tmp_path, status=2).stderr
    assert "trainer.model.weights: " in refused
    assert "it is of another architecture" in refused
    assert not (tmp_path / "sweeps/digits").exists()
