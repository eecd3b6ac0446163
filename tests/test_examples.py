"""The example of a plugin does what the trainer expects, and its search-space file is valid once it is imported."""

from pathlib import Path

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.plugins import import_plugins
from mt_sweeps.spec.load import load_spec
from tests.helpers.plugins import EXAMPLE, plugins  # noqa: F401 (a fixture)

FILE = Path(__file__).parents[1] / "examples" / "my_plugin.yaml"
ROOT = FILE.parents[1]


@pytest.fixture
def example(plugins, monkeypatch):  # noqa: ARG001, F811
    monkeypatch.chdir(ROOT)
    import_plugins([EXAMPLE], "--plugin")


@pytest.mark.usefixtures("example")
def test_the_network_and_the_data_set_do_what_the_trainer_expects():
    from trainers.testing import check_dataset, check_model

    check_model("patch_mixer", image_size=12, width=8, dropout=0.2)
    check_dataset("stripes", images=200, labels=20, validation=50)


@pytest.mark.usefixtures("example")
def test_the_file_is_valid_with_the_plugin():
    assert load_spec(FILE).sample_config().model.weights == pytest.approx(2 * 8 * 33 + 160)


def test_without_the_plugin_the_file_is_refused_with_what_to_do():
    with pytest.raises(InputError) as told:
        load_spec(FILE)
    assert [problem.partition(": ")[2].partition(" is not")[0] for problem in told.value.problems] == [
        "trainer.dataset.name: 'stripes'",
        "trainer.model.name: 'patch_mixer'",
    ]
    assert all(problem.endswith("; or name the plugin that has it: --plugin MODULE") for problem in told.value.problems)
