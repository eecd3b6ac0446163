import shutil
from pathlib import Path

import numpy as np
import pytest

from mt_sweeps import report as sweep_report
from mt_sweeps.errors import InputError
from mt_sweeps.execution import preflight
from mt_sweeps.execution.preflight import (
    check_data,
    check_folder,
)
from mt_sweeps.spec.load import load_spec
from mt_sweeps.storage.local import LocalHome
from tests.helpers.command_line import DIGITS, REPOSITORY
from tests.helpers.plugins import Tiny, plugins, tiny, write_plugin  # noqa: F401 (a fixture)
from tests.helpers.sweeps import begun, digits, of_folder
from tests.helpers.training import write_image, write_two_classes
from trainers import register_model

FILE = Path("space.yaml")


@pytest.mark.usefixtures("plugins")
def test_a_network_that_does_not_take_the_images_is_refused_before_the_first_trial():
    register_model(Tiny)(lambda settings, channels: (tiny(settings, channels)[0], 5))
    with pytest.raises(InputError, match=r"space.yaml: trainer: model tiny: .*shape \[2, 4\]; expected: \[b, 5\]"):
        check_data(FILE, digits("trainer.model={name: tiny}"))


def test_copies_groups_and_conflicts_are_told_at_the_start(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for path in [f"train/{kind}/{i:02}.png" for kind in ("a", "b") for i in range(40)] + ["test/a/90.png"]:
        write_image(tmp_path / "images" / path, rng.integers(0, 255, (8, 8, 3), np.uint8))
    for source, target in (("test/a/90", "train/a/80"), ("train/a/03", "train/b/81")):
        shutil.copy(tmp_path / f"images/{source}.png", tmp_path / f"images/{target}.png")
    small = {"labels": 10, "validation": 20, "verdict": 10, "root": tmp_path / "images", "conflicts": "leave_out"}
    small["groups"] = r"/(\d\d)\."
    settings = [f"trainer.dataset.{key}={value}" for key, value in small.items()] + ["trainer.batch_size=16"]
    spec = load_spec(REPOSITORY / "search_spaces" / "image_folder.yaml", tuple(settings))
    checked = check_data(FILE, spec)
    out = capsys.readouterr().out
    assert "2 training images with the same pixels as an image of another class are left out: train/a/03" in out
    assert "1 training image is a copy of test, validation or verdict images and is not trained on: train/a/80" in out
    assert "43 groups by dataset.groups\n" in out
    assert checked.purposes == {"labeled": 10, "unlabeled": 39, "validation": 20, "verdict": 10}
    assert checked.groups == {"training": 25, "validation": 10, "verdict": 5}


def test_a_sweep_keeps_the_cautions_about_its_images_for_its_summary_and_its_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(preflight, "look_alike_caution", lambda *_: "2 training images look almost like test images")
    sweep = begun(LocalHome(tmp_path), digits())
    assert "caution: 2 training images look almost like test images" in capsys.readouterr().out
    assert sweep.load_environment().cautions == ["2 training images look almost like test images"]
    assert sweep_report.build(sweep).cautions == ["2 training images look almost like test images"]


def test_what_is_left_out_and_what_looks_wrong_is_printed_a_line_each(tmp_path, capsys):
    for i in range(12):
        write_image(tmp_path / f"train/{('cat', 'dog')[i % 2]}/{i}.png", np.full((8, 8, 3), i % 2 * i * 20, np.uint8))
    (tmp_path / "val").mkdir()
    (tmp_path / "val/1.png").touch()
    dataset = f"{{name: image_folder, root: {tmp_path}, labels: 4, validation: 2}}"
    spec = load_spec(DIGITS, (f"trainer.dataset={dataset}", "trainer.batch_size=4", "finalists.baselines=[]"))
    for _ in range(2):  # also when the images were decoded before
        check_data(DIGITS, spec)
        printed = capsys.readouterr().out
        assert "left out: 1 file: in val/: validation images are drawn from train/" in printed
        assert "caution: each of the 12 images is of one colour; look at them" in printed
    assert "decoding" not in printed


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_a_file_of_weights_that_is_missing_or_empty_is_refused_before_it_is_needed(kind, tmp_path):
    weights = tmp_path / "weights.pth"
    if kind == "empty":
        weights.touch()
    why = "cannot be read: No such file or directory; it must be on every node" if kind == "missing" else "is empty"
    model = f"trainer.model={{name: timm, architecture: test_resnet, weights: {weights}}}"
    with pytest.raises(InputError, match=rf"^space\.yaml: trainer\.model\.weights: {weights} {why}"):
        check_folder(FILE, digits(model))
    weights.write_bytes(b"not looked at")
    assert check_folder(FILE, digits(model)) is None


@pytest.fixture
def images(tmp_path):
    return write_two_classes(tmp_path / "images")


def test_what_trials_would_stumble_over_is_refused_before_they_start(images):
    for override, reason in (
        ("trainer.batch_size=100", "a batch takes 88 unlabeled images and 40 are left"),
        ("trainer.model={name: conv_large}", "conv_large needs images of at least 12x12 pixels"),
        ("trainer.augmentation.translate=8", "must be below the image size"),
        ("trainer.dataset.verdict=60", "is more than the 80 training images"),
    ):
        with pytest.raises(InputError, match=reason):
            check_data(images, of_folder(images, override))


def test_a_cache_that_cannot_be_written_is_named(images, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="MT_SWEEP_CACHE"):
        check_data(images, of_folder(images))


def test_a_dangling_link_among_the_images_is_named(images):
    (images / "train" / "a" / "gone.png").symlink_to(images / "nowhere.png")
    with pytest.raises(InputError, match=r"gone\.png cannot be read"):
        check_data(images, of_folder(images))


def test_images_that_cannot_be_read_are_told_before_a_sweep_begins(images, capsys):
    for i in range(4):
        (images / "train" / "b" / f"torn-{i}.png").write_bytes(b"")
    file = REPOSITORY / "search_spaces" / "image_folder.yaml"
    with pytest.raises(InputError, match=r"torn-\d\.png cannot be read as an image"):
        check_data(file, of_folder(images))
    data = check_data(file, of_folder(images, "trainer.dataset.unreadable=skip"))
    assert sum(data.purposes.values()) == 80
    printed = (
        "left out, since they cannot be read: 4 images: train/b/torn-0.png, train/b/torn-1.png, train/b/torn-2.png, ..."
    )
    assert printed in capsys.readouterr().out
