"""Folders whose images are in several places at once, from their files to what is trained on and reported."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.training import config, finished, write_image
from tests.trainers.data.test_copies import as_jpeg, photographs
from trainers.config import ImageFolder
from trainers.data import dataset
from trainers.data.cache import Facts, image_names, prepare, read_facts
from trainers.data.overlaps import groups_per_purpose, look_alike_caution, overlap_sentences
from trainers.data.splits import Split, split
from trainers.errors import DataError

PURPOSES = ("labeled", "unlabeled", "validation", "verdict")
SIZES = {"labels": 8, "validation": 6, "verdict": 4}


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """Write 12 cats, 12 dogs, 6 images without a class and 4 test images, all different."""
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path / "cache"))
    dataset.load.cache_clear()
    rng, images = np.random.default_rng(0), tmp_path / "images"
    for part, count in (("train/cat", 12), ("train/dog", 12), ("unlabeled", 6), ("test/cat", 2), ("test/dog", 2)):
        for i in range(count):
            write_image(images / part / f"{i:02}.png", rng.integers(0, 256, (8, 8, 3), np.uint8))
    return images


def copy(root: Path, source: str, target: str) -> None:
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / source, root / target)


def drawn(root: Path, **settings) -> tuple[Facts, Split, list[str], dict[str, set[str]]]:
    """Return facts, split, sentences, and the names of the images of each purpose."""
    folder = ImageFolder(name="image_folder", root=str(root), **SIZES | settings)
    file = prepare(folder)
    facts = read_facts(file)
    purposes = split(facts.train_labels, facts.classes, folder, facts.groups)
    names = {name: set(image_names(file, getattr(purposes, name).tolist())) for name in PURPOSES}
    caution = look_alike_caution(file, facts, purposes, folder)
    return facts, purposes, [*overlap_sentences(file, facts, purposes, folder), *([caution] if caution else [])], names


def test_where_all_images_are_different_nothing_is_told(root):
    facts, purposes, sentences, names = drawn(root)
    assert sentences == []
    assert sum(map(len, names.values())) == 30
    assert groups_per_purpose(facts, purposes) == {"training": 20, "validation": 6, "verdict": 4}
    assert facts.groups.tolist() == facts.copies.tolist() == list(range(34))


def test_copies_of_test_images_are_trained_on_neither_with_labels_nor_without(root):
    copy(root, "test/cat/00.png", "train/cat/copy.png")
    for i in (0, 1):
        copy(root, f"test/dog/0{i}.png", f"unlabeled/some/{i}.png")
    for labels in (8, "all"):
        _, _, sentences, names = drawn(root, labels=labels)
        assert sentences == [
            "3 training images are copies of test, validation or verdict images and are not trained on: "
            "train/cat/copy.png, unlabeled/some/0.png, unlabeled/some/1.png"
        ]
        assert not set.union(*names.values()) & {"train/cat/copy.png", "unlabeled/some/0.png", "unlabeled/some/1.png"}
        assert sum(map(len, names.values())) == 30


def test_names_that_a_terminal_would_obey_are_escaped(root):
    copy(root, "test/cat/00.png", "unlabeled/\x1b[2J\udcff.png")
    assert drawn(root)[2][0].endswith(r"unlabeled/\x1b[2J\udcff.png")


def test_a_single_copy_is_told_in_the_singular(root):
    copy(root, "test/cat/00.png", "unlabeled/copy.png")
    assert drawn(root)[2] == [
        "1 training image is a copy of test, validation or verdict images and is not trained on: unlabeled/copy.png"
    ]


def test_unlabeled_copies_of_validation_and_verdict_images_are_not_trained_on(root):
    for i in range(12):
        for kind in ("cat", "dog"):
            copy(root, f"train/{kind}/{i:02}.png", f"unlabeled/{kind}-{i:02}.png")
    _, _, sentences, names = drawn(root)
    held = names["validation"] | names["verdict"]
    assert len(held) == 10
    without = {f"unlabeled/{name.split('/')[1]}-{Path(name).name}" for name in held}
    assert not without & names["unlabeled"]
    assert len(names["unlabeled"]) == 6 + 14 + 6, "copies of images that are trained on are kept"
    assert sentences[0].startswith("10 training images are copies of test, validation or verdict images")
    assert sentences[1] == "14 training images are copies of another training image: copies serve one purpose together"


def test_copies_with_one_class_serve_one_purpose_together(root):
    for i in range(12):
        copy(root, f"train/cat/{i:02}.png", f"train/cat/copy-{i:02}.png")
    for seed in range(5):
        _, _, sentences, names = drawn(root, split_seed=seed)
        for i in range(12):
            pair = {f"train/cat/{i:02}.png", f"train/cat/copy-{i:02}.png"}
            trained = names["labeled"] | names["unlabeled"]
            assert any(pair <= images for images in (trained, names["validation"], names["verdict"]))
        assert len(names["validation"]) == 6
        assert sentences == [
            "12 training images are copies of another training image: copies serve one purpose together"
        ]


def test_an_image_under_two_classes_is_refused_with_the_names_of_the_files(root):
    copy(root, "train/cat/03.png", "train/dog/a cat.png")
    with pytest.raises(DataError) as refused:
        drawn(root)
    assert str(refused.value) == (
        "dataset.conflicts: 2 images have the same pixels as an image of another class: train/cat/03.png (cat) and "
        "train/dog/a cat.png (dog); remove those with the wrong class, or set dataset.conflicts: leave_out, and none "
        "of the training images among them serves a purpose"
    )


def test_images_under_two_classes_can_be_left_out(root):
    copy(root, "train/cat/03.png", "train/dog/a cat.png")
    _, _, sentences, names = drawn(root, conflicts="leave_out", labels="all")
    assert not set.union(*names.values()) & {"train/cat/03.png", "train/dog/a cat.png"}
    assert sum(map(len, names.values())) == 29
    assert sentences == [
        "2 training images with the same pixels as an image of another class are left out: train/cat/03.png, "
        "train/dog/a cat.png"
    ]


def test_a_test_image_under_another_class_than_its_copy_is_refused_or_the_copy_is_left_out(root):
    copy(root, "test/cat/00.png", "train/dog/a cat.png")
    with pytest.raises(DataError, match=r"train/dog/a cat.png \(dog\) and test/cat/00.png \(cat\)"):
        drawn(root)
    _, _, sentences, names = drawn(root, conflicts="leave_out")
    assert "train/dog/a cat.png" not in set.union(*names.values())
    assert len(sentences) == 1


def test_images_that_look_like_test_images_are_a_caution(root):
    shutil.rmtree(root)
    pieces = photographs(64)
    for i, piece in enumerate(pieces[:40]):
        write_image(root / f"train/{('cat', 'dog')[i % 2]}/{i:02}.png", piece)
    write_image(root / "test/cat/compressed.png", as_jpeg(pieces[4], 85))
    sentences = drawn(root, labels="all", validation=2, verdict=0)[2]
    assert sentences == [
        "1 training image looks almost like test, validation or verdict images, e.g. train/cat/04.png and "
        "test/cat/compressed.png: errors may come out too low; remove them, or keep them together with dataset.groups"
    ]


def test_several_images_that_look_like_test_images_are_listed_in_a_file(root):
    shutil.rmtree(root)
    pieces = photographs(64)
    for i, piece in enumerate(pieces[:40]):
        write_image(root / f"train/{('cat', 'dog')[i % 2]}/{i:02}.png", piece)
    for i in (4, 7):
        write_image(root / f"test/cat/compressed {i}.png", as_jpeg(pieces[i], 85))
    (sentence,) = drawn(root, labels="all", validation=2, verdict=0)[2]
    listed = Path(sentence.partition("; all of them: ")[2])
    assert listed.read_text().splitlines() == [
        "training image,looks like",
        "train/cat/04.png,test/cat/compressed 4.png",
        "train/dog/07.png,test/cat/compressed 7.png",
    ]


def test_a_group_serves_one_purpose_and_unlabeled_and_test_images_are_of_it_too(root):
    for i in range(12):
        for kind in ("cat", "dog"):
            (root / f"train/{kind}/{i:02}.png").rename(root / f"train/{kind}/track{i}_{kind}.png")
    for i in range(6):
        (root / f"unlabeled/{i:02}.png").rename(root / f"unlabeled/track{i}_.png")
    for kind in ("cat", "dog"):
        (root / f"test/{kind}/00.png").rename(root / f"test/{kind}/track11_0.png")
        (root / f"test/{kind}/01.png").rename(root / f"test/{kind}/track77_0.png")
    _, _, sentences, names = drawn(root, groups=r"(track\d+)_")
    tracks = {
        purpose: {Path(name).name.split("_")[0] for name in images}
        for purpose, images in {**names, "trained": names["labeled"] | names["unlabeled"]}.items()
    }
    assert not tracks["trained"] & (tracks["validation"] | tracks["verdict"])
    assert not tracks["validation"] & tracks["verdict"]
    assert "track11" not in set.union(*tracks.values())
    assert (len(names["labeled"]), len(names["validation"]), len(names["verdict"])) == (8, 6, 4)
    assert sentences[0].startswith("13 groups by dataset.groups; ")
    assert " of a group with test, validation or verdict images are not trained on" in sentences[0]


def test_groups_that_do_not_fill_a_purpose_are_told(root):
    for kind in ("cat", "dog"):
        for i in range(12):
            (root / f"train/{kind}/{i:02}.png").rename(root / f"train/{kind}/g{i % 6}-{i}.png")
    _, purposes, sentences, _ = drawn(root, groups=r"/(g\d|\d\d)[-.]")
    assert (len(purposes.validation), len(purposes.verdict)) == (4, 4)
    assert sentences[1:] == ["dataset.validation: 4 images, of 6 asked for, since groups and copies are not divided"]


def test_a_path_without_a_group_is_refused_before_anything_is_decoded(root):
    with pytest.raises(DataError, match=r"dataset\.groups: 'cat/\(\.\.\)' finds no group in train/dog/00\.png"):
        drawn(root, groups="cat/(..)")


def test_a_trainer_leaves_copies_and_groups_out(root):
    copy(root, "test/cat/00.png", "train/cat/copy.png")
    copy(root, "train/cat/03.png", "train/dog/a cat.png")
    settings = {
        "name": "image_folder",
        "root": str(root),
        "groups": "([a-z]+/[^/]*)$",
        "conflicts": "leave_out",
        **SIZES,
    }
    trainer = finished(config(dataset=settings, batch_size=8, steps=2))
    file = prepare(trainer.config.dataset)
    used = {name for purpose in PURPOSES for name in image_names(file, getattr(trainer.split, purpose).tolist())}
    assert len(used) == 30 + 2 - 3 - 4, "test/ has a cat/00.png, cat/01.png, dog/00.png and dog/01.png too"
    assert not used & {"train/cat/copy.png", "train/cat/03.png", "train/dog/a cat.png"}
