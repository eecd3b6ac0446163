"""The help: every command in a section with an example, and nothing cut."""

import re
import shlex

import click
import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.cli.sections import SECTIONS

EXAMPLES = {name: example for commands in SECTIONS.values() for name, example in commands.items()}


def shown(*arguments, width):
    result = CliRunner().invoke(cli, [*arguments, "--help"], prog_name="mt-sweep", terminal_width=width)
    assert result.exit_code == 0
    return result.output


def test_every_command_is_in_one_section():
    assert sorted(name for commands in SECTIONS.values() for name in commands) == sorted(cli.commands)


@pytest.mark.parametrize("width", [60, 80, 160])
def test_the_help_shows_all_sections_with_an_example_and_cuts_no_sentence(width):
    text = shown(width=width)
    assert [title for title in re.findall(r"^(\S.*):$", text, re.MULTILINE) if title != "Options"] == list(SECTIONS)
    assert text.count("\n  Example: mt-sweep ") == len(SECTIONS)
    assert "..." not in text.replace("[ARGS]...", "")
    words = " ".join(text.split())
    for name, command in cli.commands.items():
        sentence = command.help.partition(". ")[0].partition("\n")[0].rstrip(".")
        assert f"{name} {sentence}" in words


def test_in_80_columns_a_command_is_a_line():
    lines = shown(width=80).splitlines()
    assert max(map(len, lines)) <= 80
    commands = lines[next(i for i, line in enumerate(lines) if line == f"{next(iter(SECTIONS))}:") :]
    assert len(commands) == len(cli.commands) + 3 * len(SECTIONS) - 1  # its title, its example, an empty line


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_example_of_a_command_is_on_a_line_of_its_help_and_is_valid(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"  Example: {EXAMPLES[name]}\n" in shown(name, width=80)
    _, command, *arguments = shlex.split(EXAMPLES[name])
    assert command == name
    with cli.commands[name].make_context(name, arguments, parent=click.Context(cli)):
        pass
