"""Which files of a folder are used, and how those that are not are reported."""

import json
import os
import random
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.training import decode_whole, write_image
from trainers.config import ImageFolder, Imagenet
from trainers.data import image_formats, listing
from trainers.data.cache import prepare, read_facts
from trainers.data.folders import Folder
from trainers.data.image_formats import format_of
from trainers.data.listing import LeftOut, list_images
from trainers.data.sources import check_source, source_key
from trainers.errors import DataError


def config(root: Path | str, **settings) -> ImageFolder:
    return ImageFolder(name="image_folder", root=str(root), **{"labels": 2, "validation": 1} | settings)


def grey(level: int) -> np.ndarray:
    return np.full((8, 8, 3), level, np.uint8)


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "images"
    for level, name in enumerate(("train/cat/0", "train/cat/1", "train/dog/0", "unlabeled/0", "test/dog/0")):
        write_image(root / f"{name}.png", grey(level))
    return root


def used(root: Path, **settings) -> list[str]:
    return sorted(os.path.relpath(file, root) for file in Folder(config(root, **settings)).files())


def left_out(root: Path, **settings) -> dict[str, list[str]]:
    return {one.reason: one.files for one in Folder(config(root, **settings)).left_out}


WHOLE = ["test/dog/0.png", "train/cat/0.png", "train/cat/1.png", "train/dog/0.png", "unlabeled/0.png"]


@pytest.mark.parametrize("name", ["a.jfif", "a", "a.JPG.bin", "a.0001", "a.JPE", "b.with blanks"])
@pytest.mark.parametrize("place", ["train/cat", "unlabeled", "test/dog"])
def test_a_file_is_known_by_its_content_where_its_suffix_does_not_say(root, place, name):
    Image.fromarray(grey(9)).save(root / place / name, "JPEG")
    assert used(root) == sorted([*WHOLE, f"{place}/{name}"])
    assert left_out(root) == {}


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF"])
def test_formats_are_known_by_their_first_bytes_and_are_decoded(root, kind):
    pixels = grey(200)
    Image.fromarray(pixels).save(root / "train/cat/picture", kind)
    images = decode_whole(config(root), root)
    assert len(images.train) == 5
    assert np.abs(images.train[2].astype(int) - 200).max() <= 3


def test_what_is_no_image_is_reported_once_with_its_reason(root):
    (root / "train/cat/a.xyz").write_text("no image")
    (root / "train/dog/b.xyz").write_text("no image")
    (root / "test/dog/README").write_text("no image")
    (root / "train/classes.csv").write_text("no image")
    (root / "unlabeled/photo.nef").write_bytes(b"II*\0")
    (root / "unlabeled/photo.jxl").write_bytes(b"\xff\x0a")
    assert left_out(root) == {
        "unknown suffix .xyz, and the content is no image": ["train/cat/a.xyz", "train/dog/b.xyz"],
        "no suffix, and the content is no image": ["test/dog/README"],
        "suffix .csv (no image; a table of labels is read if dataset.label_file names it)": ["train/classes.csv"],
        "suffix .nef (camera raw; export it as PNG or JPEG)": ["unlabeled/photo.nef"],
        "unknown suffix .jxl (JPEG XL; save it as JPEG or PNG)": ["unlabeled/photo.jxl"],
    }
    assert used(root) == WHOLE


def test_heic_without_its_library_is_left_out_with_what_to_install(root, monkeypatch):
    monkeypatch.setattr(image_formats.importlib.util, "find_spec", lambda _: None)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    for name in ("a.heic", "b.HEIC", "c.HIF"):
        (root / "train/cat" / name).write_bytes(heic)
    (root / "train/cat/named wrongly.jpg").write_bytes(heic)
    (root / "train/cat/no suffix").write_bytes(heic)
    lines = [one.text() for one in check_source(config(root))]
    todo = "(HEIC; install pillow-heif (pip install 'mt-sweeps[heif]'), or save it as JPEG or PNG)"
    assert lines[0] == f"left out: 2 files: suffix .heic {todo}: train/cat/a.heic, train/cat/b.HEIC"
    assert len(lines) == 3
    with pytest.raises(DataError, match=r"named wrongly\.jpg cannot be read as an image: it is HEIC: install pillow-h"):
        decode_whole(config(root), root)


def test_heic_is_read_with_its_library(root):
    heif = pytest.importorskip("pillow_heif", reason="install it: pip install 'mt-sweeps[heif]'")
    heif.register_heif_opener()
    Image.fromarray(np.full((64, 64, 3), 200, np.uint8)).save(root / "train/cat/a.heic", "HEIF")
    images = decode_whole(config(root, image_size=8), root)
    assert np.abs(images.train[2].astype(int) - 200).max() <= 5


HIDDEN = [
    *("{}/.ipynb_checkpoints/0-checkpoint.png", "{}/._0001.png", "{}/@eaDir/photo.jpg/SYNOPHOTO_THUMB_M.jpg"),
    *("{}/__MACOSX/cat/0.png", "{}/.Trash-1000/files/0.png", "{}/Thumbs.db", "{}/desktop.ini", "{}/.DS_Store"),
]


@pytest.mark.parametrize("place", [".", "train", "train/cat", "unlabeled", "test", "test/dog"])
@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_hidden_or_of_the_system_is_neither_an_image_nor_a_class(root, place, name):
    hidden = os.path.normpath(name.format(place))
    write_image(root / "one.png", grey(0))
    (root / hidden).parent.mkdir(parents=True, exist_ok=True)
    (root / "one.png").rename(root / hidden)
    folder = Folder(config(root))
    assert folder.classes == ["cat", "dog"]
    assert folder.left_out == [LeftOut(listing.HIDDEN, [hidden])]
    images, others = list_images(root)
    assert len(images) == 5
    assert others == [LeftOut(listing.HIDDEN, [hidden])]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("unlabelled/a.png", "in unlabelled/: it is not read; if you mean unlabeled/, rename it"),
        ("Unlabeled/a.png", "in Unlabeled/: it is not read; if you mean unlabeled/, rename it"),
        ("un-labeled/a.png", "in un-labeled/: it is not read; if you mean unlabeled/, rename it"),
        ("Test/dog/a.png", "in Test/: it is not read; if you mean test/, rename it"),
        (
            "val/dog/a.png",
            "in val/: validation images are drawn from train/, as many as dataset.validation says; move them to "
            "train/<class>/ or test/<class>/",
        ),
        ("extra/a.png", "in a folder that is not read: only train/, unlabeled/ and test/ are"),
        ("a.png", "lies directly in the root; move it to train/<class>/ or unlabeled/"),
        ("train/a.png", "lies directly in train/, in no class folder; move it to train/<class>/ or to unlabeled/"),
        (
            "test/a.png",
            "lies directly in test/, in no class folder; move it to test/<class>/, or give its class in "
            "dataset.test_label_file",
        ),
    ],
)
def test_images_in_no_folder_that_is_read_are_counted_with_what_to_do(root, name, reason):
    write_image(root / name, grey(9))
    assert left_out(root) == {reason: [name]}
    assert used(root) == WHOLE


def test_imagenets_validation_folder_is_its_test_set_and_its_test_folder_is_left_out(tmp_path, monkeypatch):
    for name in ("train/a/0", "train/b/0", "val/a/0", "test/0"):
        write_image(tmp_path / f"{name}.png", grey(0))
    monkeypatch.setattr("trainers.data.folders.KNOWN_DATASETS", {})
    folder = Folder(Imagenet(name="imagenet", root=str(tmp_path), labels=0.5, validation=1))
    assert [label for _, label in folder.test] == [0]
    assert folder.left_out == [
        LeftOut("in a folder that is not read: only train/, unlabeled/ and val/ are", ["test/0.png"])
    ]


def test_links_are_followed_and_circles_are_not(root):
    (root.parent / "elsewhere/deep").mkdir(parents=True)
    write_image(root.parent / "elsewhere/deep/x.png", grey(9))
    (root / "train/cat/linked").symlink_to(root.parent / "elsewhere")
    (root / "train/cat/up").symlink_to("..")
    (root / "train/cat/top").symlink_to("/")
    (root / "train/cat/linked/deep/again").symlink_to(root.parent / "elsewhere")
    (root / "train/loop").symlink_to(root)
    (root / "train/dog/self").symlink_to("self")
    (root / "train/dog/gone").symlink_to("nowhere.png")
    (root / "train/dog/file.png").symlink_to(root / "train/cat/0.png")
    shutil.rmtree(root / "unlabeled")
    (root / "unlabeled").symlink_to(".")
    (root / "train/bird").symlink_to(root.parent / "elsewhere/deep")
    folder = Folder(config(root))
    assert folder.classes == ["bird", "cat", "dog"]
    assert used(root) == sorted([*WHOLE[:-1], "train/bird/x.png", "train/cat/linked/deep/x.png", "train/dog/file.png"])
    assert left_out(root) == {
        listing.CIRCLE: [
            *(
                "train/bird/again",
                "train/cat/linked/deep/again",
                "train/cat/top",
                "train/cat/up",
                "train/loop",
                "unlabeled",
            ),
        ],
        listing.DEAD_LINK: ["train/dog/gone", "train/dog/self"],
    }


@pytest.mark.parametrize("target", ["nowhere.png", "gone.png"])
def test_a_link_to_an_image_that_is_gone_is_an_image_that_cannot_be_read(root, target):
    (root / "train/dog/gone.png").symlink_to(target)
    with pytest.raises(
        DataError, match=r"train/dog/gone\.png cannot be read: .*; repair or remove it, or set dataset\.unr"
    ):
        source_key(config(root))
    source_key(config(root, unreadable="skip"))
    images = decode_whole(config(root, unreadable="skip"), root)
    assert (len(images.train), images.skipped) == (4, ("train/dog/gone.png",))


def test_many_links_to_each_other_are_listed_at_once(root):
    for i in range(40):
        (root / f"train/cat/{i}").mkdir()
        for j in range(40):
            (root / f"train/cat/{i}/{j}").symlink_to(root / f"train/cat/{j}")
    assert len(Folder(config(root)).train) == 3


def test_what_is_no_regular_file_is_never_opened(root, monkeypatch):
    os.mkfifo(root / "train/cat/fifo.png")
    os.mkfifo(root / "unlabeled/fifo")
    (root / "test/dog/zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as one:
        monkeypatch.chdir(root)  # the path of a socket may have no more than a hundred characters
        one.bind("unlabeled/socket.png")
        assert left_out(root) == {
            listing.SPECIAL: ["test/dog/zero.png", "train/cat/fifo.png", "unlabeled/fifo", "unlabeled/socket.png"]
        }
    assert len(decode_whole(config(root), root).train) == 4
    assert len(list_images(root)[0]) == 5


def unlisted(monkeypatch, *folders: Path) -> None:
    scan = os.scandir

    def refusing(path="."):
        if Path(path) in folders:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)


@pytest.mark.parametrize("name", ["train/cat", "train", "."])
def test_a_class_that_cannot_be_listed_is_refused_and_never_called_empty(root, monkeypatch, name):
    folder = root / name
    unlisted(monkeypatch, folder)
    with pytest.raises(DataError, match=rf"{folder} cannot be listed: Permission denied; make it readable") as error:
        Folder(config(root))
    assert "remove" not in str(error.value) and "no images" not in str(error.value)
    assert ("class cat" in str(error.value)) == (name == "train/cat")


@pytest.mark.parametrize("name", ["unlabeled", "train/cat/deep", "test/dog", "test"])
def test_another_folder_that_cannot_be_listed_is_reported(root, monkeypatch, name):
    (root / name).mkdir(exist_ok=True)
    unlisted(monkeypatch, root / name)
    assert left_out(root) == {"folder that cannot be listed (Permission denied)": [name]}


def test_a_file_that_cannot_be_opened_to_look_at_is_reported(root, monkeypatch):
    (root / "train/cat/secret").write_bytes(b"\xff\xd8\xff")

    def refusing(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(image_formats, "_first_bytes", refusing)
    assert left_out(root) == {"cannot be opened (Permission denied)": ["train/cat/secret"]}


def test_an_empty_class_is_called_by_its_name_with_what_was_left_out_in_it(root):
    shutil.rmtree(root / "train/cat")
    (root / "train/cat").mkdir()
    (root / "train/cat/a.xyz").write_text("no image")
    with pytest.raises(DataError, match=r"class cat: no images in .*train/cat; add .*; left out there: 1 file: unkn"):
        Folder(config(root))


def test_composed_and_decomposed_names_are_one_class(root):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    write_image(root / "train" / composed / "0.png", grey(9))
    write_image(root / "train" / decomposed / "1.png", grey(9))
    write_image(root / "test" / decomposed / "2.png", grey(9))
    folder = Folder(config(root))
    assert folder.classes == [composed, "cat", "dog"]
    assert [label for _, label in folder.train] == [0, 0, 1, 1, 2]
    assert [label for _, label in folder.test] == [0, 2]


def test_a_class_whose_name_is_no_utf_8_is_called_by_its_bytes(root):
    folders = [os.fsdecode(os.fsencode(root / part) + b"/caf\xe9") for part in ("train", "test")]
    for folder in folders:
        write_image(Path(folder) / os.fsdecode(b"\xfc.png"), grey(9))
    folder = Folder(config(root))
    assert folder.classes == ["caf\\xe9", "cat", "dog"]
    assert json.dumps(folder.classes).encode()
    assert [label for _, label in folder.train] == [0, 1, 1, 2]
    assert [label for _, label in folder.test] == [0, 2]


def test_control_characters_of_names_are_shown_escaped(root):
    (root / "train/cat/bad\x1b[31m.xyz").write_text("no image")
    (root / "train/cat/\x1b[2J.png").write_bytes(b"")
    assert check_source(config(root))[0].text() == (
        "left out: 1 file: unknown suffix .xyz, and the content is no image: train/cat/bad\\x1b[31m.xyz"
    )
    with pytest.raises(DataError) as error:
        decode_whole(config(root), root)
    assert "\\x1b[2J.png" in str(error.value) and "\x1b" not in str(error.value)


def test_a_relative_root_is_named_with_what_it_is_relative_to(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    assert Folder(config("images")).files() == Folder(config(root)).files()
    with pytest.raises(DataError, match=rf"no folder {root.parent}/imags \(imags is relative to {root.parent}\); exp"):
        Folder(config("imags"))


def test_a_training_folder_of_another_name_is_recognised(root):
    (root / "train").rename(root / "Training")
    with pytest.raises(DataError, match=r"there is no folder .*It holds Training/, test/.*Rename Training/ to train/"):
        Folder(config(root))


def test_counts_and_examples_reach_the_prepared_file(root, tmp_path, monkeypatch):
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path / "cache"))
    for i in range(12):
        (root / f"train/cat/{i:02}.xyz").write_text("no image")
    facts = read_facts(prepare(config(root)))
    assert [one.text() for one in facts.left_out] == [
        "left out: 12 files: unknown suffix .xyz, and the content is no image: train/cat/00.xyz, train/cat/01.xyz, "
        "train/cat/02.xyz, ..."
    ]


def test_suffixes_of_many_kinds_are_counted_together(root):
    for i in range(40):
        (root / f"train/cat/a.s{i}").write_text("no image")
    (root / "train/dog/gone").symlink_to("nowhere")
    folder = Folder(config(root))
    assert len(folder.left_out) == 14
    assert [one.reason for one in folder.left_out if "suffix" not in one.reason] == [listing.DEAD_LINK]
    assert sum(len(one.files) for one in folder.left_out) == 41


def test_listing_says_how_far_it_is_after_a_second(root, monkeypatch):
    for i in range(1000):
        (root / f"train/cat/{i}.jpg").touch()
    seconds = iter(range(10_000))
    monkeypatch.setattr(listing.time, "monotonic", lambda: 2 * next(seconds))
    counts = []
    Folder(config(root), counts.append)
    assert counts == [1000]


def test_no_file_is_opened_whose_suffix_says_what_it_is(root, monkeypatch):
    for name in ("a.JPEG", "b.txt", "c.heic"):
        (root / "train/cat" / name).touch()
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("a file was opened"))
    Folder(config(root))


def test_bytes_that_are_no_image_have_no_format():
    for first in (b"", b"BM", b"BMs are text", b"P1 players", b"II", b"{}", b"RIFF....WAVE", b"\0\0\0\x18ftypisom"):
        assert format_of(first) is None


def random_tree(root: Path, draw: random.Random) -> int:
    """Write a tree of any mixture of files; return how many entries there are that are no folder."""
    folders = [root]
    names = ["train", "test", "unlabeled", "val", "cat", "dog", ".git", "@eaDir", "a b", "caf\u00e9", "Unlabelled"]
    for _ in range(draw.randrange(30)):
        folder = draw.choice(folders) / draw.choice(names)
        if not folder.exists() and len(folder.parts) < len(root.parts) + 6:
            folder.mkdir()
            folders.append(folder)
    for name in ("cat", "dog"):
        (root / "train" / name).mkdir(parents=True, exist_ok=True)
        if (root / "test").is_dir():
            (root / "test" / name).mkdir(exist_ok=True)
    for folder in (root / "train").iterdir():
        (folder / "0.png").touch()
    suffixes = [".png", ".JPG", ".xyz", "", ".txt", ".heic", ".jpg.bin", ".db", ".a/b"[:2]]
    for i in range(draw.randrange(60)):
        path = draw.choice(folders) / f"{draw.choice(['', '.', '._', 'x'])}{i}{draw.choice(suffixes)}"
        kind = draw.randrange(6)
        if kind == 0:
            path.symlink_to(draw.choice(["nowhere", path.name, str(root / "train/cat/0.png"), "/dev/null"]))
        elif kind == 1:
            os.mkfifo(path)
        else:
            path.write_bytes(draw.choice([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"text"]))
    return sum(len(files) for _, _, files in os.walk(root))


@pytest.mark.parametrize("seed", range(25))
def test_the_images_used_and_what_is_left_out_are_all_files_that_are_there(tmp_path, seed):
    there = random_tree(tmp_path, random.Random(seed))
    try:
        folder = Folder(config(tmp_path))
    except DataError as error:  # a class folder in test/ that train/ has not
        assert "is a class that train/ has not" in str(error)
        shutil.rmtree(tmp_path / "test")
        there = sum(len(files) for _, _, files in os.walk(tmp_path))
        folder = Folder(config(tmp_path))
    others = [file for one in folder.left_out for file in one.files]
    everything = [os.path.relpath(file, tmp_path) for file in folder.files()] + others
    assert len(everything) == len(set(everything)) == there
    images, left = list_images(tmp_path)
    assert len(images) + sum(len(one.files) for one in left) == there
