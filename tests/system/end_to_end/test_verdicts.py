"""What a whole sweep says in the end where there is no gain. Where there is one: the quick start, in `.ci/run`."""

from mt_sweeps.execution.simulated_trainer import VARIABLE, Script, Task
from tests.helpers.command_line import DIGITS, IN_PROCESS, mt_sweep


def verdict(out):
    """The lines of the verdict, of the gain and of the cautions."""
    lines = out[out.index("\nverdict ") :].splitlines()
    return [line for line in lines if line.startswith(("verdict ", "   ", "gain ", "caution "))]


def test_where_nothing_matters_nothing_can_be_told_apart(tmp_path, monkeypatch):
    # Whatever is searched, and with or without unlabeled images, one image in ten is got wrong. (One verdict in twenty
    # would say something; what these seeds say is the same each time, as long as the settings of a trial are.)
    equal = Task(floor=0.1, supervised=0.1, width=0.0, kl=0.0, burden=0.0)
    monkeypatch.setenv(VARIABLE, Script(task=equal).model_dump_json())
    top = ("--set", "finalists.top=3", "--set", "pruner.name=none")
    out = mt_sweep("run", DIGITS, IN_PROCESS, "--trials", 12, *top, folder=tmp_path).stdout
    told = verdict(out)
    assert sum("cannot be told apart: " in line for line in told) == 4
    assert " beats " not in out
    assert any(line.startswith("gain       over the supervised baseline not shown: ") for line in told)
    assert any(line.startswith("caution    300 images with labels select and only 50 train") for line in told)
