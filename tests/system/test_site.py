"""The documentation as a site: every link and anchor resolves, and a reader fetches nothing from elsewhere."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "docs" / "site" / "mkdocs.yml"
CHROMIUM = shutil.which("chromium")


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


def test_everything_that_a_page_loads_is_there(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r"""<(?:script|link|img)[^>]*\s(?:src|href)=["']?([^"' >#?]+)""", page.read_text())
        assert any(path.endswith(".css") for path in loaded)
        assert not [path for path in loaded if not (page.parent / path).exists() and page.name != "404.html"], page


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_a_reader_fetches_nothing_from_elsewhere(site):
    fetched: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: fetched.append(request.url))
        for name in ("index.html", "docs/search-spaces.html", "docs/mlflow.html"):
            page.goto((site / name).as_uri(), wait_until="networkidle")
        browser.close()
    assert fetched
    assert not [url for url in fetched if not url.startswith((site.as_uri(), "data:"))]
