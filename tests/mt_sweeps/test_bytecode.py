import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mt_sweeps import bytecode


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library in a folder of its own, in torch's place."""
    (tmp_path / "torch.py").write_text("")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / f"{name}.py")))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return tmp_path


@pytest.mark.usefixtures("library")
def test_the_first_start_says_why_it_takes_so_long():
    assert bytecode.note().startswith("first start here: Python compiles the libraries, once")


def test_nothing_is_said_when_they_are_compiled(library):
    (library / "__pycache__").mkdir()
    Path(importlib.util.cache_from_source(str(library / "torch.py"))).touch()
    assert bytecode.note() is None


def test_where_python_may_not_store_what_it_compiles_this_is_said(library, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert f"may not store what it compiles in {library / '__pycache__'}" in bytecode.note()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert "PYTHONDONTWRITEBYTECODE keeps Python from storing" in bytecode.note()


def test_without_the_library_there_is_nothing_to_say(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert bytecode.note() is None
