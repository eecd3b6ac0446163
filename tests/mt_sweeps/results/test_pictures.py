"""The small pictures that a report shows."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mt_sweeps.results import pictures
from mt_sweeps.results.pictures import MOST, PictureSet, lines_of

DARK, LIGHT = np.zeros((8, 8, 1), np.uint8), np.full((8, 8, 3), 255, np.uint8)


def test_what_is_saved_is_loaded(tmp_path):
    sets = [PictureSet.of("mistakes", [(["true: a"], DARK), (["true: b"], LIGHT)])]
    pictures.save(tmp_path, sets)
    assert pictures.load(tmp_path) == sets


def test_a_set_has_no_more_pictures_and_bytes_than_a_report_has_room_for():
    noise = np.random.default_rng(0).integers(0, 256, (140, 140, 3), np.uint8)  # its JPEG has about 10 kB
    assert len(PictureSet.of("t", [([], DARK)] * 100).pictures) == MOST
    assert 1 < len(PictureSet.of("t", [([], noise)] * 100).pictures) < MOST


def test_below_a_picture_stand_its_class_what_it_was_taken_for_and_how_surely():
    columns = {"labels": torch.tensor([0, 1]), "classes": torch.tensor([1, 1]), "probability": torch.tensor([0.5, 1.0])}
    assert lines_of(SimpleNamespace(**columns), ["cat", "dog"]) == [
        ["true: cat", "taken for: dog", "50.0 %"],
        ["true: dog", "taken for: dog", "100.0 %"],
    ]


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"sets": [{"title": "a", "pictures": [{"lines": [], "jpeg": "<"}]}]}', "\xff"]
)
def test_damaged_pictures_are_none(tmp_path, content):
    (tmp_path / pictures.FILE).write_text(content, encoding="latin-1")
    assert pictures.load(tmp_path) == []
    assert pictures.load(tmp_path / "nowhere") == []
