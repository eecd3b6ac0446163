import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mt_sweeps.cli import cli
from mt_sweeps.commands import predict
from mt_sweeps.errors import InputError, SweepError
from mt_sweeps.storage.local import LocalHome
from tests.helpers.training import config, finished, write_image
from trainers.checkpoint import load_model
from trainers.data import dataset
from trainers.evaluation import PIXELS_AT_ONCE

CONFIG = config(steps=30, batch_size=40, model={"name": "small_cnn", "width": 8})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    home = LocalHome(tmp_path_factory.mktemp("home"))
    directory = home.trained / "digits-0123abcd-seed-0"
    directory.mkdir(parents=True)
    trainer = finished(CONFIG)
    trainer.save_model(directory / "model.safetensors")
    return home, directory / "model.safetensors", trainer


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_what_is_predicted_of_the_test_images_is_wrong_as_often_as_the_test_said(trained, tmp_path):
    _, file, trainer = trained
    data = dataset.load(CONFIG.dataset)
    for i, (image, label) in enumerate(zip(data.test.numpy(), data.test_labels.tolist(), strict=True)):
        write_image(tmp_path / f"{label}/{i}.png", image[..., 0])
    predict.predict(file, tmp_path, tmp_path / "out.csv")
    found = rows((tmp_path / "out.csv").read_text())
    assert list(found[0]) == ["path", "class", "probability"]
    wrong = sum(row["class"] != row["path"].split("/")[-2] for row in found)
    error = trainer.test()["teacher"]
    assert (len(found), wrong) == (error.n, round(error.rate * error.n))
    first = data.test[int(found[0]["path"].rpartition("/")[2].removesuffix(".png"))]
    share = load_model(file).logits(first[None]).softmax(1).max().item()
    assert float(found[0]["probability"]) == pytest.approx(share, abs=1e-6)


def test_images_in_folders_of_classes_have_errors_by_class(trained, tmp_path, capsys):
    _, file, trainer = trained
    data = dataset.load(CONFIG.dataset)
    for i, (image, label) in enumerate(zip(data.test.numpy(), data.test_labels.tolist(), strict=True)):
        write_image(tmp_path / f"images/{label}/{i}.png", image[..., 0])
    write_image(tmp_path / "images/elsewhere/0.png", data.test[0, :, :, 0].numpy())
    predict.predict(file, tmp_path / "images", None, as_json=True)
    found, expected = json.loads(capsys.readouterr().out), trainer.test()["teacher"]
    assert (found["format"], found["images"]) == ("mt-sweeps-predicted/1", expected.n)
    assert (found["error"], found["balanced_error"]) == (expected.rate, expected.confusion.balanced_error)
    assert found["confusion"] == expected.confusion.as_json()
    assert found["class_errors"]["3"] == expected.confusion.class_errors[3]
    predict.predict(file, tmp_path / "images", tmp_path / "out.csv")
    shown = capsys.readouterr().err
    assert "balanced error" in shown and "confusion matrix" in shown
    with pytest.raises(InputError, match="has no folder that is named as a class"):
        predict.predict(file, tmp_path / "images/elsewhere", None, as_json=True)


def test_images_come_to_the_size_that_training_had_them_in(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(24):
        write_image(tmp_path / f"train/{'ab'[i % 2]}/{i}.jpg", rng.integers(0, 256, (40, 30 + i, 3), np.uint8))
    images = {"name": "image_folder", "root": str(tmp_path), "labels": 6, "validation": 6, "image_size": 12}
    settings = config(dataset=images, batch_size=4, augmentation={"translate": 1})
    finished(settings).save_model(tmp_path / "model.safetensors")
    predict.predict(tmp_path / "model.safetensors", tmp_path / "train", tmp_path / "out.csv")
    model, data = load_model(tmp_path / "model.safetensors"), dataset.load(settings.dataset)
    expected = model.logits(data.train).softmax(1).max(1)
    found = rows((tmp_path / "out.csv").read_text())  # in the order of the names, as training has them
    assert [row["class"] for row in found] == [model.classes[number] for number in expected.indices]
    torch.testing.assert_close(torch.tensor([float(row["probability"]) for row in found]), expected.values)


def test_any_name_can_be_read_from_the_csv_and_any_kind_of_image_is_classified(trained, tmp_path, capfdbinary):
    folder = tmp_path / "images"
    grey = dataset.load(CONFIG.dataset).test[0, :, :, 0].numpy()
    names = [
        "a,b.png",
        'quo"te.bmp',
        "new\nline.webp",
        "deep/er/c.tif",
        "UPPER.PNG",
        b"\xff.png".decode(errors="surrogateescape"),
    ]
    for name in names:
        write_image(folder / name, grey)
    Image.fromarray(np.stack([grey] * 3, -1)).save(folder / "colour.png")
    Image.fromarray(grey).convert("RGBA").resize((31, 17)).save(folder / "large.png")
    (folder / "notes.txt").write_text("no image")
    predict.predict(trained[1], folder, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        found = {row["path"]: (row["class"], row["probability"]) for row in csv.DictReader(file)}
    assert found.keys() == {f"{folder}/{name}" for name in [*names, "colour.png", "large.png"]}
    same = [found[f"{folder}/{name}"] for name in (*names[:2], "deep/er/c.tif", "UPPER.PNG", names[-1], "colour.png")]
    assert len(set(same)) == 1
    predict.predict(trained[1], folder, None)
    out, err = capfdbinary.readouterr()
    assert out == (tmp_path / "out.csv").read_bytes()
    assert b"8 images classified" in err
    predict.predict(trained[1], folder, tmp_path / "out.csv")
    assert b"out.csv, in the place of the file that was there" in capfdbinary.readouterr().err


def test_a_file_that_it_did_not_write_is_replaced_by_force_alone(trained, tmp_path):
    write_image(tmp_path / "images/one.png", dataset.load(CONFIG.dataset).test[0, :, :, 0].numpy())
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\none.png,7\n")
    words = ["predict", str(trained[1]), str(tmp_path / "images"), "-o", str(labels)]
    refused = CliRunner().invoke(cli, words)
    assert isinstance(refused.exception, InputError)
    assert "does not hold the lines of an earlier `predict`; choose another name" in str(refused.exception)
    assert labels.read_text() == "file,label\none.png,7\n"
    for more in (["--force"], []):  # and then it replaces its own
        assert CliRunner().invoke(cli, words + more).exit_code == 0
        assert len(rows(labels.read_text())) == 1


def test_no_cell_is_a_formula(trained, tmp_path, monkeypatch):
    grey = dataset.load(CONFIG.dataset).test[0, :, :, 0].numpy()
    names = ["=1+1.png", "+1.png", "-1.png", "@SUM(A1).png", "\N{FULLWIDTH EQUALS SIGN}1.png"]
    for name in names:
        write_image(tmp_path / f"=cmd/{name}", grey)
    with safe_open(trained[1], framework="pt") as model:
        header = model.metadata()
    formulas = json.dumps([f"=HYPERLINK({number})" for number in range(10)])
    save_file(load_file(trained[1]), tmp_path / "model.safetensors", header | {"classes": formulas})
    monkeypatch.chdir(tmp_path)
    predict.predict(tmp_path / "model.safetensors", Path("=cmd"), tmp_path / "out.csv")
    found = rows((tmp_path / "out.csv").read_text())
    assert {row["path"] for row in found} == {f"'=cmd/{name}" for name in names}
    assert all(row["class"].startswith("'=HYPERLINK(") for row in found)


def test_a_fifo_among_the_images_is_left_out_and_not_waited_for(trained, tmp_path, capfd):
    write_image(tmp_path / "good.png", np.zeros((8, 8), np.uint8))
    os.mkfifo(tmp_path / "x.png")
    predict.predict(trained[1], tmp_path, tmp_path / "out.csv")
    assert [row["path"] for row in rows((tmp_path / "out.csv").read_text())] == [f"{tmp_path}/good.png"]
    assert "left out: 1 file: a FIFO, socket or device: x.png" in capfd.readouterr().err


def test_probabilities_that_are_not_finite_are_refused_and_an_earlier_result_stays(trained, tmp_path):
    write_image(tmp_path / "images/a.png", np.full((8, 8), 200, np.uint8))
    (tmp_path / "out.csv").write_text("of yesterday")
    with safe_open(trained[1], framework="pt") as model:
        header = model.metadata()
    tensors = load_file(trained[1])
    tensors["network.classifier.weight"].fill_(3e38)  # finite, but what follows is not
    tensors["network.classifier.weight"][0].neg_()
    save_file(tensors, tmp_path / "model.safetensors", header)
    with pytest.raises(InputError, match="the probabilities that it gives are not finite"):
        predict.predict(tmp_path / "model.safetensors", tmp_path / "images", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "of yesterday"


def test_an_unreadable_image_is_named_and_left_out(trained, tmp_path, capfd):
    write_image(tmp_path / "good.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "torn.png").write_bytes((tmp_path / "good.png").read_bytes()[:40])
    (tmp_path / "text.jpg").write_text("no image")
    predict.predict(trained[1], tmp_path, None)
    out, err = capfd.readouterr()
    assert [row["path"] for row in rows(out)] == [f"{tmp_path}/good.png"]
    for name in ("torn.png", "text.jpg"):
        assert f"left out, since it cannot be read as an image: {tmp_path}/{name}" in err
    assert "1 image classified, 2 left out" in err


def test_without_one_readable_image_nothing_is_written(trained, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "out.csv").write_text("of yesterday")
    with pytest.raises(SweepError, match="not one of its images can be read"):
        predict.predict(trained[1], tmp_path, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "of yesterday"


def test_no_more_than_a_batch_of_images_is_held_at_once(trained, tmp_path, monkeypatch):
    for i in range(40):
        write_image(tmp_path / f"{i}.png", np.full((8, 8), i, np.uint8))
    monkeypatch.setattr("trainers.evaluation.PIXELS_AT_ONCE", 16 * 64)
    assert PIXELS_AT_ONCE > 16 * 64
    seen = []
    whole = predict.read_image_file
    model = load_model(trained[1]).__class__
    monkeypatch.setattr(predict, "read_image_file", lambda *arguments: seen.append("read") or whole(*arguments))
    logits = model.logits
    monkeypatch.setattr(model, "logits", lambda self, images: seen.append(len(images)) or logits(self, images))
    predict.predict(trained[1], tmp_path, tmp_path / "out.csv")
    assert [one for one in seen if one != "read"] == [1, 16, 16, 8]  # the first is the check of the file
    assert seen[1:18] == ["read"] * 16 + [16]
    assert len(rows((tmp_path / "out.csv").read_text())) == 40


@pytest.mark.parametrize("how", ["file", "directory", "name"])
def test_a_model_is_named_by_its_file_its_directory_or_its_name_at_home(trained, how):
    home, file, _ = trained
    assert predict.find({"file": str(file), "directory": str(file.parent), "name": file.parent.name}[how], home) == file


def test_a_model_that_is_not_there_is_told_with_the_nearest(trained, tmp_path):
    home, _, _ = trained
    with pytest.raises(InputError, match=r"did you mean 'digits-0123abcd-seed-0'\?"):
        predict.find("digits-0123abce-seed-0", home)
    with pytest.raises(InputError, match=r"train one with `(uv run )?mt-sweep train FILE`"):
        predict.find("digits", LocalHome(tmp_path))
    with pytest.raises(InputError, match=r"holds no model\.safetensors"):
        predict.find(str(tmp_path), home)
    (tmp_path / "checkpoint.pt").touch()
    with pytest.raises(InputError, match="has not ended"):
        predict.find(str(tmp_path), home)


def test_what_is_no_model_or_no_longer_one_is_refused_with_what_to_do(trained, tmp_path):
    write_image(tmp_path / "images/a.png", np.zeros((8, 8), np.uint8))
    file, other = tmp_path / "model.safetensors", config(model={"name": "small_cnn", "width": 5})
    with safe_open(trained[1], framework="pt") as model:
        header = model.metadata()
    tensors = load_file(trained[1])
    for facts, told in [
        (header | {"config": other.model_dump_json()}, "its weights and its configuration do not fit"),
        ({key: value for key, value in header.items() if key != "config"}, "do not fit: 'config'"),
        ({}, "is not a model of format"),
    ]:
        save_file(tensors, file, facts)
        with pytest.raises(InputError, match=rf"{file}.*{told}.*that `(uv run )?mt-sweep train` wrote"):
            predict.predict(file, tmp_path / "images", None)
    file.write_text("no safetensors")
    with pytest.raises(InputError, match=rf"{file} cannot be read as a model.*`(uv run )?mt-sweep train` wrote"):
        predict.predict(file, tmp_path / "images", None)


def test_a_folder_without_images_and_an_output_that_cannot_be_are_told(trained, tmp_path):
    with pytest.raises(InputError, match=r"holds no images; known by their names: \.bmp"):
        predict.predict(trained[1], tmp_path, None)
    with pytest.raises(InputError, match=r"nowhere: is no folder"):
        predict.predict(trained[1], tmp_path / "nowhere", None)
    write_image(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match=r"no/such: cannot be written"):
        predict.predict(trained[1], tmp_path, tmp_path / "no/such")


def test_what_is_left_out_is_told_with_its_reason_and_pixels_are_read_as_in_training(trained, tmp_path, capfd):
    write_image(tmp_path / "good.png", np.zeros((8, 8), np.uint8))
    for hidden in ("._good.png", "@eaDir/good.png", ".ipynb_checkpoints/good-checkpoint.png"):
        write_image(tmp_path / hidden, np.zeros((8, 8), np.uint8))
    (tmp_path / "bad\x1b[31m.xyz").write_text("no image")
    Image.fromarray(np.full((8, 8), 7, np.float32)).save(tmp_path / "float.tif")
    predict.predict(trained[1], tmp_path, None)
    out, err = capfd.readouterr()
    assert [row["path"] for row in rows(out)] == [f"{tmp_path}/good.png"]
    assert "left out: 3 files: hidden, or files of the system: ._good.png, .ipynb_checkpoints/good-checkpoint" in err
    assert "left out: 1 file: unknown suffix .xyz, and the content is no image: bad\\x1b[31m.xyz" in err
    assert f"left out: {tmp_path}/float.tif: its greys (mode F) go from 7 to 7; allowed: from 0 to 1" in err


def test_the_greys_of_a_range_are_predicted_as_they_were_trained(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(24):
        write_image(tmp_path / f"train/{'ab'[i % 2]}/{i}.tif", rng.integers(0, 4096, (12, 12)).astype(np.uint16))
    images = {"name": "image_folder", "root": str(tmp_path), "labels": 6, "validation": 6, "pixel_range": [0, 4095]}
    settings = config(dataset=images, batch_size=4, augmentation={"translate": 1})
    finished(settings).save_model(tmp_path / "model.safetensors")
    predict.predict(tmp_path / "model.safetensors", tmp_path / "train", tmp_path / "out.csv")
    model, data = load_model(tmp_path / "model.safetensors"), dataset.load(settings.dataset)
    assert data.train.max() == 255
    expected = model.logits(data.train).softmax(1).max(1).values
    found = rows((tmp_path / "out.csv").read_text())
    torch.testing.assert_close(torch.tensor([float(row["probability"]) for row in found]), expected)


def photographs(rng, count, side=32):
    return [rng.integers(0, 256, (side, side, 3), np.uint8) for _ in range(count)]


def cautions(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("caution: ")]


def test_images_in_colour_are_warned_of_once_where_the_model_knows_grey_ones_alone(trained, tmp_path, capsys):
    grey = dataset.load(CONFIG.dataset).test[0, :, :, 0].numpy()
    for i, pixels in enumerate([grey, grey, *photographs(np.random.default_rng(0), 3, side=8)]):
        write_image(tmp_path / f"{i}.png", pixels)
    predict.predict(trained[1], tmp_path, tmp_path / "out.csv")
    assert cautions(capsys) == [
        "caution: of 5 images, 3 are in colour, and the model was trained on grey ones; expect more errors (for "
        f"example: {tmp_path}/2.png)"
    ]


def test_grey_and_tiny_images_are_warned_of_where_the_model_knows_others(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for i, pixels in enumerate(photographs(rng, 24)):
        write_image(tmp_path / f"train/{'ab'[i % 2]}/{i}.png", pixels)
    images = {"name": "image_folder", "root": str(tmp_path), "labels": 6, "validation": 6, "image_size": 32}
    finished(config(dataset=images, batch_size=4, augmentation={"translate": 1})).save_model(tmp_path / "model")
    predict.predict(tmp_path / "model", tmp_path / "train", tmp_path / "out.csv")
    assert cautions(capsys) == [], "they are those that it was trained on"
    write_image(tmp_path / "new/grey.png", photographs(rng, 1)[0][..., 0])
    write_image(tmp_path / "new/small.png", photographs(rng, 1, side=17)[0])
    write_image(tmp_path / "new/tiny.png", photographs(rng, 1, side=15)[0])
    predict.predict(tmp_path / "model", tmp_path / "new", tmp_path / "out.csv")
    assert cautions(capsys) == [
        "caution: of 3 images, 1 is grey, and the model was trained on images in colour; expect more errors (for "
        f"example: {tmp_path}/new/grey.png)",
        "caution: of 3 images, 1 is much smaller than the 32x32 pixels that the model takes, and enlarged; expect "
        f"more errors (for example: {tmp_path}/new/tiny.png)",
    ]


def test_a_model_in_colour_that_was_trained_on_grey_files_warns_of_colour_and_not_of_grey(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for i, pixels in enumerate(photographs(rng, 24)):
        write_image(tmp_path / f"train/{'ab'[i % 2]}/{i}.jpg", pixels[..., 0])
    images = {"name": "image_folder", "root": str(tmp_path), "labels": 6, "validation": 6, "image_size": 32}
    finished(config(dataset=images, batch_size=4, augmentation={"translate": 1})).save_model(tmp_path / "model")
    write_image(tmp_path / "train/a/colour.jpg", photographs(rng, 1)[0])
    predict.predict(tmp_path / "model", tmp_path / "train", tmp_path / "out.csv")
    (caution,) = cautions(capsys)
    assert caution.startswith("caution: of 25 images, 1 is in colour, and the model was trained on grey ones")
