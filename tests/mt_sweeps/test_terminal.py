import io
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.terminal import can_redraw, fitted, printable
from mt_sweeps.terminal import print as print_safely
from tests.helpers.command_line import DIGITS
from tests.helpers.sweeps import Sweep


def test_control_characters_are_shown_and_lines_stay_lines():
    assert printable("a\x1b[2J\nb\r\x00é\u202e") == "a\\x1b[2J\nb\\r\\x00é\\u202e"
    assert printable("bad\udcff") == "bad\\udcff", "of a file's name that is no UTF-8"


def test_what_is_printed_is_printable(capsys):
    print_safely("a\x1b]0;owned\x07")
    assert capsys.readouterr().out == "a\\x1b]0;owned\\x07\n"


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_lines_break_between_words_on_a_narrow_terminal_alone(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    text = "  status  a  sentence that is long\nshort\n/a/path/that-is/longer-than/the/screen"
    assert fitted(text, io.StringIO()) == text
    assert fitted(text, Screen()).split("\n") == [
        "  status  a",
        "  sentence that is",
        "  long",
        "short",
        "/a/path/that-is/longer-than/the/screen",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "bad.yaml", "no\x1b[31m.yaml"],
        ["val\x1b[31m"],
        ["run", "bad.yaml", "--set", "\x1b[31m=1"],
        ["list", "--plugin", "\x1b[31m"],
    ],
)
def test_no_error_sends_an_escape_sequence_to_the_terminal(arguments, tmp_path):
    (tmp_path / "bad.yaml").write_text('"\\e[2J\\e[31mOWNED": 1\ntrainer: {"\\e[1m": "\\e[1m"}\nname: "\\e[1m"\n')
    script = f"import sys; sys.argv[1:] = {arguments!r}; from mt_sweeps.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "\x1b" in done.stderr + done.stdout) == (2, False)
    assert "\\x1b[" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_name_of_a_valid_file_is_shown_too(tmp_path):
    file = tmp_path / "my\x1b[31m.yaml"
    file.write_bytes(DIGITS.read_bytes())
    result = CliRunner().invoke(cli, ["validate", str(file)])
    assert result.exit_code == 0
    assert "my\\x1b[31m.yaml: valid" in result.output


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_only_a_terminal_that_is_no_cell_of_a_notebook_is_drawn_over(monkeypatch):
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as kernels and build servers set it
    assert can_redraw(Terminal()) and not can_redraw(io.StringIO())
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    assert not can_redraw(Terminal())
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert can_redraw(Terminal())
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert not can_redraw(Terminal())


@pytest.mark.parametrize("command", [["list"], ["status", "digits"]])
def test_the_reason_of_a_failed_sweep_sends_no_escape_sequence(command, tmp_path):
    sweep = Sweep(tmp_path, "finalists.baselines=[]", "finalists.top=0")
    for _ in range(3):
        sweep.ledger.fail(sweep.ledger.ask_search(), "error", "no file \x1b[2J", None)
    output = CliRunner().invoke(cli, [*command, "--home", str(sweep.home.path)]).output
    assert "no file \\x1b[2J" in output
    assert "\x1b" not in output
