"""What a whole sweep says in the end: a gain where there is one, and nothing where there is none."""

import pytest

from mt_sweeps.execution.simulated_trainer import VARIABLE, Script, Task
from tests.helpers.command_line import DIGITS, IN_PROCESS, as_json, mt_sweep


def verdict(out):
    """The lines of the verdict, of the gain and of the cautions."""
    lines = out[out.index("\nverdict ") :].splitlines()
    return [line for line in lines if line.startswith(("verdict ", "   ", "gain ", "caution "))]


@pytest.mark.system
def test_on_the_digits_mean_teacher_beats_the_labeled_images_alone(tmp_path):
    alone = ("--set", "finalists.baselines=[supervised]", "--set", "pruner.name=none", "--set", "finalists.seeds=6")
    out = mt_sweep("run", DIGITS, IN_PROCESS, "--trials", 2, *alone, folder=tmp_path).stdout
    told = "\n".join(verdict(out))
    assert "trained again on fresh seeds and label draws, mean error [95 %] on 300 images that chose nothing" in told
    assert told.count("(6 seeds)") == 2
    best = f"trial {as_json('best', 'digits', folder=tmp_path)['trial']}"
    assert f"{best} beats supervised by " in told
    assert "\ngain       over the supervised baseline " in told
    assert " fewer errors" in told
    assert "not shown" not in told
    status = as_json("status", folder=tmp_path)
    assert status["state"] == "finished"
    assert status["arms"]["finalists"]["complete"] == status["arms"]["finalists"]["total"] == 12


def test_where_nothing_matters_nothing_can_be_told_apart(tmp_path, monkeypatch):
    # Whatever is searched, and with or without unlabeled images, one image in ten is got wrong. (One verdict in twenty
    # would say something; what these seeds say is the same each time, as long as the settings of a trial are.)
    equal = Task(floor=0.1, supervised=0.1, width=0.0, kl=0.0, burden=0.0)
    monkeypatch.setenv(VARIABLE, Script(task=equal).model_dump_json())
    top = ("--set", "finalists.top=3", "--set", "pruner.name=none")
    out = mt_sweep("run", DIGITS, IN_PROCESS, "--trials", 12, *top, folder=tmp_path).stdout
    told = verdict(out)
    assert sum("cannot be told apart: difference" in line for line in told) == 4
    assert " beats " not in out
    assert any(line.startswith("gain       over the supervised baseline not shown: ") for line in told)
    assert any(line.startswith("caution    300 images with labels select and only 50 train") for line in told)
