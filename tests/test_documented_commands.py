"""Every command that the documents show is one that the program takes."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from tests.helpers.command_line import IN_PROCESS, TINY, mt_sweep
from tests.helpers.markdown import blocks, inline_code

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
READING = ("list", "status", "trials", "show", "report", "best", "export", "copy", "inspect", "sync")


def _commands(text: str) -> list[list[str]]:
    """Return the arguments of each line of a block that calls mt-sweep."""
    lines = [line for block in blocks(text) for line in block.splitlines()]
    calls = [re.search(r"(?:^|[ !])mt-sweep ((?!COMMAND)[a-z-].*)", line) for line in lines if "Usage:" not in line]
    return [shlex.split(call[1], comments=True) for call in calls if call]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_a_block_is_parsed(page, monkeypatch):
    monkeypatch.setattr("mt_sweeps.plugins.load_plugins", lambda _: None)  # --plugin would import and register them
    for name, *arguments in _commands(page.read_text()):
        if name.startswith("-"):
            continue
        try:
            # With its parent: click remembers the options of --help as they are the first time.
            cli.commands[name].make_context(name, arguments, parent=click.Context(cli, **cli.context_settings))
        except click.exceptions.Exit:  # --help
            pass
        except click.ClickException as error:
            pytest.fail(f"mt-sweep {name} {' '.join(arguments)}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_a_sentence_gives_to_a_command_is_one(page):
    for code in inline_code(page.read_text()):
        if (call := re.match(r"(?:uv run )?!?mt-sweep ([a-z]+)(.*)", code)) and call[1] in cli.commands:
            known = {option for parameter in cli.commands[call[1]].params for option in parameter.opts} | {
                "--help",
                "-h",
            }
            assert set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", call[2])) <= known, code


def test_the_readme_shows_every_kind_of_command():
    shown = {name for name, *_ in _commands(README.read_text())}
    assert shown >= {"run", "init", "preview", "plan", "resume", "stop", "add", "end", "train", "predict", *READING}


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["list"], ["schema"], ["validate", str(ROOT / "search_spaces/digits.yaml")]],
    ids=" ".join,
)
def test_the_commands_that_need_no_sweep_run(arguments, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output


@pytest.mark.system
def test_the_commands_of_the_readme_that_read_a_sweep_run(tmp_path):
    (tmp_path / "search_spaces").symlink_to(ROOT / "search_spaces")
    mt_sweep("run", "search_spaces/digits.yaml", IN_PROCESS, *TINY, "--trials", 8, folder=tmp_path)
    for name, *arguments in _commands(README.read_text()):
        if name in READING:
            mt_sweep(name, *arguments, folder=tmp_path)
    assert {"best.yaml", "again.yaml"} <= {path.name for path in tmp_path.iterdir()}
