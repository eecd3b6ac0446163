import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.training import REPOSITORY, in_fresh_process, write_image
from trainers.config import ImageFolder
from trainers.data import cache, sources
from trainers.errors import DataError


@pytest.fixture
def folder(tmp_path, monkeypatch) -> ImageFolder:
    """A data set of four images and an empty cache."""
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path / "cache"))
    for level, name in enumerate(("train/a/0", "train/b/0", "unlabeled/0", "test/b/0")):
        write_image(tmp_path / "images" / f"{name}.png", np.full((4, 4, 3), level, np.uint8))
    return ImageFolder(name="image_folder", root=str(tmp_path / "images"), labels=2, validation=1)


def counting(monkeypatch) -> list[ImageFolder]:
    calls = []

    def decode(config, *rest):
        calls.append(config)
        return sources.decode(config, *rest)

    monkeypatch.setattr(cache, "decode", decode)
    return calls


def test_a_data_set_is_decoded_once(folder, monkeypatch):
    calls = counting(monkeypatch)
    file = cache.prepare(folder)
    content = file.read_bytes()
    assert cache.prepare(folder.model_copy(update={"labels": "all", "split_seed": 5})) == file
    assert len(calls) == 1
    assert file.read_bytes() == content


def test_a_changed_folder_is_decoded_again(folder, monkeypatch):
    calls = counting(monkeypatch)
    first = cache.read_facts(cache.prepare(folder)).fingerprint
    write_image(Path(folder.root) / "train/a/1.png", np.full((4, 4, 3), 9, np.uint8))
    assert cache.read_facts(cache.prepare(folder)).fingerprint != first
    assert len(calls) == 2


def test_the_cache_lies_where_the_environment_says(folder, tmp_path, monkeypatch):
    assert cache.prepare(folder).parent == tmp_path / "cache"
    monkeypatch.delenv("MT_SWEEP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg/mt-sweeps"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.cache_folder() == tmp_path / "home/.cache/mt-sweeps"


def test_a_decoding_that_fails_leaves_nothing_that_is_taken_for_a_data_set(folder):
    broken = Path(folder.root) / "train/a/0.png"
    content, times = broken.read_bytes(), broken.stat()
    broken.write_bytes(b"x" * len(content))  # of the same size, so that
    os.utime(broken, ns=(times.st_atime_ns, times.st_mtime_ns))  # the repaired folder has the same key
    with pytest.raises(DataError):
        cache.prepare(folder)
    broken.write_bytes(content)
    os.utime(broken, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert cache.prepare(folder).exists()


def test_the_fingerprint_is_that_of_the_content(folder, tmp_path):
    def at(name: str, levels: tuple[int, ...], classes: str = "ab") -> str:
        a, b = classes
        for level, path in zip(levels, (f"train/{a}/0", f"train/{b}/0", "unlabeled/0", f"test/{b}/0"), strict=True):
            write_image(tmp_path / name / f"{path}.png", np.full((4, 4, 3), level, np.uint8))
        return cache.read_facts(cache.prepare(folder.model_copy(update={"root": str(tmp_path / name)}))).fingerprint

    first = cache.read_facts(cache.prepare(folder)).fingerprint
    assert len(first) == 64
    assert at("copy", (0, 1, 2, 3)) == first
    others = [at("pixels", (0, 1, 2, 4)), at("labels", (1, 0, 2, 3)), at("names", (0, 1, 2, 3), classes="ac")]
    assert len({first, *others}) == 4


RACE = """
import json, sys, time
from pathlib import Path
from trainers.config import ImageFolder
from trainers.data import cache, sources

me, other, log, config = sys.argv[1:]

def decode(config, *rest):
    with open(log, "a") as file:
        file.write("decoded\\n")
    while not Path(other).exists():
        time.sleep(0.01)
    time.sleep(0.3)  # by now the other process waits at the lock
    return sources.decode(config, *rest)

cache.decode = decode
Path(me).touch()
print(cache.read_facts(cache.prepare(ImageFolder.model_validate_json(config))).fingerprint)
"""


@pytest.mark.system
def test_of_two_processes_that_come_at_once_one_decodes_and_both_get_the_images(folder, tmp_path):
    here, there, log = (tmp_path / name for name in ("here", "there", "log"))
    commands = [
        [sys.executable, "-c", RACE, str(me), str(other), str(log), folder.model_dump_json()]
        for me, other in ((here, there), (there, here))
    ]
    running = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for command in commands]
    printed = [process.communicate(timeout=60)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert log.read_text() == "decoded\n"
    assert printed == [cache.read_facts(cache.prepare(folder)).fingerprint] * 2


def test_a_process_that_dies_while_it_decodes_keeps_nobody_waiting(folder):
    script = """
import os, sys
from trainers.config import ImageFolder
from trainers.data import cache
cache.decode = lambda *_: (print("dying", flush=True), os._exit(0))
cache.prepare(ImageFolder.model_validate_json(sys.argv[1]))
"""
    assert in_fresh_process(script, folder.model_dump_json()) == "dying\n"
    assert cache.prepare(folder).exists()


def test_preparing_needs_no_torch(folder):
    script = """
import sys
from trainers.config import ImageFolder
from trainers.data.cache import prepare, read_facts
read_facts(prepare(ImageFolder.model_validate_json(sys.argv[1])))
print("torch" in sys.modules)
"""
    assert in_fresh_process(script, folder.model_dump_json()) == "False\n"


def test_the_file_tells_its_format_and_classes(folder):
    from safetensors import safe_open

    with safe_open(cache.prepare(folder), framework="numpy") as stored:
        facts = stored.metadata()
    assert facts["format"] == "mt-sweeps-images/5"
    assert json.loads(facts["classes"]) == ["a", "b"]
    assert json.loads(facts["skipped"]) == []


def fingerprint(folder: ImageFolder) -> str:
    return cache.read_facts(cache.prepare(folder)).fingerprint


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_decoded_again(folder):
    file = Path(folder.root) / "train/a/0.png"
    write_image(file, np.full((4, 4, 3), 5, np.uint8))
    first = fingerprint(folder)
    times, other = file.stat(), file.with_name("other.png")
    write_image(other, np.full((4, 4, 3), 4, np.uint8))
    assert other.stat().st_size == times.st_size
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(file)
    assert fingerprint(folder) != first


def test_a_folder_that_changes_while_it_is_decoded_is_refused_and_not_kept(folder, monkeypatch):
    def decode(config, *rest):
        contents = sources.decode(config, *rest)
        write_image(Path(folder.root) / "train/a/0.png", np.full((4, 4, 3), 99, np.uint8))
        return contents

    with monkeypatch.context() as patched:
        patched.setattr(cache, "decode", decode)
        with pytest.raises(DataError, match=r"its images changed while they were decoded; wait until nothing writes"):
            cache.prepare(folder)
    assert cache.read_facts(cache.prepare(folder)).shape == (4, 4, 3)


@pytest.mark.parametrize("damage", ["shorter", "longer", "other pixels", "missing", "torn facts", "empty facts"])
def test_a_prepared_file_that_is_damaged_is_prepared_again(folder, damage):
    file, first = cache.prepare(folder), fingerprint(folder)
    pixels = cache.pixels_of(file)
    content, facts = pixels.read_bytes(), file.read_bytes()
    if damage == "missing":
        pixels.unlink()
    elif "facts" in damage:
        file.write_bytes(facts[: len(facts) // 2] if damage == "torn facts" else b"")
    else:
        pixels.write_bytes({"shorter": content[:-1], "longer": content + b"0", "other pixels": content[::-1]}[damage])
    assert fingerprint(folder) == first
    assert pixels.read_bytes() == content


def test_the_facts_of_another_source_are_not_taken_for_these(folder):
    file = cache.prepare(folder)
    other = folder.model_copy(update={"image_size": 8})
    for prepared in (file, cache.pixels_of(file)):
        target = cache.prepare(other) if prepared == file else cache.pixels_of(cache.prepare(other))
        target.write_bytes(prepared.read_bytes())
    assert cache.read_facts(cache.prepare(other)).shape == (8, 8, 3)


def test_another_pillow_decodes_again_and_may_give_the_same_images(folder, monkeypatch):
    file, first = cache.prepare(folder), fingerprint(folder)
    monkeypatch.setattr(sources.PIL, "__version__", "0.0")
    assert cache.prepare(folder) != file
    assert fingerprint(folder) == first


def test_the_fingerprint_does_not_depend_on_how_the_images_are_prepared(folder):
    first = fingerprint(folder)
    broken = Path(folder.root) / "train/a/broken.png"
    broken.write_bytes(b"no image")
    assert fingerprint(folder.model_copy(update={"unreadable": "skip"})) == first
    broken.unlink()
    os.utime(Path(folder.root) / "train/a/0.png", (1, 1))
    assert fingerprint(folder) == first
    assert fingerprint(folder.model_copy(update={"groups": "/([ab]|0)"})) == first
