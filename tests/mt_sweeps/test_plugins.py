import importlib.metadata
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.errors import InputError
from mt_sweeps.plugins import (
    VARIABLE,
    changed_plugins,
    check_plugins,
    import_plugins,
    load_plugins,
    modules_in,
    plugin_code,
    plugin_options,
    run_versions,
)
from mt_sweeps.versions import versions
from tests.helpers.command_line import DIGITS
from tests.helpers.plugins import plugins, write_plugin  # noqa: F401 (a fixture)
from tests.helpers.sweeps import digits
from tests.helpers.training import config
from trainers.config.plugins import MODELS


@pytest.fixture(autouse=True)
def _folder(plugins, tmp_path, monkeypatch):  # noqa: ARG001, F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)


class EntryPoint:
    name, module = "nets", "by_entry_point"

    class dist:  # noqa: N801 (as importlib has it)
        name = "their-package"


def test_modules_are_named_by_option_variable_and_entry_point(tmp_path, monkeypatch):
    for name in ("option", "variable", "second", "entry_point", "not_named"):
        write_plugin(tmp_path, f"by_{name}", name)
    monkeypatch.setenv(VARIABLE, " by_variable, by_second,")
    points = {"mt_sweeps.plugins": [EntryPoint]}
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points[group])
    load_plugins(["by_option"])
    load_plugins(["by_option"])
    assert set(MODELS.plugins) == {"option", "variable", "second", "entry_point"}
    used = run_versions([config(model={"name": name}) for name in ("variable", "option", "entry_point")])
    assert modules_in(used) == ["by_entry_point", "by_option", "by_variable"]
    assert plugin_options(used) == ["--plugin=by_option"], "the variable and the package name the others again"


def test_the_code_of_a_plugin_is_among_the_versions_of_the_runs_that_use_it(tmp_path):
    write_plugin(tmp_path, "ours_one")
    import_plugins(["ours_one"], "--plugin")
    assert run_versions([config()]) == versions()
    ours = config(model={"name": "written"})
    assert plugin_code(ours) == {"ours_one": MODELS.get("written").code}
    found = run_versions([config(), ours])
    assert found == versions() | {"plugin ours_one": MODELS.get("written").code}
    assert changed_plugins(found, found) == []
    assert changed_plugins(found | {"plugin ours_one": "before"}, found) == ["ours_one"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"--plugin broken: cannot be imported on this machine \(ModuleNotFoundError.*\); install it, start in"),
        ("import nowhere_to_be_found", r"\(ModuleNotFoundError: No module named 'nowhere_to_be_found'\); correct it"),
        ("1 / 0", r"cannot be imported on this machine \(ZeroDivisionError: division by zero\); correct it"),
        ("raise SystemExit(3)", r"cannot be imported on this machine \(SystemExit: 3\); correct it"),
        ("x = 1", r"--plugin broken: registers nothing \(.*broken.py\); decorate a function with trainers.register_m"),
    ],
)
def test_a_module_that_cannot_be_used_is_named_with_the_reason(tmp_path, content, message):
    if content is not None:
        (tmp_path / "broken.py").write_text(content)
    with pytest.raises(InputError, match=message):
        load_plugins(["broken"])
    sys.modules.pop("broken", None)


def test_a_name_that_is_taken_is_named_with_its_owner(tmp_path):
    write_plugin(tmp_path, "takes_own", "small_cnn")
    with pytest.raises(InputError, match="there is a model 'small_cnn' already, of mt-sweeps itself; choose another"):
        load_plugins(["takes_own"])
    for module in ("first_one", "second_one"):
        write_plugin(tmp_path, module, "both")
    with pytest.raises(InputError, match=r"second_one.network: there is a model 'both' already, of first_one.network"):
        load_plugins(["first_one", "second_one"])


def test_a_file_is_answered_with_the_name_of_its_module():
    with pytest.raises(
        InputError, match=r"--plugin examples/my_plugin.py: is no name of a module; .* examples.my_plugin"
    ):
        load_plugins(["examples/my_plugin.py"])


def test_what_is_recorded_is_asked_for_and_never_imported(tmp_path):
    write_plugin(tmp_path, "recorded")
    with pytest.raises(InputError, match=r"digits: needs recorded, .*: --plugin recorded, or MT_SWEEP_PLUGINS=rec"):
        check_plugins("digits", {"python": "3", "plugin recorded": "0123"})
    assert "recorded" not in sys.modules
    import_plugins(["recorded"], "--plugin")
    check_plugins("digits", {"python": "3", "plugin recorded": "0123"})


def test_no_key_of_a_search_space_file_imports_anything(tmp_path):
    write_plugin(tmp_path, "sneaky")
    text = DIGITS.read_text()
    for line in ("plugin: sneaky", "plugins: [sneaky]", "MT_SWEEP_PLUGINS: sneaky"):
        (tmp_path / "space.yaml").write_text(f"{text}\n{line}\n")
        result = CliRunner().invoke(cli, ["validate", "space.yaml"])
        assert isinstance(result.exception, InputError)
    for name in ("sneaky", "sneaky.Settings", "sneaky:network"):
        result = CliRunner().invoke(cli, ["plan", str(DIGITS), "--set", f"trainer.model.name={name}"])
        assert f"{name!r} is not allowed" in str(result.exception)
    assert "sneaky" not in sys.modules


def test_help_and_completion_import_no_plugin(tmp_path):
    (tmp_path / "loud.py").write_text("raise SystemExit('imported')")
    for arguments in (["run", "--plugin", "loud", "--help"], ["--help"]):
        result = CliRunner().invoke(cli, arguments, env={VARIABLE: "loud"})
        assert (result.exit_code, "Usage: " in result.output) == (0, True)


def test_keys_of_a_plugin_are_searched_and_known_once_it_is_imported(tmp_path):
    write_plugin(tmp_path, "ours_three", "three")
    overrides = (
        "trainer.model={name: three}",
        "search_space={model.blocks: {type: int, low: 1, high: 2}}",
        "points=[]",
    )
    with pytest.raises(InputError) as error:
        digits(*overrides)
    assert "trainer.model.name: 'three' is not allowed" in error.value.problems[0]
    assert "search_space.model.blocks: unknown key" in error.value.problems[1]
    import_plugins(["ours_three"], "--plugin")
    assert digits(*overrides).sample_config().model.blocks == 1
    with pytest.raises(InputError, match=r"trainer.model.name: 'thre' is not allowed.*; did you mean 'three'\?"):
        digits("trainer.model={name: thre}")


@pytest.mark.system
def test_a_misspelt_key_of_a_plugin_is_told_as_that_of_an_own_network(tmp_path):
    write_plugin(tmp_path, "ours_two")
    file = tmp_path / "space.yaml"
    file.write_text(DIGITS.read_text().replace("{name: small_cnn, width: 16}", "{name: written, blokcs: 2}"))
    command = [f"{sys.prefix}/bin/mt-sweep", "validate", "space.yaml", "--plugin", "ours_two"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert done.stderr == (
        "error: space.yaml: trainer.model.blokcs: unknown key; did you mean 'blocks'? Known: blocks, name\n"
    )
