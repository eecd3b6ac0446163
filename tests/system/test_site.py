"""The documentation as a site: every link and anchor resolves, and a reader fetches nothing from elsewhere."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "docs" / "site" / "mkdocs.yml"
FETCHED = re.compile(
    r"""<(?:script|link|img|iframe)[^>]*\s(?:src|href)=["']?(?:https?:)?//|(?:url\(|@import\s+)["']?(?:https?:)?//"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed; install it with: uv sync --inexact --group docs")
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        CONFIGURATION,
        "--site-dir",
        folder,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_built(site):
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    documents = {path.relative_to(ROOT).with_suffix(".html").as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert documents | {"index.html", "docs/decisions/index.html", "benchmarks/results/index.html"} <= pages


def test_a_reader_fetches_nothing_from_elsewhere(site):
    files = [path for kind in ("*.html", "*.css") for path in site.rglob(kind)]
    assert files
    assert not [path.name for path in files if FETCHED.search(path.read_text())]
