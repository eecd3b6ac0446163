import os
from pathlib import Path

import pytest

from tests.helpers.training import config, results
from trainers import Trainer

DATA = os.environ.get("MT_SWEEPS_TEST_DATA")


@pytest.mark.system
@pytest.mark.skipif(
    DATA is None, reason="needs images: set MT_SWEEPS_TEST_DATA to a folder with train/<class>/ and test/<class>/"
)
def test_a_folder_of_photographs_trains(tmp_path):
    # Some of each class: decoding all of CIFAR-10 takes half a minute.
    for part, images in (("train", 30), ("test", 5)):
        for folder in sorted((Path(DATA) / part).iterdir()):
            (tmp_path / part / folder.name).mkdir(parents=True)
            for file in sorted(folder.iterdir())[:images]:
                (tmp_path / part / folder.name / file.name).symlink_to(file.resolve())
    dataset = {"name": "image_folder", "root": str(tmp_path), "labels": 50, "validation": 50, "verdict": 50}
    trainer = Trainer(config(dataset=dataset, steps=10, evaluate_every=5, augmentation={"translate": 4, "flip": True}))
    for _ in trainer.run():
        pass
    classes = sorted(folder.name for folder in (Path(DATA) / "train").iterdir())
    assert trainer.classes == classes
    assert [report["step"] for report in results(trainer)] == [5, 10]
    assert trainer.test()["teacher"].n == 5 * len(classes)
