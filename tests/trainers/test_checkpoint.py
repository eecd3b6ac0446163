import os
import pickle
import random

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainers.support import config
from trainers import Trainer
from trainers.checkpoint import load_checkpoint, load_model, save_checkpoint, save_model
from trainers.data.normalization import Normalization
from trainers.errors import CheckpointError
from trainers.models import build

CPU = torch.device("cpu")
STATE = {"step": 7, "tensors": [torch.arange(5.0), {"momentum": torch.ones(2, 3)}], "none": None, "error": float("inf")}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, config(), "images", CPU, STATE)
    return path


def test_a_checkpoint_holds_what_was_saved(checkpoint):
    state = load_checkpoint(checkpoint, config(), "images", CPU)
    assert {name: state[name] for name in ("step", "none", "error")} == {"step": 7, "none": None, "error": float("inf")}
    assert torch.equal(state["tensors"][0], STATE["tensors"][0])
    assert torch.equal(state["tensors"][1]["momentum"], STATE["tensors"][1]["momentum"])


@pytest.mark.parametrize("changes", [{"steps": 8}, {"seed": 1}, {"ema": {"decay": 0.9}}, {"method": "supervised"}])
def test_a_checkpoint_of_another_configuration_is_refused_by_name(checkpoint, changes):
    with pytest.raises(CheckpointError, match=rf"{checkpoint} was written by a run of another configuration"):
        load_checkpoint(checkpoint, config(**changes), "images", CPU)


def test_a_checkpoint_of_other_images_or_another_device_is_refused_by_name(checkpoint):
    with pytest.raises(CheckpointError, match=rf"{checkpoint} was written by a run on other images"):
        load_checkpoint(checkpoint, config(), "changed images", CPU)
    with pytest.raises(CheckpointError, match=rf"{checkpoint} was written on cpu and cannot go on exactly on meta"):
        load_checkpoint(checkpoint, config(), "images", torch.device("meta"))


def test_a_checkpoint_torn_anywhere_is_refused_by_name(checkpoint):
    content = checkpoint.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 100)):
        checkpoint.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=str(checkpoint)):
            load_checkpoint(checkpoint, config(), "images", CPU)


FOREIGN = {
    "text": b"not a checkpoint",
    "zeros": bytes(1000),
    "the end of a pickle": b".",
    "a pickle that takes more than it has": b"\x80\x02}q\x00(ll.",
    "a pickle": pickle.dumps({"format": "mt-sweeps-checkpoint/1"}, protocol=2),
    "an empty archive": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused_by_name(tmp_path, name):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(FOREIGN[name])
    with pytest.raises(CheckpointError, match=str(path)):
        load_checkpoint(path, config(), "images", CPU)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_random_bytes_are_refused_whatever_they_make_the_unpickler_do(tmp_path):
    path = tmp_path / "checkpoint.pt"
    rng = random.Random(0)
    for _ in range(200):
        path.write_bytes(bytes(rng.choice(b"\x80\x02}q.(lp0ctorch\n") for _ in range(30)))
        with pytest.raises(CheckpointError, match=str(path)):
            load_checkpoint(path, config(), "images", CPU)


@pytest.mark.parametrize("content", [torch.zeros(2), [1, 2], {"format": "mt-sweeps-checkpoint/2"}, {"step": 3}])
def test_a_torch_file_of_another_format_is_refused_by_name(tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=rf"{path} is not a checkpoint of format mt-sweeps-checkpoint/1"):
        load_checkpoint(path, config(), "images", CPU)


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize(
    "save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
@pytest.mark.parametrize("load", [lambda path: load_checkpoint(path, config(), "images", CPU), load_model])
def test_a_malicious_file_is_refused_and_does_not_run(tmp_path, save, load):
    path, marker = tmp_path / "file", tmp_path / "ran"
    save({"format": "mt-sweeps-checkpoint/1", "config": Malicious(marker)}, path)
    with pytest.raises(CheckpointError, match=str(path)):
        load(path)
    assert not marker.exists()


def test_a_malicious_file_would_have_run_had_it_been_unpickled(tmp_path):
    pickle.loads(pickle.dumps(Malicious(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_a_trainer_refuses_a_torn_checkpoint_in_its_directory_and_leaves_it(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt"):
        Trainer(config(), tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"torn"


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = build(config().model, 1, 10)
    network = network.to(memory_format=torch.channels_last)
    network(torch.randn(20, 1, 8, 8))  # statistics that a fresh network does not have
    return network


NORMALIZATION = Normalization(torch.tensor([77.5]), torch.tensor([96.25]))
CLASSES = [*"012345678", "nine, 'quoted' \u00e9"]


def test_a_model_file_predicts_what_the_network_predicted(tmp_path, network):
    save_model(tmp_path / "model", network, NORMALIZATION, CLASSES, config())
    model = load_model(tmp_path / "model")
    images = torch.randint(0, 256, (50, 8, 8, 1), dtype=torch.uint8)
    network.eval()
    with torch.no_grad():
        expected = network(NORMALIZATION(images))
        assert torch.equal(model.network(model.normalization(images)), expected)
    assert expected.std() > 0
    assert not model.network.training
    assert model.classes == CLASSES
    assert model.config == config()


def test_a_model_file_holds_every_tensor_of_the_network(tmp_path, network):
    save_model(tmp_path / "model", network, NORMALIZATION, CLASSES, config())
    loaded = load_model(tmp_path / "model").network.state_dict()
    assert loaded.keys() == network.state_dict().keys()
    assert all(torch.equal(value, loaded[name]) for name, value in network.state_dict().items())


def test_a_model_torn_anywhere_is_refused_by_name(tmp_path, network):
    path = tmp_path / "model"
    save_model(path, network, NORMALIZATION, CLASSES, config())
    content = path.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 50)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=str(path)):
            load_model(path)


def test_safetensors_of_another_make_are_refused_by_name(tmp_path):
    path = tmp_path / "model"
    for facts in (None, {"format": "pt"}, {"format": "mt-sweeps-model/2"}):
        save_file({"weight": torch.zeros(2)}, path, facts)
        with pytest.raises(CheckpointError, match=rf"{path} is not a model of format mt-sweeps-model/1"):
            load_model(path)


def test_a_model_with_settings_of_a_later_version_is_refused_by_name(tmp_path, network):
    path = tmp_path / "model"
    save_model(path, network, NORMALIZATION, CLASSES, config())
    later = config().model_dump_json()[:-1] + ', "colour": 1}'
    save_file(load_file(path), path, {"format": "mt-sweeps-model/1", "classes": "[]", "config": later})
    with pytest.raises(CheckpointError, match=str(path)):
        load_model(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nothing"):
        load_model(tmp_path / "nothing")
