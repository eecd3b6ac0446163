"""What the README's commands install is what was tested."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
UV = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]


def test_uv_installs_the_versions_of_requirements_txt():
    requirements = (ROOT / "requirements.txt").read_text()
    pinned = re.findall(r"^([A-Za-z0-9].*?)(?: \\)?$", requirements, re.MULTILINE)
    assert len(pinned) > 100
    assert all("==" in pin for pin in pinned)
    assert pinned == UV["constraint-dependencies"], "run .ci/pin"


def test_the_first_command_installs_no_developers_tools():
    assert UV["default-groups"] == []


def test_a_registry_is_named_nowhere():
    for name in ("requirements.txt", "pyproject.toml"):
        assert not re.search(r"https?://|index-url", (ROOT / name).read_text()), name
