"""Real images through the real command: needs CIFAR-10 as JPEGs, which the project does not carry."""

import os
from pathlib import Path

import pytest

from tests.helpers.command_line import IMAGE_FOLDER, IN_PROCESS, as_json, mt_sweep

DATA = os.environ.get("MT_SWEEPS_TEST_DATA")


@pytest.mark.system
@pytest.mark.skipif(
    DATA is None, reason="needs images: set MT_SWEEPS_TEST_DATA to a folder with train/<class>/ and test/<class>/"
)
def test_a_sweep_over_a_folder_of_real_images_learns(tmp_path):
    source, images = Path(str(DATA)), tmp_path / "images"
    for part, count in (("train", 200), ("test", 20)):
        for folder in sorted((source / part).iterdir()):
            target = images / part / folder.name
            target.mkdir(parents=True)
            for file in sorted(folder.iterdir())[:count]:
                (target / file.name).symlink_to(file)
    settings = ("labels=500", "validation=300", "verdict=0", f"root={images}")
    sets = [argument for setting in settings for argument in ("--set", f"trainer.dataset.{setting}")]
    sets += [
        "--set",
        "finalists.top=1",
        "--set",
        "finalists.seeds=2",
        "--set",
        "finalists.baselines=[supervised]",
        "--set",
        "trainer.steps=60",
        "--set",
        "trainer.model.width=8",
        "--set",
        "trainer.batch_size=50",
    ]
    mt_sweep("run", IMAGE_FOLDER, IN_PROCESS, "--trials", 2, *sets, folder=tmp_path)
    status = as_json("status", folder=tmp_path)
    assert status["arms"]["search"]["failed"] == 0
    assert status["best"]["error"] < 0.85, "ten classes: guessing errs 90 %"
    mt_sweep("export", "my-images", "-o", "best.yaml", folder=tmp_path)
    assert "(standard error, 200 images)" in mt_sweep("train", "best.yaml", folder=tmp_path).stdout
