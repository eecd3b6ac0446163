"""What a shell offers after TAB."""

import shutil
import subprocess

import pytest
from click.shell_completion import ShellComplete

from mt_sweeps.cli import cli, completion
from tests.helpers.command_line import MT_SWEEP


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MT_SWEEP_HOME", raising=False)


def sweep(path):
    path.mkdir(parents=True)
    (path / "spec.yaml").write_text("")


def completed(*words):
    """The values that a shell is given for the last of the words; a path that it completes itself ends in `*`."""
    *before, last = words
    found = ShellComplete(cli, {}, "mt-sweep", "_MT_SWEEP_COMPLETE").get_completions(before, last)
    return [item.value + "*" * (item.type == "file") for item in found]


def test_commands_are_completed():
    assert completed("st") == ["status", "stop"]


def test_sweeps_are_completed_from_the_home_that_is_named_or_the_usual_one(tmp_path, monkeypatch):
    sweep(tmp_path / "sweeps" / "digits")
    sweep(tmp_path / "other" / "photos")
    (tmp_path / "sweeps" / "no-sweep").mkdir()
    for command in ("status", "trials", "resume", "rm", "best", "copy", "show", "compare"):
        assert completed(command, "") == ["digits"], command
    assert completed("status", "x") == []
    assert completed("status", "--home", "other", "") == ["photos"]
    assert completed("compare", "digits", "d") == ["digits"]
    monkeypatch.setenv("MT_SWEEP_HOME", str(tmp_path / "other"))
    assert completed("status", "") == ["photos"]


def test_a_home_that_cannot_be_listed_offers_no_sweeps(monkeypatch):
    assert completed("status", "") == []
    for home in ("postgresql://somewhere/db", "~nobody-of-this-name/x", "\0"):
        assert completed("status", "--home", home, "") == []
    monkeypatch.setenv("MT_SWEEP_HOME", "postgresql://somewhere/db")
    assert completed("status", "") == []


def test_search_space_files_are_completed_also_a_folder_further_down(tmp_path):
    for file in ("a.yaml", "b.yml", "notes.txt", "spaces/c.yaml", "spaces/deep/d.yaml", ".hidden/e.yaml"):
        (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / file).write_text("")
    for command in ("run", "plan", "validate", "preview", "train", "doctor"):
        assert completed(command, "") == ["a.yaml", "b.yml", "spaces/c.yaml"], command
    assert completed("run", "sp") == ["spaces/c.yaml"]
    assert completed("run", "spaces/d") == ["spaces/deep/d.yaml"]
    assert completed("validate", "a.yaml", "b") == ["b.yml"]
    assert completed("run", f"{tmp_path}/a") == [f"{tmp_path}/a.yaml"]


def test_where_there_is_no_such_file_the_shell_completes_the_path():
    assert completed("run", "nowhere/x") == ["nowhere/x*"]
    assert completed("run", "\0") == ["\0*"]


def test_a_folder_of_very_many_files_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(completion, "_MOST_ENTRIES", 3)
    for number in range(5):
        (tmp_path / f"{number}.yaml").write_text("")
    assert len(completed("run", "")) == 3


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash: apt-get install bash")
def test_a_shell_understands_what_the_command_prints_for_it(tmp_path):
    sweep(tmp_path / "sweeps" / "digits")
    lines = [
        f'export PATH="{MT_SWEEP.parent}:$PATH"',
        'eval "$(mt-sweep --show-completion bash)"',
        "COMP_WORDS=(mt-sweep status d) COMP_CWORD=2",
        "_mt_sweep_completion mt-sweep",
        'echo "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout == "digits\n"


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_shell_that_is_offered_has_a_script(shell):
    assert "_MT_SWEEP_COMPLETE" in completion.script(shell)
