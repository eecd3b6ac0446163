"""A folder of images, the file that is made for it, and a sweep of that file as it is."""

import numpy as np
from ruamel.yaml import YAML

from tests.helpers.command_line import IN_PROCESS, as_json, mt_sweep
from tests.helpers.training import write_image


def test_a_folder_becomes_a_file_that_runs_as_it_is(tmp_path):
    rng = np.random.default_rng(0)
    files = [f"train/class-{number % 3}/{number}" for number in range(60)]
    for name in (*files, *(f"unlabeled/{number}" for number in range(60))):
        file = tmp_path / "images" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        stripes = np.arange(8)[:, None, None] % (2 + int(name.rsplit("/", 1)[1]) % 3) * 60
        write_image(file, (stripes + rng.integers(0, 60, (8, 8, 3))).astype(np.uint8))
    made = mt_sweep("init", "images", "--hours", 0.005, folder=tmp_path).stdout
    assert "written to images.yaml" in made
    assert "images.yaml: valid" in mt_sweep("validate", "images.yaml", folder=tmp_path).stdout
    spec = YAML(typ="safe").load(tmp_path / "images.yaml")
    # Fewer trials and seeds of the same file, so that the test is short.
    small = (
        "--trials",
        1,
        "--set",
        "finalists.top=1",
        "--set",
        "finalists.seeds=2",
        "--set",
        "trainer.steps=20",
        "--set",
        "budget.hours=1.0",
    )
    small += ("--set", "trainer.evaluate_every=10", "--set", "trainer.model.width=4")
    out = mt_sweep("run", "images.yaml", IN_PROCESS, *small, folder=tmp_path).stdout
    assert "verdict" in out
    status = as_json("status", folder=tmp_path)
    assert status["arms"]["search"]["failed"] == 0
    assert "labeled_batch_fraction" in spec["search_space"]
