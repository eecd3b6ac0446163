"""Give each page of the site its path in the repository, so that the same relative links work in both."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = ("*.md", "docs/*.md", "docs/decisions/*.md", "benchmarks/results/*.md")
LINKED_FILES = (
    "LICENSE",
    "justfile",
    "docs/images/*",
    "examples/*",
    "search_spaces/*.yaml",
    "benchmarks/results/*.json",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the files of the theme, the pages, and the files that they link to."""
    of_theme = [file for file in files if file.src_dir != config.docs_dir]
    paths = sorted({path for pattern in PAGES + LINKED_FILES for path in ROOT.glob(pattern) if path.is_file()})
    own = [File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)) for path in paths]
    return Files([*of_theme, *own])
