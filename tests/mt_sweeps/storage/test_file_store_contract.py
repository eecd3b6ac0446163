"""What every store of files promises, whatever it keeps them in."""

import threading

import pytest

from mt_sweeps.storage.file_store import open_files


@pytest.fixture
def files(location):
    return open_files(location)


def test_what_was_never_written_is_no_error(files):
    assert files.read("a/b") is None
    assert files.names("") == []
    assert files.names("a") == []
    files.delete("a/b")
    files.copy("a/b", "a/c")
    assert files.names("") == []
    files.delete_all()


def test_a_file_is_created_with_its_folder_and_replaced(files):
    files.write("a/b/c", b"one")
    files.write("a/b/c", b"")
    assert files.read("a/b/c") == b""
    files.write("a/b/c", b"three")
    assert files.read("a/b/c") == b"three"
    assert files.names("") == ["a/b/c"]


def test_everybody_who_opens_the_location_has_the_same_files(files, location):
    files.write("a", b"one")
    again = open_files(f"{location}/")
    assert again.location == files.location == location
    assert again.read("a") == b"one"


def test_names_are_relative_to_the_path_with_forward_slashes(files):
    for path in ("a/b", "a/c/d", "ab/e"):
        files.write(path, b"content")
    assert sorted(files.names("a")) == ["b", "c/d"]
    assert files.names("a/c") == ["d"]
    assert sorted(files.names("")) == ["a/b", "a/c/d", "ab/e"]


def test_only_the_file_that_is_deleted_is_gone(files):
    for path in ("a/b", "a/bc", "a/c"):
        files.write(path, b"content")
    files.delete("a/b")
    files.delete("a/b")
    assert files.read("a/b") is None
    assert sorted(files.names("a")) == ["bc", "c"]


def test_all_that_is_deleted_are_the_files_of_this_location(files, location):
    beside = open_files(f"{location}-2")
    beside.write("a", b"stays")
    files.write("a", b"goes")
    files.write("b/c", b"goes")
    files.delete_all()
    assert files.names("") == []
    assert beside.read("a") == b"stays"
    files.write("a", b"new")
    assert files.read("a") == b"new"


def test_a_copy_replaces_its_target_and_leaves_its_source(files):
    files.write("a", b"one")
    files.write("b/c", b"two")
    files.copy("a", "b/c")
    assert (files.read("a"), files.read("b/c")) == (b"one", b"one")


def test_a_file_that_is_being_replaced_is_read_whole(files):
    def content(number):
        return bytes([number]) * (300_000 + 10_000 * number)  # more than a client reads at a time

    files.write("file", content(0))
    is_done = threading.Event()

    def replace():
        for number in range(1, 11):
            files.write("file", content(number))
        is_done.set()

    thread = threading.Thread(target=replace)
    thread.start()
    while not is_done.is_set():
        read = files.read("file")
        assert read == content(read[0])
    thread.join()


def test_a_folder_is_only_there_for_files_on_this_machine(files):
    files.write("a", b"one")
    assert files.folder is None or (files.folder / "a").read_bytes() == b"one"
