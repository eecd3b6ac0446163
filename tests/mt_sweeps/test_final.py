import json

import mlflow
import pytest

import trainers.mean_teacher
from mt_sweeps import export, final, records
from mt_sweeps.errors import SweepError
from mt_sweeps.home import Home
from mt_sweeps.tracking import embedded_uri
from tests.mt_sweeps.support import digits, new_ledger, report
from trainers import Trainer

TINY = ("trainer.steps=6", "trainer.evaluate_every=2", "trainer.model.width=4")


def exported(folder, *overrides):
    ledger = new_ledger(folder / "ledger.db", digits(*TINY, *overrides))
    best = ledger.complete(ledger.ask(), report(6, 0.1))
    environment = {"id": "abc", "data_fingerprint": "other", "versions": {}}
    file = folder / "best.yaml"
    file.write_text(export.text(export.best_file(ledger.spec, best, environment)))
    return file, export.read(file).trainer


def test_a_training_goes_on_from_its_checkpoint_and_is_never_repeated(tmp_path, capsys, monkeypatch):
    file, config = exported(tmp_path)
    home = Home(tmp_path / "home")
    with pytest.MonkeyPatch.context() as patch:  # interrupted after its first evaluation
        patch.setattr(records, "recorded", lambda trainer, _: interrupted_after(next(trainer.run())))
        with pytest.raises(KeyboardInterrupt):
            final.train(file, home)
    assert "the same command goes on" in capsys.readouterr().out

    final.train(file, home)
    out = capsys.readouterr().out
    assert "these are not the images of the sweep" in out
    (directory,) = home.trained.iterdir()
    assert [one.step for one in records.read(directory)] == [2, 4, 6]
    result = json.loads((directory / final.RESULT).read_text())["test"]
    whole = Trainer(config)
    list(whole.run())
    assert {name: error["error"] for name, error in result.items()} == {n: e.rate for n, e in whole.test().items()}
    left = {file.name for file in directory.iterdir()}
    assert left == {"model.safetensors", "records.jsonl", "result.json", "train.lock"}

    monkeypatch.setattr(trainers.mean_teacher, "Trainer", None)  # whoever trains again fails
    final.train(file, home)
    assert "the test set is read once" in capsys.readouterr().out
    runs = mlflow.MlflowClient(embedded_uri(home)).search_runs(["1"])
    assert [run.info.status for run in runs] == ["FINISHED"]


def interrupted_after(first):
    yield first
    raise KeyboardInterrupt


def test_a_training_that_diverges_is_told_with_its_reason(tmp_path):
    file, _ = exported(tmp_path, "trainer.optimizer.learning_rate=1.0e+30")
    with pytest.raises(SweepError, match="diverged"):
        final.train(file, Home(tmp_path / "home"))
