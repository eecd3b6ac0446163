"""The notebook of examples/ runs as it is, and what sweeps print in a notebook are plain lines."""

import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from tests.helpers.command_line import IN_PROCESS, MT_SWEEP, REPOSITORY, TINY

NOTEBOOK = REPOSITORY / "examples" / "quick_start.ipynb"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder beside search_spaces, as examples/ is; and a kernel of this Python, whatever others are installed."""
    (tmp_path / "search_spaces").symlink_to(REPOSITORY / "search_spaces")
    (tmp_path / "examples").mkdir()
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    return tmp_path / "examples"


def executed(notebook, folder):
    """Run the cells; an error of one fails the test."""
    NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def printed(outputs):
    """What a cell printed; nothing but lines: no table that is redrawn, no bar, no picture."""
    assert {output.output_type for output in outputs} == {"stream"}
    text = "".join(output.text for output in outputs).replace("\r\n", "\n").removesuffix("\x1b[0m")  # IPython's own
    assert not set(text) & {"\x1b", "\r", "\x08"}
    return text


def test_the_notebook_shows_trials_best_verdict_and_a_figure(folder):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in notebook.cells if "outputs" in cell)
    run, sweep, trials, best, verdict, names, figure = executed(notebook, folder)
    lines = printed(run)
    assert "trial 0 complete: teacher" in lines and "\nverdict " in lines
    assert "<th>best</th><td>trial " in sweep[0].data["text/html"]
    assert "consistency.weight" in trials[0].data["text/html"]
    assert "ema.decay" in best[-1].data["text/plain"]
    assert "supervised" in verdict[0].text
    assert "Mean errors" in names[0].data["text/plain"]
    assert ">Mean errors</text>" in figure[0].data["image/svg+xml"]
    assert (folder.parent / "sweeps" / "notebook" / "report.html").exists()


def test_two_sweeps_run_in_one_kernel_and_commands_of_a_cell_print_plain_lines(folder):
    tiny = '"finalists.top": 0, "finalists.baselines": [], "trainer.steps": 20, "trainer.evaluate_every": 5'
    run = f'repr(mt_sweeps.run("../search_spaces/digits.yaml", trials=1, in_process=%s, overrides={{{tiny}}}))'
    by_command = ("../search_spaces/digits.yaml", IN_PROCESS, "--trials 1 --set finalists.baselines=[]", *TINY)
    command = f"!{MT_SWEEP} run {' '.join(by_command)}"
    train = f"!{MT_SWEEP} export -o best.yaml && {MT_SWEEP} train best.yaml"
    assert Path(sys.executable).parent == MT_SWEEP.parent
    cells = [f"import mt_sweeps\n{run % False}", run % True, command, train]  # Ray is started once: it takes long
    first, second, printed_by_command, trained = executed(new_notebook(cells=list(map(new_code_cell, cells))), folder)
    for outputs, name in ((first, "digits"), (second, "digits-2")):
        *lines, result = outputs
        assert "trial 0 complete: teacher" in printed(lines)
        assert result.data["text/plain"].startswith(f"'<Sweep {name}: finished, 1 of 1 trials")
    assert "trial 0 complete: teacher" in printed(printed_by_command)
    assert "\nstep 20/20: teacher" in printed(trained)
