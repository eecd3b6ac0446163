"""The code that goes into a registered model."""

import importlib

from mt_sweeps.tracking.model_registry import _code_to_copy


def test_of_a_folder_without_init_the_modules_that_are_imported_are_copied(tmp_path, monkeypatch):
    package = tmp_path / "loose" / "deep"
    package.mkdir(parents=True)
    (package / "plugin.py").write_text("from loose.deep.sub import helper\n")
    (package / "sub").mkdir()
    (package / "sub" / "__init__.py").write_text("from loose.beside import helper\n")
    (tmp_path / "loose" / "beside.py").write_text("helper = 1\n")
    (tmp_path / "loose" / "letters.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("loose.deep.plugin")
    copied = _code_to_copy("loose.deep.plugin", tmp_path / "copy")
    files = {str(path.relative_to(copied)) for path in copied.rglob("*.py")}
    assert files == {"beside.py", "deep/plugin.py", "deep/sub/__init__.py"}
