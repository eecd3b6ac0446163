"""Labels from the tables of other tools."""

import csv
import os
import random
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.training import decode_whole, write_image
from trainers.config import ImageFolder
from trainers.data.folders import Folder
from trainers.data.sources import source_key
from trainers.errors import DataError

EXPECTED = {"a.png": "cat", "b.png": "dog", "deep/c.png": "cat"}
NAMES = (*EXPECTED, "d.png")


@pytest.fixture
def root(tmp_path) -> Path:
    """Write four training images and one without a class, whose red values are their numbers."""
    for red, name in enumerate((*(f"train/{name}" for name in NAMES), "unlabeled/u.png")):
        write_image(tmp_path / name, np.full((4, 4, 3), (red, 0, 100), np.uint8))
    return tmp_path


def folder(root: Path, content: str | bytes, name: str = "labels.csv", **settings) -> Folder:
    file = root / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Folder(config(root, label_file=str(file), **settings))


def config(root: Path, **settings) -> ImageFolder:
    return ImageFolder(name="image_folder", root=str(root), **{"labels": 2, "validation": 1} | settings)


def labels(one: Folder) -> dict[str, str]:
    return {str(Path(file).relative_to(one.root / "train")): one.classes[label] for file, label in one.train}


TABLES = {
    "commas": "a.png,cat\nb.png,dog\ndeep/c.png,cat\n",
    "tabs": "a.png\tcat\nb.png\tdog\ndeep/c.png\tcat\n",
    "semicolons": "a.png;cat\nb.png;dog\ndeep/c.png;cat\n",
    "blanks": "a.png cat\nb.png dog\n\ndeep/c.png cat",
    "blanks and a header": "path class\na.png cat\nb.png dog\ndeep/c.png cat",
    "a header": "filename,label\na.png,cat\nb.png,dog\ndeep/c.png,cat\n",
    "a byte order mark": "\ufefffilename,label\na.png,cat\nb.png,dog\ndeep/c.png,cat\n",
    "a byte order mark without a header": "\ufeffa.png,cat\nb.png,dog\ndeep/c.png,cat\n",
    "another order": "Category;Image Path\ncat;a.png\ndog;b.png\ncat;deep/c.png\n",
    "further columns": "id,width,filename,label,score\n1,4,a.png,cat,0.5\n2,4,b.png,dog,.5\n3,4,deep/c.png,cat,1\n",
    "unknown names": "Datei,Art\na.png,cat\nb.png,dog\ndeep/c.png,cat\n",
    "guessed columns": "a.png,0.25,cat\nb.png,0.5,dog\ndeep/c.png,0.125,cat\nd.png,0.3,\n",
    "the order of label and path": "cat,a.png\ndog,b.png\ncat,deep/c.png\n",
    "the delimiter that Excel names": "sep=;\r\npath;label\r\na.png;cat\r\nb.png;dog\r\ndeep/c.png;cat\r\n",
    "bars": "path|label\na.png|cat\nb.png|dog\ndeep/c.png|cat\n",
    "comments": "# by hand, 2024\n#\npath,label\na.png,cat\n#d.png,dog\nb.png,dog\ndeep/c.png,cat\n# end\n",
    "a comment before lines without names": "# made by hand\na.png cat\nb.png dog\ndeep/c.png cat\n",
    "a header that is a comment": "#label,path\ncat,a.png\ndog,b.png\ncat,deep/c.png\n",
    "empty columns": "a.png,cat,,\nb.png,dog,,\ndeep/c.png,cat,,\n",
    "empty columns with a header": "path,label,,\na.png,cat,,\nb.png,dog,,\ndeep/c.png,cat,,\n",
    "blanks around quotes": 'path,label\n"a.png" ,"cat"\n"b.png" ,"dog"\n"deep/c.png" ,"cat"\n',
    "quotes": '"a.png","cat"\n"b.png","dog"\n"deep/c.png","cat"\n',
    "blanks after commas": "a.png, cat\nb.png, dog\ndeep/c.png, cat\n",
    "lines of Windows": "path,label\r\na.png,cat\r\nb.png,dog\r\ndeep\\c.png,cat\r\n",
    "no suffixes": "image_id,label\na,cat\nb,dog\ndeep/c,cat\n",
    "paths from the root": "train/a.png,cat\ntrain/b.png,dog\n./train/deep/c.png,cat\n",
    "json lines": '{"file": "a.png", "label": "cat"}\n\n{"file": "b.png", "label": "dog"}\n'
    '{"label": "cat", "x": [1], "file": "deep/c.png"}\n',
    "an empty label": "path,label\na.png,cat\nb.png,dog\ndeep/c.png,cat\nd.png,\n",
    "a null label": '{"path": "a.png", "class": "cat"}\n{"path": "b.png", "class": "dog"}\n'
    '{"path": "deep/c.png", "class": "cat"}\n{"path": "d.png", "class": null}\n',
    "one row before another table": "id,breed\na,cat\nb,dog\ndeep/c,cat\n",
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_read(root, kind):
    one = folder(root, TABLES[kind])
    assert labels(one) == EXPECTED
    assert [Path(file).name for file in one.unlabeled] == ["u.png", "d.png"]
    assert one.left_out == []


def test_the_encoding_of_a_spreadsheet_is_read(root):
    assert labels(folder(root, TABLES["tabs"].encode("utf-16"))) == EXPECTED


def test_classes_and_paths_may_hold_blanks_and_delimiters(root):
    for name in ("e, f.png", "g h.png"):
        write_image(root / "train" / name, np.zeros((4, 4, 3), np.uint8))
    one = folder(root, 'path,label\n"e, f.png",two words\n"g h.png","a, b"\na.png,two words\n')
    assert labels(one) == {"e, f.png": "two words", "g h.png": "a, b", "a.png": "two words"}
    assert labels(folder(root, "g h.png two words\na.png cat\ne, f.png cat")) == {
        "g h.png": "two words",
        "a.png": "cat",
        "e, f.png": "cat",
    }


def test_paths_may_be_relative_to_the_table_or_absolute(root):
    (root / "train/deep/more").mkdir()
    content = f"../c.png,cat\n{root}/train/a.png,cat\nb.png,dog\n"
    assert labels(folder(root, content, "train/deep/more/labels.csv")) == EXPECTED


def test_what_predict_writes_is_read(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    rows = [("path", "class", "probability")]
    rows += [(f"{root.name}/train/{name}", label, "0.500000") for name, label in EXPECTED.items()]
    with (root / "out.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    one = Folder(config(root, label_file=f"{root.name}/out.csv"))
    assert labels(one) == EXPECTED


def test_images_of_unlabeled_may_have_a_class_in_the_table(root):
    one = folder(root, "train/a.png,cat\nunlabeled/u.png,dog\n")
    assert [(Path(file).name, one.classes[label]) for file, label in one.train] == [("a.png", "cat"), ("u.png", "dog")]


def test_one_folder_of_images_needs_no_train_folder(tmp_path):
    for name in ("images/a", "images/b", "images/c"):
        write_image(tmp_path / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
    one = folder(tmp_path, "images/a.png,cat\nimages/b.png,dog\n")
    assert [(Path(file).name, one.classes[label]) for file, label in one.train] == [("a.png", "cat"), ("b.png", "dog")]
    assert [Path(file).name for file in one.unlabeled] == ["c.png"]
    assert one.left_out == []


def test_decomposed_names_are_found(root):
    write_image(root / "train/cafe\u0301.png", np.zeros((4, 4, 3), np.uint8))
    one = folder(root, "caf\u00e9.png,cafe\u0301\na.png,caf\u00e9\nb.png,dog\n")
    assert one.classes == ["caf\u00e9", "dog"]
    assert [label for _, label in one.train] == [0, 1, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a.png,cat\nno.png,dog\nnot.png,dog\nb.png,dog",
            r"line 2: there is no .*/train/no\.png; .*\(further lines like it: 1\)",
        ),
        (
            "path,label\na.png,cat\nb.png,dog\na.png,dog",
            r"line 4: a\.png is named a second time, first in line 2; remov",
        ),
        ("path,label\na.png,cat\n,dog\nb.png,dog", r"line 3: there is no image with an empty path"),
        ("path,label\na.png,cat\nb.png", r"line 3: 'b\.png' is no `path class`: it has no column 2; add the class"),
        ("a.png,cat\nb.png,cat", r"names 1 classes; at least two"),
        ("a.png,x1\nb.png,x2\nd.png,x3", r"line 1: column 2 \('x1'\) gives each of the 3 images a class of its own"),
        ("a.png,1.5,2.5\nb.png,2.5,3.5", r"line 1: which column is the class\? It can be 2 \('1\.5'\), 3 .*first line"),
        ("a.png,c,d\nb.png,e,f\nd.png,c,d\ndeep/c.png,e,f", r"line 1: which column is the class\?"),
        ("one,two\nthree,four\nfive,six", r"line \d: there is no .*train/"),
        ("", r"holds no labels"),
        ("path,label\n", r"holds no labels"),
        ("# made by hand\n", r"holds no labels"),
        ("path,label\na.png,cat, black\nb.png,dog", r"line 2: has 3 values, and the first line has 2 names; write"),
        (
            'path,label\na.png,cat\nb.png,"dog\ndeep/c.png,cat\nd.png,cat\n',
            r"line 3: has a quotation mark that is not closed",
        ),
        (f"path,label\na.png,cat\nb.png,{'x' * 200_000}\n", r"line 3: is no line of a table \(field larger"),
        (b"PK\x03\x04\x14\0\xff\n", r"it is no text; save the table as CSV in UTF-8"),
        ("path,label\na.png,cat\n".encode("utf-16-le"), r"it is no text; save the table as CSV in UTF-8"),
        (
            '{"a.png": "cat", "b.png": "dog"}',
            r"line 1: no value is the path of an image; its keys: a\.png, b\.png; write one object per line",
        ),
        ('{"path": "a.png", "label": ["cat", "dog"]}', r'line 1: label is \["cat", "dog"\]; an image has one class'),
        ('{"path": "a.png", "label": {"name": "cat"}}', r'line 1: label is \{"name": "cat"\}; an image has one class'),
        *(
            (f"path,label\n{path},cat\nb.png,dog", r"line 2: there is no .* Did you mean .*/train/a\.png\?$")
            for path in ("https://x.org/i/a.png?s=1", r"C:\Users\me\a.png", "/home/me/a.jpg", "photos/A.PNG")
        ),
        ('{"path": "a.png"\n', r"line 1: is no JSON object"),
        ('[{"path": "a.png"}]', r"line 1: is a JSON list; write one JSON object per line"),
        ("z9,x\na,cat\nb,dog\n", r"line 1: there is no .*/train/z9; "),
        (b"a.png,caf\xe9\n", r"line 1 is not UTF-8; save the table as UTF-8"),
        (b"a.png,cat\0\n", r"it is no text"),
        (
            "a.png,cat\n../test/t.png,dog",
            r"line 2: there is no .*t\.png is there, but is none of the images in train/ or",
        ),
        ("a.png,cat\nb.png,dog\nx\x1b[2J.png,cat", r"line 3: there is no .*x\\x1b\[2J\.png"),
    ],
)
def test_a_mistake_is_refused_with_its_line_and_what_to_do(root, content, message):
    (root / "train/test").mkdir()
    write_image(root / "test/t.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=rf"^dataset\.label_file: .*{message}"):
        folder(root, content)


def test_a_name_that_can_be_two_files_is_refused(root):
    write_image(root / "train/a.bmp", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"line 1: a can be .*a\.bmp or .*a\.png; write the whole path with its suffix"):
        folder(root, "a,cat\nb,dog")


def test_a_table_of_test_images_says_their_classes(root):
    for red, name in ((50, "t1"), (51, "t2"), (52, "t3")):
        write_image(root / f"test/{name}.png", np.full((4, 4, 3), (red, 0, 100), np.uint8))
    (root / "test.csv").write_text("id,label\nt2,dog\nt1,cat\n")
    one = folder(root, TABLES["commas"], test_label_file=str(root / "test.csv"))
    assert [(Path(file).name, one.classes[label]) for file, label in one.test] == [("t1.png", "cat"), ("t2.png", "dog")]
    assert [(left.reason, left.files) for left in one.left_out] == [
        ("in test/, but not in dataset.test_label_file", ["test/t3.png"])
    ]
    settings = {"label_file": str(root / "labels.csv"), "test_label_file": str(root / "test.csv")}
    images = decode_whole(config(root, **settings), root / "cache")
    assert (images.test[:, 0, 0, 0].tolist(), images.test_labels.tolist()) == ([50, 51], [0, 1])
    key = source_key(config(root, **settings))
    (root / "test.csv").write_text("id,label\nt2,cat\nt1,cat\n")
    assert source_key(config(root, **settings)) != key


def test_test_images_may_lie_among_the_training_images_and_are_then_not_trained_on(root):
    (root / "test.csv").write_text("d.png,dog\n")
    one = folder(root, TABLES["commas"], test_label_file=str(root / "test.csv"))
    assert [Path(file).name for file, _ in one.test] == ["d.png"]
    assert [Path(file).name for file in one.unlabeled] == ["u.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.png,cat", r"line 1: .*/train/a\.png is a training image with a class, too; remove it from one of the two"),
        ("d.png,dgo", r"line 1: class 'dgo' is none of the training images; did you mean 'dog'\? known: cat, dog"),
        ("path,label\nd.png,", r"line 2: .*d\.png has no class; add it or remove the line"),
    ],
)
def test_a_mistake_in_a_table_of_test_images_is_refused(root, content, message):
    (root / "test.csv").write_text(content)
    with pytest.raises(DataError, match=rf"^dataset\.test_label_file: .*test\.csv, {message}"):
        folder(root, TABLES["commas"], test_label_file=str(root / "test.csv"))


def test_a_class_of_another_name_is_another_data_set(root):
    keys = set()
    for name in ("dog", "hound"):
        folder(root, f"a.png,cat\nb.png,{name}\n")
        keys.add(source_key(config(root, label_file=str(root / "labels.csv"))))
    assert len(keys) == 2


def test_a_table_that_is_no_file_is_never_opened(root):
    os.mkfifo(root / "labels")
    with pytest.raises(DataError, match=r"labels cannot be read: it is no file; name a table"):
        Folder(config(root, label_file=str(root / "labels")))


@pytest.mark.parametrize("seed", range(10))
def test_whatever_a_writer_of_csv_does_the_labels_are_read(tmp_path, seed):
    draw = random.Random(seed)
    words = ["cat", "two words", "a,b", "semi;colon", 'quo"te', "tab\tbed", "caf\u00e9", "1"]
    names = {f"{draw.choice('xyz')}/{draw.choice(words).replace('/', '')} {i}.png" for i in range(12)}
    expected = {name: draw.choice(words[i % 2 :]) for i, name in enumerate(sorted(names))}
    for name in names:
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).touch()
    columns = ["path", "label", "score"] if draw.random() < 0.5 else ["label", "path", "score"]
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        delimiter = draw.choice(",;\t")
        quoting = draw.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
        writer = csv.DictWriter(file, columns, delimiter=delimiter, quoting=quoting)
        writer.writeheader()
        for name, label in expected.items():
            writer.writerow({"path": name, "label": label, "score": draw.random()})
    assert labels(Folder(config(tmp_path, label_file=str(tmp_path / "labels.csv")))) == expected


def test_a_flat_test_folder_and_a_table_go_with_class_folders(tmp_path):
    for name in ("train/cat/0", "train/dog/0", "test/img_1", "test/img_2"):
        write_image(tmp_path / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "test/answers.csv").write_text("image_id,target\nimg_2,cat\nimg_1,dog\n")
    one = Folder(config(tmp_path, test_label_file=str(tmp_path / "test/answers.csv")))
    assert [(Path(file).name, one.classes[label]) for file, label in one.test] == [
        ("img_2.png", "cat"),
        ("img_1.png", "dog"),
    ]
    assert one.left_out == []


def test_a_column_says_which_images_belong_together(root):
    content = "path,label,patient\na.png,cat,p1\nb.png,dog,p2\ndeep/c.png,cat,p1\nd.png,,\n"
    one = folder(root, content, groups="patient")
    assert {Path(file).name: name for file, name in one.groups.items()} == {"a.png": "p1", "b.png": "p2", "c.png": "p1"}
    decoded = decode_whole(one._config, root / "cache")
    assert [Path(name).name for name in decoded.names] == ["a.png", "b.png", "c.png", "u.png", "d.png"]
    assert decoded.groups.tolist() == [0, 1, 0, 2, 3], "an image of which it says nothing is on its own"
    before = source_key(one._config)
    folder(root, content.replace("p2", "p1"), groups="patient")
    assert source_key(one._config) != before


@pytest.mark.parametrize("content", ["path,label,case\na.png,cat,1\nb.png,dog,2\n", "a.png cat\nb.png dog\n"])
def test_a_column_of_groups_that_is_not_there_is_told_with_those_that_are(root, content):
    known = "path, label, case" if "case" in content else "none: it has no first line of names"
    with pytest.raises(DataError, match=rf"there is no column 'patient', which dataset\.groups names; .*: {known}"):
        folder(root, content, groups="patient")


def test_json_lines_have_columns_of_groups_too(root):
    lines = ['{"path": "a.png", "label": "cat", "patient": 1}', '{"path": "b.png", "label": "dog", "patient": 2}']
    assert list(folder(root, "\n".join(lines), groups="patient").groups.values()) == ["1", "2"]
