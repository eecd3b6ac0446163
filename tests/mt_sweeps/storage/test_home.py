import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.storage.home import Home, LocalHome, command_line


def made(home, name):
    directory = home.new_sweep(None, name)
    directory.path.mkdir(parents=True)
    (directory.path / "spec.yaml").write_text("{}")
    return directory


def test_a_second_sweep_of_a_file_gets_a_number(tmp_path):
    home = LocalHome(tmp_path)
    assert [made(home, "digits").name for _ in range(3)] == ["digits", "digits-2", "digits-3"]


def test_an_explicit_name_that_exists_is_refused_with_the_way_to_resume(tmp_path):
    made(LocalHome(tmp_path), "mine")
    with pytest.raises(InputError, match="mt-sweep resume mine"):
        LocalHome(tmp_path).new_sweep("mine", "digits")


@pytest.mark.parametrize("name", ["../up", "a b", "", "artifacts", "trained", "-x"])
def test_a_name_that_is_no_plain_name_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="no plain name"):
        LocalHome(tmp_path).new_sweep(name, "digits")


def test_an_unknown_sweep_is_told_with_the_nearest(tmp_path):
    made(LocalHome(tmp_path), "digits")
    with pytest.raises(InputError, match="did you mean 'digits'"):
        LocalHome(tmp_path).sweep("digit")


def test_the_home_is_the_option_then_the_environment_then_a_folder_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert LocalHome().path == tmp_path / "sweeps"
    monkeypatch.setenv("MT_SWEEP_HOME", str(tmp_path / "elsewhere"))
    assert LocalHome().path == tmp_path / "elsewhere"
    assert LocalHome(tmp_path / "given").path == tmp_path / "given"


def test_a_command_is_shown_as_its_user_types_it(tmp_path, monkeypatch):
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.setenv("MT_SWEEP_HOME", str(tmp_path))
    assert command_line("resume", "digits", LocalHome()) == "mt-sweep resume digits"
    assert (
        command_line("dashboard", "", LocalHome(tmp_path / "other"))
        == f"mt-sweep dashboard --home {tmp_path / 'other'}"
    )
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert command_line("resume", "digits", LocalHome()) == "uv run mt-sweep resume digits"


def test_two_commands_that_start_at_once_get_two_directories(tmp_path, monkeypatch):
    first = LocalHome(tmp_path).create_sweep(None, "digits")
    answers = iter([first, LocalHome(tmp_path).new_sweep(None, "digits")])  # the first answer is out of date by now
    monkeypatch.setattr(Home, "new_sweep", lambda *_: next(answers))
    assert LocalHome(tmp_path).create_sweep(None, "digits").name == "digits-2"


def test_a_specification_of_another_version_is_refused(tmp_path):
    directory = made(LocalHome(tmp_path), "old")
    (directory.path / "spec.yaml").write_text("name: old\n")
    with pytest.raises(InputError, match="does not fit this version"):
        directory.load_spec()
