"""The example of a plugin does what the trainer expects, and its search-space file is valid once it is imported."""

import re
from pathlib import Path

import numpy as np
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
    assert load_spec(FILE).sample_config().model.parameters == pytest.approx(2 * 8 * 33 + 160)


def test_without_the_plugin_the_file_is_refused_with_what_to_do():
    with pytest.raises(InputError) as error:
        load_spec(FILE)
    assert [problem.partition(": ")[2].partition(" is not")[0] for problem in error.value.problems] == [
        "trainer.dataset.name: 'stripes'",
        "trainer.model.name: 'patch_mixer'",
    ]
    assert all(
        problem.endswith("', or name the plugin that has it: --plugin MODULE") for problem in error.value.problems
    )


@pytest.mark.usefixtures("plugins")
def test_the_code_in_the_documentation_does_what_the_trainer_expects(tmp_path):
    from trainers.testing import check_dataset, check_model

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "plugins.md", "exec"), {"__name__": "documented"})
    check_model("tiny_net", image_size=8, width=4)
    pixels, labels = np.zeros((20, 8, 8, 3), np.uint8), np.arange(20) % 2
    np.savez(tmp_path / "cats.npz", train=pixels, train_labels=labels, test=pixels, test_labels=labels)
    check_dataset("my_set", file=str(tmp_path / "cats.npz"), labels=4, validation=10)
