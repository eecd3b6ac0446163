# Short names for what developers type: `just test`. Without arguments: the list.

_list:
    @just --list

# format, and correct what can be corrected
fix:
    uv run --group dev ruff check --fix . && uv run --group dev ruff format .

# names, style, formatting
lint:
    uv run --group dev ruff check . && uv run --group dev ruff format --check .

# mypy, strict
types:
    uv run --group dev mypy

# imports run downwards
imports:
    uv run --group dev lint-imports

# the unit tests
test *args:
    uv run --group dev pytest -m "not system" {{args}}

# all tests: whole sweeps and real servers too
test-all *args:
    uv run --group dev pytest {{args}}

# write docs/commands.md again
docs:
    uv run --group dev python docs/commands.py

# build the documentation as a site
site:
    uv run --group docs mkdocs build --strict --config-file docs/site/mkdocs.yml

# pin what pyproject.toml newly asks for; --upgrade: the newest versions that it allows
pin *args:
    uv run --group dev python .ci/pin {{args}}
