"""What the documents say is there is there."""

import re
from pathlib import Path

from mt_sweeps.cli import cli
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.spec.validation_errors import dotted_keys
from trainers import TrainerConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_every_setting_is_documented_and_no_other():
    documented = set(re.findall(r"^\| `([a-z0-9_.]+)`", (ROOT / "docs" / "search-spaces.md").read_text(), re.MULTILINE))
    types = {"float", "int", "categorical"}
    assert documented == set(dotted_keys(TrainerConfig)) | set(SweepSpec.model_fields) | types


def test_every_command_that_the_documents_name_exists():
    named = set()
    for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "search_spaces").glob("*.yaml")):
        named |= set(re.findall(r"mt-sweep ([a-z]+)", file.read_text()))
    assert named <= cli.commands.keys()
    assert {"run", "validate", "best", "export", "train", "dashboard", "list", "status"} <= named


def test_every_link_of_the_readme_leads_somewhere():
    for target in re.findall(r"\]\(((?!https?:)[^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_python_of_the_readme_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code.replace("steps=300", "steps=3"), "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 3
