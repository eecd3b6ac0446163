"""What classes are called, and names that look like mistakes."""

import numpy as np

from tests.helpers.training import write_image
from trainers.config import ImageFolder
from trainers.data.cache import prepare, read_facts
from trainers.data.class_names import class_name, class_name_cautions


def test_a_name_is_composed_and_without_blanks_around_it():
    assert class_name(" cafe\u0301 au lait\u00a0") == "caf\u00e9 au lait"


def test_names_that_differ_in_case_alone_are_a_caution():
    assert class_name_cautions(["Cat", "cat", "dog"]) == [
        "classes Cat and cat differ in upper and lower case alone; are they one class?"
    ]


def test_a_name_that_says_that_there_is_no_class_is_a_caution():
    assert [caution.split(" is ")[0] for caution in class_name_cautions(["NA", "nation", "not_labeled", "?"])] == [
        "class NA",
        "class not_labeled",
        "class ?",
    ]


def test_folders_whose_names_differ_in_blanks_are_one_class_and_cautions_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path / "cache"))
    for level, name in enumerate(("cat/0", "cat /0", "Cat/0", "dog/0")):
        write_image(tmp_path / f"images/train/{name}.png", np.arange(192, dtype=np.uint8).reshape(8, 8, 3) + level)
    config = ImageFolder(name="image_folder", root=str(tmp_path / "images"), labels=3, validation=1)
    facts = read_facts(prepare(config))
    assert (facts.classes, facts.train_labels.tolist()) == (["Cat", "cat", "dog"], [0, 1, 1, 2])
    assert facts.cautions == ["classes Cat and cat differ in upper and lower case alone; are they one class?"]
