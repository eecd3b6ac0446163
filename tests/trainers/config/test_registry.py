import json
from typing import Literal

import pytest
from pydantic import ValidationError

from tests.helpers.plugins import Squares, Tiny, plugins, squares, tiny  # noqa: F401 (a fixture)
from tests.helpers.training import config
from trainers import DatasetSettings, ModelSettings, TrainerConfig, register_dataset, register_model
from trainers.config import ConvLarge
from trainers.config.plugins import DATASETS, MODELS, missing_plugins, plugins_of

pytestmark = pytest.mark.usefixtures("plugins")

SQUARES = {"name": "squares", "labels": 4, "validation": 10, "sizes": [8, 9]}


def both():
    register_model(Tiny)(tiny)
    register_dataset(Squares)(squares)


def test_registered_names_validate_like_the_own_ones_and_survive_json():
    both()
    settings = config(model={"name": "tiny", "width": 3}, dataset=SQUARES)
    assert settings.model == Tiny(name="tiny", width=3)
    assert settings.dataset == Squares.model_validate(SQUARES)
    assert TrainerConfig.model_validate_json(settings.model_dump_json()) == settings
    assert TrainerConfig.model_validate(settings.model_dump()) == settings
    assert config(model=settings.model).model is settings.model
    assert hash(settings.dataset) == hash(settings.dataset.model_copy())
    assert config(model={"name": "conv_large"}, dataset=SQUARES | {"sizes": []}).model == ConvLarge(name="conv_large")


@pytest.mark.parametrize("settings", [{"name": "tiny", "widht": 3}, {"name": "tiny", "width": "3"}])
@pytest.mark.parametrize("is_json", [False, True])
def test_unknown_keys_and_wrong_types_of_a_plugin_are_refused_as_everywhere(settings, is_json):
    both()
    whole = {"dataset": SQUARES, "steps": 10, "batch_size": 4, "model": settings}
    with pytest.raises(ValidationError) as error:
        TrainerConfig.model_validate_json(json.dumps(whole)) if is_json else TrainerConfig.model_validate(whole)
    (problem,) = error.value.errors()
    assert problem["loc"] == ("model", "tiny", "widht" if "widht" in settings else "width")


def test_an_unknown_name_is_refused_with_all_names_that_are_known():
    for known in ("'small_cnn', 'conv_large'", "'small_cnn', 'conv_large'.*'tiny', 'tinier'"):
        with pytest.raises(ValidationError, match=f"Input tag 'tinyy'.*expected tags: {known}"):
            config(model={"name": "tinyy"})
        both()


def test_a_class_that_was_not_registered_is_refused():
    with pytest.raises(ValidationError, match="Input tag 'tiny' found"):
        config(model=Tiny(name="tiny"))


def test_the_json_schema_has_the_own_kinds_and_the_registered_ones():
    own = TrainerConfig.model_json_schema()
    both()
    schema = TrainerConfig.model_json_schema()
    own_kinds, kinds = (one["properties"]["model"]["discriminator"]["mapping"] for one in (own, schema))
    assert kinds == own_kinds | {"tiny": "#/$defs/Tiny", "tinier": "#/$defs/Tiny"}
    assert schema["$defs"]["Tiny"]["properties"]["width"] == {"default": 4, "title": "Width", "type": "integer"}
    assert {key: value for key, value in schema["$defs"].items() if key in own["$defs"]} == own["$defs"]


def test_a_registered_kind_is_dumped_whole_and_in_part():
    both()
    settings = config(model={"name": "tiny"}, dataset=SQUARES)
    assert settings.model_dump(exclude={"dataset"}, exclude_none=True)["model"] == {"name": "tiny", "width": 4}
    assert settings.model_dump(exclude={"model": {"width"}})["model"] == {"name": "tiny"}
    assert settings.model_dump()["dataset"]["sizes"] == [8, 9]


def test_a_name_is_registered_once_but_the_same_function_again():
    register_model(Tiny)(tiny)
    register_model(Tiny)(tiny)
    with pytest.raises(
        ValueError, match=r"squares: there is a model 'tiny' already, of tests.helpers.plugins.tiny; choose"
    ):
        register_model(Tiny)(squares)

    class Taken(DatasetSettings):
        name: Literal["svhn"]

    with pytest.raises(ValueError, match="there is a dataset 'svhn' already, of mt-sweeps itself; choose another name"):
        register_dataset(Taken)(squares)


def test_settings_that_cannot_be_registered_are_refused_with_what_is_expected():
    class Nameless(ModelSettings):
        width: int = 1

    class Path(ModelSettings):
        name: Literal["../up"]

    for wrong in (Squares, ModelSettings, "tiny", tiny):
        with pytest.raises(TypeError, match=r"with a class of settings that derives from trainers.ModelSettings"):
            register_model(wrong)(tiny)
    with pytest.raises(TypeError, match=r'Nameless: write the name as a field: name: Literal\["my_model"\]'):
        register_model(Nameless)(tiny)
    with pytest.raises(ValueError, match=r"Path: '../up' is no plain name"):
        register_model(Path)(tiny)


def test_a_run_knows_its_plugins_and_what_is_missing():
    both()
    assert plugins_of(config()) == []
    assert plugins_of(config(model={"name": "tinier"}, dataset=SQUARES)) == [
        MODELS.get("tiny"),
        DATASETS.get("squares"),
    ]
    assert MODELS.get("tiny").module == "tests.helpers.plugins"
    assert len(MODELS.get("tiny").code) == 16
    assert missing_plugins(["other", "tests.helpers.plugins"]) == ["other"]
