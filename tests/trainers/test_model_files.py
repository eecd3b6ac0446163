import json
import math
import resource
import tarfile

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.helpers.training import REPOSITORY, config
from trainers import TrainerConfig
from trainers.checkpoint import load_model, save_model
from trainers.config import Augmentation
from trainers.data.normalization import PerChannel
from trainers.errors import CheckpointError
from trainers.models import build

HEADS = {1: config(), 2: config(consistency={"heads": 2})}


@pytest.fixture(params=HEADS)
def settings(request) -> TrainerConfig:
    return HEADS[request.param]


@pytest.fixture
def network(settings):
    torch.manual_seed(0)
    network = build(settings.model, 1, 10, settings.heads)
    network = network.to(memory_format=torch.channels_last)
    network(torch.randn(20, 1, 8, 8))  # statistics that a fresh network does not have
    return network


NORMALIZATION = PerChannel(torch.tensor([77.5]), torch.tensor([96.25]))
CLASSES = [*"012345678", "nine, 'quoted' \u00e9"]


def test_a_model_file_predicts_what_the_network_predicted(tmp_path, network, settings):
    save_model(tmp_path / "model", network, NORMALIZATION, CLASSES, 8, 1, settings)
    model = load_model(tmp_path / "model")
    images = torch.randint(0, 256, (50, 8, 8, 1), dtype=torch.uint8)
    network.eval()
    with torch.no_grad():
        expected = network(NORMALIZATION(images))
        assert torch.equal(model.logits(images), expected)
    assert expected.std() > 0
    assert not model.network.training
    assert (model.classes, model.image_size, model.channels) == (CLASSES, 8, 1)
    assert model.config == settings


def test_a_model_that_was_trained_on_crops_looks_at_the_centre(tmp_path, network, settings):
    cropped = settings.model_copy(update={"augmentation": Augmentation(crop=6)})
    save_model(tmp_path / "model", network, NORMALIZATION, CLASSES, 8, 1, cropped)
    images = torch.randint(0, 256, (5, 8, 8, 1), dtype=torch.uint8)
    network.eval()
    with torch.no_grad():
        expected = network(NORMALIZATION(images[:, 1:7, 1:7]))
        assert torch.equal(load_model(tmp_path / "model").logits(images), expected)


def test_a_model_file_holds_every_tensor_of_the_network(tmp_path, network, settings):
    save_model(tmp_path / "model", network, NORMALIZATION, CLASSES, 8, 1, settings)
    loaded = load_model(tmp_path / "model").network.state_dict()
    assert loaded.keys() == network.state_dict().keys()
    assert all(torch.equal(value, loaded[name]) for name, value in network.state_dict().items())


def test_a_model_torn_anywhere_is_refused_by_name(tmp_path, network, settings):
    path = tmp_path / "model"
    save_model(path, network, NORMALIZATION, CLASSES, 8, 1, settings)
    content = path.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 50)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=str(path)):
            load_model(path)


def test_safetensors_of_another_make_are_refused_by_name(tmp_path):
    path = tmp_path / "model"
    for facts in (None, {"format": "pt"}, {"format": "mt-sweeps-model/1"}):
        save_file({"weight": torch.zeros(2)}, path, facts)
        with pytest.raises(CheckpointError, match=rf"{path} is not a model of format mt-sweeps-model/4"):
            load_model(path)


def test_a_model_with_settings_of_a_later_version_is_refused_by_name(tmp_path, network, settings):
    path = tmp_path / "model"
    save_model(path, network, NORMALIZATION, CLASSES, 8, 1, settings)
    later = settings.model_dump_json()[:-1] + ', "colour": 1}'
    save_file(
        load_file(path),
        path,
        {"format": "mt-sweeps-model/4", "classes": "[]", "image_size": "8", "channels": "1", "config": later},
    )
    with pytest.raises(CheckpointError, match=str(path)):
        load_model(path)


def saved_with(facts, path):
    """Save a model whose header says something else of it than its weights."""
    settings = HEADS[1]
    save_model(path, build(settings.model, 1, 10, 1), NORMALIZATION, CLASSES, 8, 1, settings)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    save_file(load_file(path), path, header | facts)
    return path


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"format": "mt-sweeps-model/2"}, "but of mt-sweeps-model/2; use the version that wrote it"),
        ({"config": config(model={"name": "small_cnn", "width": 5}).model_dump_json()}, "do not fit"),
        ({"channels": "3"}, "do not fit"),
        ({"image_size": "2"}, "do not fit"),
        ({"classes": '["one", "two"]'}, "do not fit"),
        ({"config": "{}"}, "do not fit"),
    ],
)
def test_a_model_whose_header_is_not_that_of_its_weights_is_refused_by_name(tmp_path, facts, told):
    path = saved_with(facts, tmp_path / "model")
    with pytest.raises(CheckpointError, match=str(path)) as error:
        load_model(path)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"image_size": "100000"}, "from 1 to 2048 pixels per side"),
        ({"image_size": "0"}, "from 1 to 2048 pixels per side"),
        ({"channels": "1000000000"}, "1 or 3 channels"),
        (
            {"config": config(model={"name": "shake_shake", "width": 1024}).model_dump_json()},
            "has more weights than the file",
        ),
        (
            {"config": config(model={"name": "wide_resnet", "depth": 400, "width": 64}).model_dump_json()},
            "has more weights than the file",
        ),
        ({"classes": "[" * 100_000}, "do not fit"),
        ({"classes": '{"a": 1}'}, "no list of names"),
        ({"classes": json.dumps(["a"] * 500_000)}, "it has 500,000 classes, and no weights for so many"),
    ],
)
def test_a_header_that_asks_for_much_memory_is_refused_without_it(tmp_path, facts, told):
    path = saved_with(facts, tmp_path / "model")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=str(path)) as error:
        load_model(path)
    assert told in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["network.classifier.weight", "normalization.mean"])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, name, value):
    path, settings = tmp_path / "model", HEADS[1]
    save_model(path, build(settings.model, 1, 10, 1), NORMALIZATION, CLASSES, 8, 1, settings)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(path)
    tensors[name].view(-1)[0] = value
    save_file(tensors, path, header)
    with pytest.raises(CheckpointError, match=f"{path}: its weights are not finite: {name}"):
        load_model(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nothing"):
        load_model(tmp_path / "nothing")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """Return the folder of model files that the version before format 4 wrote, and the logits that it computed."""
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(REPOSITORY / "tests" / "fixtures" / "models-format-3.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.0 to 3.11.3 have none
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("name", ["conv_large_weight", "shake_shake"])
def test_a_model_of_the_format_before_predicts_what_it_predicted(earlier, name):
    model = load_model(earlier / f"{name}.safetensors")
    shape = (4, model.image_size, model.image_size, model.channels)
    images = (torch.arange(math.prod(shape)) * 37 % 256).to(torch.uint8).view(shape)
    expected = load_file(earlier / "logits.safetensors")[name]
    torch.testing.assert_close(model.logits(images), expected, rtol=1e-4, atol=1e-5)
