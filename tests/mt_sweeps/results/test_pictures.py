"""The small pictures that a report shows."""

import pytest

from mt_sweeps.results import pictures
from mt_sweeps.results.pictures import MOST, PictureSet


def test_what_is_saved_is_loaded(tmp_path):
    sets = [PictureSet.of("mistakes", [(["true: a"], b"one"), (["true: b"], b"two")])]
    pictures.save(tmp_path, sets)
    assert pictures.load(tmp_path) == sets


def test_a_set_has_no_more_pictures_and_bytes_than_a_report_has_room_for():
    assert len(PictureSet.of("t", [([], b"x")] * 100).pictures) == MOST
    assert len(PictureSet.of("t", [([], b"x" * 10_000)] * 100).pictures) == 3


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"sets": [{"title": "a", "pictures": [{"lines": [], "jpeg": "<"}]}]}', "\xff"]
)
def test_damaged_pictures_are_none(tmp_path, content):
    (tmp_path / pictures.FILE).write_text(content, encoding="latin-1")
    assert pictures.load(tmp_path) == []
    assert pictures.load(tmp_path / "nowhere") == []
