"""The schema describes what the files may say, as far as it can be said of one value at a time."""

import json

import jsonschema
import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.schema import file_schema
from tests.helpers.command_line import DIGITS, REPOSITORY

SHIPPED = sorted((REPOSITORY / "search_spaces").glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(file_schema())


def problems(content):
    return [error.json_path for error in VALIDATOR.iter_errors(content)]


def test_it_is_a_schema_and_the_one_beside_the_shipped_files():
    jsonschema.Draft202012Validator.check_schema(file_schema())
    written = json.loads((REPOSITORY / "search_spaces" / "schema.json").read_text())
    assert written == file_schema(), "write it again with: uv run mt-sweep schema --force -o search_spaces/schema.json"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_files_name_it_and_follow_it(file):
    assert file.read_text().splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    assert problems(yaml_file.read(file)) == []


@pytest.mark.parametrize(
    ("place", "value", "where"),
    [
        ("trainer", {"steps": "many"}, "$.trainer.steps"),
        ("trainer", {"epochs": 3}, "$.trainer"),
        ("trainer", {"model": {"name": "small_cnn", "wdith": 3}}, "$.trainer.model"),
        ("trainer", {"optimizer": {"learning_rate": -1.0}}, "$.trainer.optimizer"),
        ("trainer", {"recipe": "nowhere"}, "$.trainer.recipe"),
        ("sampler", {"name": "bayes"}, "$.sampler.name"),
        ("search_space", {"ema.decay": {"type": "float", "low": 0.9}}, "$.search_space['ema.decay']"),
        ("trails", 3, "$"),
    ],
)
def test_mistakes_are_marked_where_they_are(place, value, where):
    content = yaml_file.read(DIGITS)
    content[place] = content.get(place, {}) | value if isinstance(value, dict) else value
    assert problems(content) == [where]


def test_what_is_searched_or_comes_from_a_recipe_need_not_be_set():
    entry = {"type": "float", "low": 0.1, "high": 0.9}
    assert problems({"trainer": {"recipe": "wrn_cifar10_4000"}, "search_space": {"ema.decay": entry}}) == []


def test_keys_are_completed_with_what_they_mean():
    keys = file_schema()["properties"]["search_space"]["properties"]
    assert "pixels per side" in keys["augmentation.crop"]["description"]
    assert {"ema.decay", "optimizer.learning_rate", "model.width"} <= keys.keys()
    assert not {key for key in keys if key.startswith("dataset.")} | {"method", "device", "verdict"} & keys.keys()


def test_the_command_writes_it_and_says_how_a_file_names_it(tmp_path):
    result = CliRunner().invoke(cli, ["schema", "-o", str(tmp_path / "schema.json")])
    assert f"# yaml-language-server: $schema={tmp_path / 'schema.json'}" in result.output
    assert json.loads((tmp_path / "schema.json").read_text()) == file_schema()
    assert json.loads(CliRunner().invoke(cli, ["schema"]).output) == file_schema()


def test_the_command_replaces_a_file_only_by_force(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text("{}")
    result = CliRunner().invoke(cli, ["schema", "-o", str(file)])
    assert "is there already; choose another name with -o, or add --force" in str(result.exception)
    assert file.read_text() == "{}"
    assert CliRunner().invoke(cli, ["schema", "--force", "-o", str(file)]).exit_code == 0
    assert json.loads(file.read_text()) == file_schema()
